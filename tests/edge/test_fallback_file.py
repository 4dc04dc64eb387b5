"""Fallback files: what is read, what is refused, and what a reader sees while the file is edited in every way."""

import gc
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from weakref import ref

import pytest

from stigg_local.core.fallback import Fallback, Fallbacks
from stigg_local.edge import fallback_file, watch
from stigg_local.edge.fallback_file import FORKS, QUIET_S, FallbackFile
from stigg_local.edge.fallback_reader import FILE_SIZE_MAX, read_fallback_file
from stigg_local.edge.watch import route_of
from stigg_local.errors import FallbackFileError, InvalidInput

FIXTURES = Path(__file__).parents[2] / "fixtures" / "fallback"
INVALID = FIXTURES / "invalid"
EXPECTED: dict[str, dict[str, Any]] = json.loads((INVALID / "expected.json").read_text("utf-8"))
FEATURES = 20
# More than any edit takes on a busy machine, less than the poll that would hide a missed event.
SOON_S = 4.0


def text_of(number: int) -> str:
    """A file whose features all have one limit, so that a part of it is told from the whole."""
    features = [f"[features.feature-{index}]\nhasAccess = true\nusageLimit = {number}\n" for index in range(FEATURES)]
    return "schema = 1\n\n" + "\n".join(features)


def number_of(fallbacks: Fallbacks) -> int:
    """The limit that all features have; fails where the values are not those of one whole file."""
    limits = {fallback.usage_limit for fallback in fallbacks.features.values()}
    assert (FEATURES, 1) == (len(fallbacks.features), len(limits))
    return int(limits.pop() or 0)


def eventually(holds: Callable[[], bool], seconds: float = SOON_S) -> bool:
    """Whether it comes to hold."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are renamed or written in one go need no long quiet."""
    monkeypatch.setattr(fallback_file, "QUIET_S", 0.1)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quiet that is asked of writers in place."""
    monkeypatch.setattr(fallback_file, "QUIET_S", QUIET_S)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good file, version 1."""
    path = tmp_path / "config" / "fallback.toml"
    path.parent.mkdir()
    path.write_text(text_of(1))
    return path


@pytest.fixture
def file(path: Path) -> Iterator[FallbackFile]:
    """The file, followed."""
    file = FallbackFile(path)
    yield file
    file.close()


def taken(file: FallbackFile, number: int) -> bool:
    """Whether the file's values are those of this number."""
    return number == number_of(file.fallbacks())


def refused(file: FallbackFile, message: str) -> bool:
    """Whether the last error says so."""
    return message in (file.status()["last_error"] or "")


def rename(path: Path, text: str) -> None:
    """Replace the file by a finished one."""
    other = path.with_suffix(".new")
    other.write_text(text)
    os.replace(other, path)


def truncate(path: Path, text: str) -> None:
    """Write in place from an empty file on, in two steps."""
    with path.open("w") as file:
        file.write(text[: len(text) // 2])
        file.flush()
        time.sleep(0.02)
        file.write(text[len(text) // 2 :])


def overwrite(path: Path, text: str) -> None:
    """Write over the old bytes."""
    with path.open("r+") as file:
        file.write(text)
        file.truncate()


def recreate(path: Path, text: str) -> None:
    """Delete the file and write another one."""
    path.unlink()
    path.write_text(text)


# Reading. ---------------------------------------------------------------------------------------------------


def test_the_example_holds_the_documented_values() -> None:
    expected = Fallbacks(
        features={
            "feature-sso": Fallback(True),
            "feature-retention-days": Fallback(True, value=30),
            "feature-regions": Fallback(True, enum_values=("eu",)),
            "feature-api-calls": Fallback(True, usage_limit=10),
            "feature-seats": Fallback(True, is_unlimited=True),
        },
        credits={"currency-ai-credits": Fallback(False)},
    )
    assert expected == read_fallback_file(FIXTURES / "valid" / "example.toml")
    assert expected == read_fallback_file(FIXTURES / "valid" / "example.json")


def test_a_file_may_hold_every_key_in_either_spelling(tmp_path: Path) -> None:
    path = tmp_path / "all.toml"
    path.write_text(
        "schema = 1\n[features.a]\nhas_access = true\nusage_limit = 0.5\nhasSoftLimit = true\n"
        "[credits.b]\nhasAccess = true\nremaining = 7.0\ntotal_granted = 10\ntotalConsumed = 3\n"
    )
    found = read_fallback_file(path)
    assert Fallback(True, usage_limit=0.5, has_soft_limit=True) == found.features["a"]
    assert Fallback(True, current_balance=7, total_granted=10, total_consumed=3) == found.credits["b"]
    assert int is type(found.credits["b"].current_balance)


def test_sections_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "nothing.json"
    path.write_text('{"schema": 1}')
    assert Fallbacks() == read_fallback_file(path)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_invalid_file_is_refused_with_file_line_key_path_and_the_way_out(name: str) -> None:
    expected = EXPECTED[name]
    where = ":".join(str(expected[key]) for key in ("line", "column") if key in expected)
    with pytest.raises(FallbackFileError) as caught:
        read_fallback_file(INVALID / name)
    assert f"{INVALID / name}:{where}: {expected['message']}" == caught.value.message
    assert expected["hint"] == caught.value.hint


def test_every_invalid_file_has_its_problem_written_down() -> None:
    assert {path.name for path in INVALID.iterdir()} - {"expected.json"} == set(EXPECTED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 100_000, "is nested too deeply"),
        (
            "schema = 1\n[features.x]\nhasAccess = true\nvalue = " + "9" * 5_000,
            "4:9: is a number with too many digits",
        ),
        (
            "schema = 1\n[features.x]\nhasAccess = [0x" + "F" * 9_000 + "]",
            "3: features[x].hasAccess is `list`, not true or false",
        ),
        ("schema = 1\n[features." + "x" * 9_000 + "]\nhasAccess = 1", "…].hasAccess is `1`, not true or false"),
        ('schema = 1\n[features."a\\nb"]\nhasAccess = 1', "3: features[a\\nb].hasAccess is `1`, not true or false"),
    ],
    ids=["deep", "digits", "hex", "long", "control"],
)
def test_hostile_text_is_refused_in_a_short_printable_message(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "hostile.toml"
    path.write_text(text)
    with pytest.raises(FallbackFileError) as caught:
        read_fallback_file(path)
    assert caught.value.message.endswith(message)
    assert str(caught.value).isprintable()
    assert 400 > len(str(caught.value)) - len(str(path))


def test_deep_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text('{"a":' * 100_000)
    with pytest.raises(FallbackFileError, match="nested too deeply"):
        read_fallback_file(path)


def test_what_is_not_a_readable_file_raises_with_its_name(tmp_path: Path) -> None:
    directory, pipe, huge = (tmp_path / f"{name}.toml" for name in ("directory", "pipe", "huge"))
    directory.mkdir()
    os.mkfifo(pipe)
    with huge.open("wb") as file:
        file.truncate(FILE_SIZE_MAX + 1)
    for path, message in [
        (tmp_path / "missing.toml", "does not exist"),
        (directory, "is not a regular file"),
        (pipe, "is not a regular file"),
        (huge, "is larger than 16 MiB"),
        (tmp_path / "a\0b.toml", "cannot be read"),
    ]:
        with pytest.raises(FallbackFileError, match=message) as caught:
            FallbackFile(path)
        assert path.name.replace("\0", "\\x00") in caught.value.message
        assert caught.value.hint
    with pytest.raises(FallbackFileError, match=r"`fallback\.yam` is not a fallback file"):
        read_fallback_file("fallback.yam")


def test_a_mapping_is_no_path() -> None:
    with pytest.raises(InvalidInput, match="type `dict`"):
        FallbackFile({"schema": 1})  # type: ignore[arg-type]


# Following. -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "numbers"), [(rename, (2, 3, 2)), (truncate, (2,)), (overwrite, (2,)), (recreate, (2,))]
)
def test_an_edit_in_any_way_is_taken(
    unhurried: None, path: Path, file: FallbackFile, edit: Callable[[Path, str], None], numbers: tuple[int, ...]
) -> None:
    """The second rename is what a watch of the file itself, instead of its directory, never sees."""
    for number in numbers:
        edit(path, text_of(number))
        assert eventually(partial(taken, file, number))
    status = file.status()
    assert (str(path), 1 + len(numbers), None) == (status["path"], status["version"], status["last_error"])


def test_a_swapped_directory_link_is_taken(tmp_path: Path) -> None:
    """Kubernetes: the file is a link into a directory link that is replaced; nothing happens to the file."""
    for number in (1, 2, 3):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "fallback.toml").write_text(text_of(number))
    (tmp_path / "mount").mkdir()
    (tmp_path / "mount" / "..data").symlink_to("../..1")
    (tmp_path / "mount" / "fallback.toml").symlink_to("..data/fallback.toml")
    (tmp_path / "app.toml").symlink_to(tmp_path / "mount" / "fallback.toml")
    file = FallbackFile(tmp_path / "app.toml")
    for number in (2, 3):
        (tmp_path / "mount" / "..data_tmp").symlink_to(f"../..{number}")
        os.replace(tmp_path / "mount" / "..data_tmp", tmp_path / "mount" / "..data")
        assert eventually(partial(taken, file, number))
    # The directory that the link leads to now is followed, too.
    rename(tmp_path / "..3" / "fallback.toml", text_of(4))
    assert eventually(partial(taken, file, 4))
    file.close()


def test_a_directory_that_was_removed_is_followed_when_it_is_back(path: Path, file: FallbackFile) -> None:
    shutil.rmtree(path.parent)
    assert eventually(lambda: file.status()["last_error"] is not None)
    path.parent.mkdir()
    path.write_text(text_of(2))
    assert eventually(partial(taken, file, 2))
    assert file.status()["last_error"] is None


def test_a_bad_file_keeps_the_last_good_one_and_is_logged_once(
    path: Path, file: FallbackFile, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stigg_local")
    good = file.fallbacks()
    edits: list[tuple[Callable[[], object], str]] = [
        (lambda: path.write_text(text_of(2) + "[features"), f"{path}:82:"),
        (lambda: path.write_text(""), f"{path}:1: is empty"),
        (path.unlink, f"{path}: does not exist"),
        (lambda: path.write_text(text_of(2).replace("true", "1", 1)), f"{path}:4: features[feature-0].hasAccess is"),
    ]
    for edit, message in edits:
        edit()
        assert eventually(partial(refused, file, message)), file.status()
        assert good is file.fallbacks()
    path.write_text(text_of(1))
    assert eventually(lambda: file.status()["last_error"] is None)
    assert 1 == file.status()["version"]
    assert good is file.fallbacks()
    levels = [record.levelname for record in caplog.records if record.name == "stigg_local"]
    assert ["WARNING"] * 4 + ["INFO"] == levels


def test_the_owner_is_told_of_other_values_only(path: Path) -> None:
    told: list[int] = []

    def tell() -> None:
        told.append(number_of(followed.fallbacks()))
        raise ValueError("the owner's own mistake")

    followed = FallbackFile(path, on_change=tell)
    path.write_text("")
    assert eventually(lambda: followed.status()["last_error"] is not None)
    for number in (1, 2, 3):
        rename(path, text_of(number))
        assert eventually(partial(taken, followed, number))
    assert eventually(lambda: [2, 3] == told)
    followed.close()


def test_a_relative_path_stays_what_it_was_when_the_process_moves(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    file = FallbackFile("fallback.toml")
    monkeypatch.chdir(tmp_path)
    rename(path, text_of(2))
    assert eventually(partial(taken, file, 2))
    assert "fallback.toml" == file.name == file.status()["path"]
    file.close()


def test_polling_alone_goes_on_where_nothing_can_be_watched(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class NoWatch:
        def __init__(self, route: object) -> None:
            raise OSError("no space left for watches")

    monkeypatch.setattr(fallback_file, "Watch", NoWatch)
    monkeypatch.setattr(fallback_file, "POLL_S", 0.05)
    file = FallbackFile(path)
    for number in (2, 3):
        rename(path, text_of(number))
        assert eventually(partial(taken, file, number))
    assert 1 == sum("polling alone" in record.message for record in caplog.records)
    file.close()


def test_changes_without_events_are_found_by_the_poll(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network mount: the watch stands, and nothing comes of it."""
    monkeypatch.setattr(watch, "POLL_S", 0.1)
    monkeypatch.setattr(fallback_file, "route_of", lambda path: watch.Route(route_of(path).directories, frozenset()))
    file = FallbackFile(path)
    rename(path, text_of(2))
    assert eventually(partial(taken, file, 2))
    file.close()


def test_the_watch_breaking_leaves_the_poll(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, stop: object) -> None:
        raise RuntimeError("error in underlying watcher")

    monkeypatch.setattr(watch.Watch, "wait", broken)
    monkeypatch.setattr(fallback_file, "POLL_S", 0.05)
    file = FallbackFile(path)
    rename(path, text_of(2))
    assert eventually(partial(taken, file, 2))
    file.close()


def test_a_file_that_never_rests_is_reported_and_taken_when_it_does(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fallback_file, "QUIET_S", 0.02)
    monkeypatch.setattr(fallback_file, "RESTLESS_LOOKS", 3)
    file = FallbackFile(path)
    number = 1
    while not refused(file, "never stays the same") and number < 10_000:
        number += 1
        rename(path, text_of(number))
    assert refused(file, "never stays the same")
    assert eventually(partial(taken, file, number))
    assert file.status()["last_error"] is None
    file.close()


def test_what_breaks_the_follower_is_told_and_does_not_end_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(content: bytes, name: str) -> Fallbacks:
        raise MemoryError("no room")

    file = FallbackFile(path)
    with monkeypatch.context() as patch:
        patch.setattr(fallback_file, "parse_fallback_file", broken)
        rename(path, text_of(2))
        assert eventually(partial(refused, file, "no room"))
    rename(path, text_of(3))
    assert eventually(partial(taken, file, 3))
    file.close()


def test_reads_go_on_where_no_thread_can_be_started(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", exhausted)
        file = FallbackFile(path)
        assert taken(file, 1)
        assert refused(file, "can't start new thread")
    rename(path, text_of(2))
    assert eventually(partial(taken, file, 2))
    assert file.status()["last_error"] is None
    file.close()


def test_a_loop_of_links_is_followed_to_an_end(path: Path) -> None:
    path.with_name("a").symlink_to("b")
    path.with_name("b").symlink_to("a")
    assert {str(path.parent)} == {directory for directory, _, _ in route_of(str(path.with_name("a"))).directories}


# Readers beside writers. ------------------------------------------------------------------------------------


def edits(path: Path, seconds: float) -> int:
    """Edit the file in every way, one after the other; the last number that was written."""
    ways = [rename, truncate, overwrite, recreate, rename, truncate]
    end = time.monotonic() + seconds
    number = 1
    while time.monotonic() < end:
        number += 1
        ways[number % len(ways)](path, text_of(number))
        # Now and then long enough for the file to be taken, and mostly not.
        time.sleep(0.7 if number % 25 == 0 else 0.01)
    return number


def read_beside(path: Path, seconds: float) -> None:
    file = FallbackFile(path)
    seen: list[int] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                number = number_of(file.fallbacks())
                if not seen or seen[-1] != number:
                    seen.append(number)
                time.sleep(0.0002)
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    last = edits(path, seconds)
    assert eventually(lambda: seen[-1:] == [last])
    done.set()
    for reader in readers:
        reader.join()
    assert [] == failures

    assert file.status()["last_error"] is None
    file.close()


def test_a_reader_beside_a_writer_sees_whole_files_only(unhurried: None, path: Path) -> None:
    read_beside(path, 1.0)


@pytest.mark.stress
def test_a_reader_beside_a_writer_sees_whole_files_only_for_long(unhurried: None, path: Path) -> None:
    read_beside(path, 30)


# Ends and forks. --------------------------------------------------------------------------------------------


def test_close_ends_the_thread_and_keeps_the_values(path: Path) -> None:
    before = threading.active_count()
    file = FallbackFile(path)
    assert before + 1 == threading.active_count()
    file.close()
    file.close()
    assert before == threading.active_count()
    rename(path, text_of(2))
    assert 1 == number_of(file.fallbacks())
    assert before == threading.active_count()


def test_a_file_that_was_forgotten_ends_its_thread(path: Path) -> None:
    before = threading.active_count()
    file = FallbackFile(path)
    forgotten = ref(file)
    del file
    gc.collect()
    assert eventually(lambda: forgotten() is None)
    assert eventually(lambda: before == threading.active_count())


def in_child(body: Callable[[], bool]) -> int:
    """Run in a forked child; its exit code, 0 where the body says so."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if body() else 3
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_forked_child_follows_by_itself(path: Path, file: FallbackFile) -> None:
    def body() -> bool:
        alone = threading.active_count()
        first = number_of(file.fallbacks())
        followed = threading.active_count()
        rename(path, text_of(2))
        return (1, 1, 2) == (alone, first, followed) and eventually(partial(taken, file, 2))

    assert 0 == in_child(body)
    # The child's end is not the parent's.
    rename(path, text_of(3))
    assert eventually(partial(taken, file, 3))


def test_a_child_of_a_closed_file_stays_without_a_thread(path: Path, file: FallbackFile) -> None:
    file.close()
    assert 0 == in_child(lambda: 1 == number_of(file.fallbacks()) and 1 == threading.active_count())


def test_forks_at_any_moment_leave_children_that_follow(path: Path) -> None:
    """Also in the middle of the thread's first imports, whose locks a child would inherit."""
    program = f"""
import os, sys, time
from pathlib import Path
from stigg_local.edge.fallback_file import FallbackFile
path = Path({str(path)!r})
file = FallbackFile(path)
for pause_ms in (0, 1, 5, 20, 60):
    time.sleep(pause_ms / 1000)
    if os.fork() == 0:
        end = time.monotonic() + {SOON_S}
        while file.fallbacks().features["feature-0"].usage_limit != 2 and time.monotonic() < end:
            time.sleep(0.01)
        file.close()
        os._exit(file.fallbacks().features["feature-0"].usage_limit != 2)
path.write_text(path.read_text().replace("usageLimit = 1", "usageLimit = 2"))
codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(5)]
sys.exit(any(codes))
"""
    assert (0, "") == run(program)


def test_a_process_may_end_without_closing(path: Path) -> None:
    program = f"from stigg_local.edge.fallback_file import FallbackFile\nfile = FallbackFile({str(path)!r})\n"
    assert (0, "") == run(program)
    assert (0, "") == run(program + "import time\ntime.sleep(0.4)\n")


def run(program: str) -> tuple[int, str]:
    """Exit code and standard error of a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=30
    )
    return done.returncode, done.stderr


def test_a_fork_inside_the_owners_callback_hangs_nobody(path: Path) -> None:
    codes: list[int] = []
    file = FallbackFile(path, on_change=lambda: codes.append(in_child(lambda: FORKS.lock.acquire(timeout=1))))
    rename(path, text_of(2))
    assert eventually(lambda: [0] == codes)
    file.close()
