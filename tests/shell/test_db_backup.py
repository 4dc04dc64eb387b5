"""Backup and restore: one committed state under load, whole or not at all, and a new epoch after it."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import apsw
import pytest

from stigg_local import InvalidInput, NotAllowed, Stigg, StoreBusy, StoreCorrupt
from stigg_local.doctor import examine
from stigg_local.errors import SchemaTooNew, StoreError
from stigg_local.store.backup import backup, draft_of
from stigg_local.store.manifest import Manifest, read_manifest, seal
from stigg_local.store.restore import restore
from stigg_local.testing import ManualClock
from tests.shell.clients import CATALOG, ask, fill, start

CALLS = "feature-calls"
PATIENCE_S = 60.0


@pytest.fixture
def filled(data_dir: Path) -> Path:
    """A directory with something in every table, closed."""
    with Stigg(catalog=CATALOG, data_dir=data_dir) as client:
        for _ in fill(client):
            pass
    return data_dir


@pytest.fixture
def made(filled: Path, tmp_path: Path) -> Path:
    """A backup of it."""
    path = tmp_path / "made.backup"
    backup(str(filled), str(path))
    return path


def names(directory: Path) -> set[str]:
    return set(os.listdir(directory))


def findings(directory: Path) -> list[str]:
    return [str(finding) for finding in examine(directory).findings if finding.id != "DiskFull"]


# ---------------------------------------------------------------------- under load

# Usage with and without credits, each report under a key that is told when it is acknowledged.
REPORTING = """
import threading
client = Stigg(data_dir=args[0])
told = threading.Lock()
def report(thread):
    number = 0
    while True:
        number += 1
        customer = f"load-{(thread + number) % 3}"
        feature = "feature-images" if number % 4 == 0 else "feature-calls"
        key = f"{args[1]}-{thread}-{number}"
        client.report_usage(customer, feature, 1, idempotency_key=key)
        with told:
            sys.stdout.write(f"{key} {customer} {feature}\\n"); sys.stdout.flush()
for thread in range(int(args[2])):
    threading.Thread(target=report, args=(thread,), daemon=True).start()
sys.stdin.read()
os._exit(0)
"""


class Load:
    """Processes that report usage, and what was acknowledged so far as (key, customer, feature)."""

    def __init__(self, data_dir: Path, processes: int, threads: int) -> None:
        self.acknowledged: list[tuple[str, ...]] = []
        self._processes = [start(REPORTING, data_dir, number, threads) for number in range(processes)]
        self._readers = [threading.Thread(target=self._read, args=(process,)) for process in self._processes]
        for reader in self._readers:
            reader.start()

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.acknowledged.append(tuple(line.split()))

    def wait_for(self, count: int) -> None:
        """Until so many more reports are acknowledged."""
        goal, end = len(self.acknowledged) + count, time.monotonic() + PATIENCE_S
        while len(self.acknowledged) < goal:
            assert time.monotonic() < end, "nothing is acknowledged any more"
            time.sleep(0.005)

    def stop(self) -> None:
        for process in self._processes:
            process.communicate("")
        for reader in self._readers:
            reader.join()


@contextmanager
def load_on(data_dir: Path, processes: int, threads: int) -> Iterator[Load]:
    with Stigg(catalog=CATALOG, data_dir=data_dir) as client:
        for number in range(3):
            client.provision_customer(f"load-{number}", subscription_params={"plan_id": "plan-app"})
            client.grant_credits(f"load-{number}", "currency-ai", 1000)
    load = Load(data_dir, processes, threads)
    try:
        yield load
    finally:
        load.stop()


def stored(database: Path) -> set[str]:
    """The keys of the reports in a database, after a look whether each was measured and counted once."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        keys = connection.execute("SELECT key FROM idempotency WHERE operation = 'reportUsage'").fetchall()
        counted = connection.execute("SELECT count(*), sum(value) FROM measurement").fetchall()
        sums = connection.execute("SELECT sum(value) FROM usage_counter").fetchall()
    finally:
        connection.close()
    assert [(len(keys), len(keys) * 10**6)] == counted
    assert [(len(keys) * 10**6,)] == sums
    return {str(key) for (key,) in keys}


def back_up_under_load(data_dir: Path, aside: Path, *, processes: int, threads: int, rounds: int) -> int:
    """Copy a directory again and again while it is written to; returns how many reports were acknowledged."""
    with load_on(data_dir, processes, threads) as load:
        for number in range(rounds):
            load.wait_for(20 * processes * threads)
            before = list(load.acknowledged)
            path, new = aside / f"{number}.backup", aside / f"new-{number}"
            backup(str(data_dir), str(path))
            assert len(load.acknowledged) > len(before), "the load stood still, so nothing was shown"
            restore(str(path), str(new))
            found = stored(new / "authority.db")
            assert [] == [key for key, *_ in before if key not in found]
            assert [] == findings(new)
            with Stigg(data_dir=new) as client:
                assert len(found) == sum(
                    client.get_metered_entitlement(f"load-{index}", feature).current_usage
                    for index in range(3)
                    for feature in (CALLS, "feature-images")
                )
                # A report that the backup holds is known, and a new one counts.
                key, customer, feature = before[-1]
                usage = client.get_metered_entitlement(customer, feature).current_usage
                client.report_usage(customer, feature, 1, idempotency_key=key)
                client.report_usage(customer, feature, 1, idempotency_key="new")
                assert usage + 1 == client.get_metered_entitlement(customer, feature).current_usage
            assert [] == findings(new)
            assert {f"{number}.backup", f"new-{number}"} == names(aside)
            path.unlink()
            shutil.rmtree(new)
    assert [] == findings(data_dir)
    return len(load.acknowledged)


def test_a_backup_under_load_holds_what_was_acknowledged_before_it_began(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "aside").mkdir()
    back_up_under_load(data_dir, tmp_path / "aside", processes=2, threads=2, rounds=1)


@pytest.mark.stress
def test_every_backup_under_full_load_holds_what_was_acknowledged_before_it(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "aside").mkdir()
    assert 5_000 < back_up_under_load(data_dir, tmp_path / "aside", processes=4, threads=4, rounds=8)


# ---------------------------------------------------------------------- what it is


def test_a_restored_directory_answers_as_the_original_did(filled: Path, made: Path, tmp_path: Path) -> None:
    new = tmp_path / "deep" / "new"
    restored = restore(str(made), str(new))
    with Stigg(data_dir=filled) as client:
        truth = ask(client)
    with Stigg(data_dir=new) as client:
        assert truth == ask(client)
    assert (restored.manifest.epoch + 1, None) == (restored.epoch, restored.set_aside)
    assert [] == findings(new)
    assert 0o700 == new.stat().st_mode & 0o777


def test_a_backup_is_a_database_that_sqlite_reads_and_tells_what_it_holds(made: Path) -> None:
    connection = apsw.Connection(str(made), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
        assert [(3,)] == connection.execute("SELECT count(*) FROM customer").fetchall()
    finally:
        connection.close()
    assert ("production", 3) == (read_manifest(str(made)).environment, read_manifest(str(made)).rows["customer"])
    assert 0o600 == made.stat().st_mode & 0o777


def test_a_backup_into_a_directory_is_named_by_environment_and_time(filled: Path, tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    found = backup(str(filled), str(tmp_path / "backups"))
    assert {os.path.basename(found.path)} == names(tmp_path / "backups")
    assert found.path.startswith(str(tmp_path / "backups" / "production-20"))


def test_a_name_with_a_slash_at_its_end_is_a_directory_made_for_it(filled: Path, tmp_path: Path) -> None:
    found = backup(str(filled), f"{tmp_path / 'new'}/")
    assert {os.path.basename(found.path)} == names(tmp_path / "new")
    assert 0o700 == (tmp_path / "new").stat().st_mode & 0o777
    (tmp_path / "file").touch()
    for target, message in (
        ("", "is empty"),
        (f"{tmp_path / 'file'}/", "is there already"),
        (f"{tmp_path / 'missing' / 'new'}/", "is not a directory"),
        (f"{filled / 'new'}/", "in the data directory itself"),
    ):
        with pytest.raises(InvalidInput, match=message):
            backup(str(filled), target)
    assert "new" not in names(filled)


def test_a_backup_never_takes_the_place_of_another_file(filled: Path, made: Path, tmp_path: Path) -> None:
    before = made.read_bytes()
    with pytest.raises(InvalidInput, match="is there already"):
        backup(str(filled), str(made))
    assert before == made.read_bytes()
    with pytest.raises(InvalidInput, match="in the data directory itself"):
        backup(str(filled), str(filled / "x.backup"))


def test_a_backup_changes_nothing_in_the_directory(filled: Path, tmp_path: Path) -> None:
    def content() -> dict[str, bytes]:
        return {name: (filled / name).read_bytes() for name in names(filled) if not name.endswith("-shm")}

    before = content()
    backup(str(filled), str(tmp_path / "x.backup"))
    assert before == content()


# ---------------------------------------------------------------------- damage


def flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


def test_a_backup_with_one_flipped_bit_is_refused_and_nothing_is_made(made: Path, tmp_path: Path) -> None:
    source = random.Random(7)
    data = made.read_bytes()
    end = read_manifest(str(made)).database_bytes
    places = [source.randrange(end) for _ in range(40)] + list(range(end, len(data), 7)) + [len(data) - 1]
    bad = tmp_path / "bad.backup"
    for place in places:
        bad.write_bytes(flipped(data, place, source.randrange(8)))
        with pytest.raises(StoreError) as caught:
            restore(str(bad), str(tmp_path / "new"))
        assert caught.value.hint
        assert not (tmp_path / "new").exists()


def test_a_backup_that_was_cut_short_is_refused(made: Path, tmp_path: Path) -> None:
    data = made.read_bytes()
    bad = tmp_path / "bad.backup"
    for size in (0, 1, 100, len(data) // 2, read_manifest(str(made)).database_bytes, len(data) - 1):
        bad.write_bytes(data[:size])
        with pytest.raises(StoreCorrupt, match="is no backup, or one that was cut short") as caught:
            restore(str(bad), str(tmp_path / "new"))
        assert caught.value.code == "BackupDamaged"
    bad.write_bytes(data + b"x")
    with pytest.raises(StoreCorrupt):
        restore(str(bad), str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def spoil(data_dir: Path) -> None:
    """Change a number behind the digests' back."""
    connection = apsw.Connection(str(data_dir / "authority.db"))
    connection.execute("UPDATE measurement SET value = value + 1 WHERE customer_id = 'customer-1'")
    connection.close()


def test_a_damaged_directory_has_no_backup_unless_it_is_asked_for(filled: Path, tmp_path: Path) -> None:
    spoil(filled)
    path = tmp_path / "x.backup"
    with pytest.raises(StoreCorrupt, match="a row of `measurement` does not match its digest") as caught:
        backup(str(filled), str(path))
    assert "--damaged-too" in str(caught.value.hint)
    assert {"stigg"} == names(tmp_path)
    assert backup(str(filled), str(path), damaged_too=True).findings
    with pytest.raises(NotAllowed, match="was made of a damaged directory"):
        restore(str(path), str(tmp_path / "new"))
    restore(str(path), str(tmp_path / "new"), damaged_too=True)
    with Stigg(data_dir=tmp_path / "new") as client:
        assert 2 == client.get_metered_entitlement("customer-2", CALLS).current_usage


# ---------------------------------------------------------------------- kills and full disks

KILLED = """
from stigg_local.store.{module} import {module}
def told(what, done, total):
    if what == args[2]:
        os.kill(os.getpid(), signal.SIGKILL)
{module}(args[0], args[1], progress=told)
"""


def killed(module: str, stage: str, *paths: Path) -> None:
    process = start(KILLED.format(module=module), *paths, stage)
    process.communicate()
    assert -signal.SIGKILL == process.returncode


@pytest.mark.parametrize("stage", ["copying", "checking pages", "measurement", "sealing"])
def test_a_killed_backup_leaves_nothing_that_restore_accepts(filled: Path, tmp_path: Path, stage: str) -> None:
    aside = tmp_path / "aside"
    aside.mkdir()
    killed("backup", stage, filled, aside / "x.backup")
    (left,) = names(aside)
    assert left.startswith(".x.backup.")
    with pytest.raises(StoreCorrupt):
        restore(str(aside / left), str(tmp_path / "new"))
    backup(str(filled), str(aside / "y.backup"))
    # The next backup takes away what nobody works at any more.
    assert {"y.backup"} == names(aside)


def test_a_backup_leaves_the_draft_of_another_one_alone(filled: Path, tmp_path: Path) -> None:
    """Somebody works at it: it is held locked."""
    aside = tmp_path / "aside"
    aside.mkdir()
    with draft_of(str(aside / "x.backup")) as draft:
        Path(draft).write_bytes(b"half")
        backup(str(filled), str(aside / "y.backup"))
        assert {"y.backup", Path(draft).name} == names(aside)
    assert {"y.backup"} == names(aside)


@pytest.mark.parametrize("stage", ["unpacking", "checking pages"])
def test_a_killed_restore_leaves_a_directory_that_is_restored_again(made: Path, tmp_path: Path, stage: str) -> None:
    new = tmp_path / "new"
    killed("restore", stage, made, new)
    assert "authority.db" not in names(new)
    restore(str(made), str(new))
    assert [] == findings(new)


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (int(args[0]), int(args[0])))
from stigg_local.cli.main import main
sys.exit(main(args[1:]))
"""


@pytest.mark.parametrize("share", [0.3, 1.001])
def test_no_room_for_a_backup_is_an_error_and_leaves_nothing(filled: Path, made: Path, share: float) -> None:
    size = int(read_manifest(str(made)).database_bytes * share)
    aside = filled.parent / "aside"
    aside.mkdir()
    process = start(LIMITED, size, "db", "backup", aside / "x", "--data-dir", filled, "--json")
    told = json.loads(process.communicate()[0])
    assert (1, True) == (process.returncode, told["code"] in ("StorageFull", "StoreError"))
    assert told["hint"]
    assert set() == names(aside)


def test_no_room_for_a_restore_is_an_error_and_leaves_nothing(made: Path, tmp_path: Path) -> None:
    process = start(LIMITED, 50_000, "db", "restore", made, "--data-dir", tmp_path / "new", "--json")
    told = json.loads(process.communicate()[0])
    assert (1, "StorageFull") == (process.returncode, told["code"])
    assert {"stigg", "made.backup"} == names(tmp_path)
    (tmp_path / "new").mkdir()
    start(LIMITED, 50_000, "db", "restore", made, "--data-dir", tmp_path / "new").communicate()
    assert set() == names(tmp_path / "new")


@pytest.mark.stress
def test_a_full_disk_at_any_point_leaves_nothing(filled: Path, made: Path, tmp_path: Path) -> None:
    """A small file system of its own, filled a little less each time until it is enough."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=640k", "none", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        refused = 0
        for ballast_kb in range(600, -1, -40):
            (disk / "ballast").write_bytes(b"x" * (ballast_kb << 10))
            for make, place in (
                (lambda: backup(str(filled), str(disk / "x")), "x"),
                (lambda: restore(str(made), str(disk / "new")), "new"),
            ):
                try:
                    make()
                except StoreError as error:
                    assert error.code == "StorageFull"
                    refused += 1
                    assert {"ballast"} == names(disk)
                else:
                    assert place == "x" or [] == findings(disk / "new")
                    subprocess.run(["rm", "-rf", str(disk / place)], check=True)
        assert 2 < refused < 2 * 16
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# ---------------------------------------------------------------------- where a restore goes


def test_a_restore_into_an_empty_directory_fills_it_in_place(made: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir(mode=0o755)
    inode = new.stat().st_ino
    restore(str(made), str(new))
    assert inode == new.stat().st_ino
    assert [] == findings(new)


def test_a_restore_refuses_what_is_not_empty_and_what_is_no_data_directory(
    filled: Path, made: Path, tmp_path: Path
) -> None:
    before = (filled / "authority.db").stat()
    with pytest.raises(InvalidInput, match="is not empty") as caught:
        restore(str(made), str(filled))
    assert "--replace" in str(caught.value.hint)
    assert before == (filled / "authority.db").stat()
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "beach.jpg").write_bytes(b"sand")
    with pytest.raises(InvalidInput, match="is no data directory"):
        restore(str(made), str(photos), replace=True)
    assert {"beach.jpg"} == names(photos)
    with pytest.raises(InvalidInput, match="cannot be used"):
        restore(str(made), str(photos / "beach.jpg"))


def test_a_replaced_directory_is_set_aside_whole_and_its_numbers_are_not_used_again(
    filled: Path, made: Path, tmp_path: Path
) -> None:
    with Stigg(data_dir=filled) as client:
        client.report_usage("customer-1", CALLS, 1)
        truth = ask(client)
    first = restore(str(made), str(filled), replace=True)
    second = restore(str(made), str(filled), replace=True)
    assert (2, 3) == (first.epoch, second.epoch)
    assert [] == findings(filled)
    for aside, usage in ((first.set_aside, 8), (second.set_aside, 7)):
        assert aside is not None
        assert [] == findings(Path(aside))
        with Stigg(data_dir=aside) as client:
            assert usage == client.get_metered_entitlement("customer-1", CALLS).current_usage
            assert usage == 7 or truth == ask(client)
    assert {"stigg", "made.backup", *(Path(str(way)).name for way in (first.set_aside, second.set_aside))} == names(
        tmp_path
    )


def test_the_numbers_of_a_replaced_database_are_not_used_again(filled: Path, made: Path) -> None:
    """Whoever follows it by number is never told of something older as if it were new."""

    def version() -> tuple[int, int]:
        with Stigg(data_dir=filled) as client:
            epoch, _, seq = str(client.status().version).partition(":")
        return int(epoch), int(seq)

    with Stigg(data_dir=filled) as client:
        for _ in range(5):
            client.report_usage("customer-1", CALLS, 1)
    versions = [version()]
    for _ in range(2):
        restore(str(made), str(filled), replace=True)
        versions.append(version())
    for before, after in pairwise(versions):
        assert after[0] > before[0]
        assert after[1] > before[1]


def test_a_directory_stays_where_the_new_one_cannot_take_its_place(
    filled: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was set aside is put back, and nothing is left beside it."""
    before, rename = names(filled), os.rename

    def fail(source: str, target: str) -> None:
        if ".restore-" in os.path.basename(source):
            raise OSError(errno.EIO, "the disk failed")
        rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr("stigg_local.store.restore.os.rename", fail)
        with pytest.raises(StoreError):
            restore(str(made), str(filled), replace=True)
    assert before == names(filled)
    assert {"stigg", "made.backup"} == names(tmp_path)


def test_what_two_restores_of_one_instant_replace_is_kept_twice(
    filled: Path, made: Path, tmp_path: Path, clock: ManualClock
) -> None:
    aside = [restore(str(made), str(filled), replace=True, clock=clock).set_aside for _ in range(2)]
    assert 2 == len(set(aside))
    assert {"stigg", "made.backup", *(Path(str(way)).name for way in aside)} == names(tmp_path)


def test_a_backup_is_no_hidden_file(tmp_path: Path) -> None:
    with Stigg(catalog=CATALOG | {"environment": ".hidden"}, data_dir=tmp_path / "stigg"):
        pass
    made = Path(backup(str(tmp_path / "stigg"), f"{tmp_path / 'backups'}/").path)
    assert made.name.startswith("hidden-")


def test_a_directory_that_a_process_has_open_is_not_replaced(filled: Path, made: Path) -> None:
    process = start(
        "client = Stigg(data_dir=args[0])\nprint(len(ask(client)), flush=True)\nsys.stdin.read()\n", filled
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        with pytest.raises(StoreBusy, match=r"has .* open") as caught:
            restore(str(made), str(filled), replace=True)
        assert caught.value.code == "DirectoryInUse"
    finally:
        process.communicate("")
    assert restore(str(made), str(filled), replace=True).set_aside


def test_a_reader_of_another_program_keeps_the_directory_from_being_replaced(filled: Path, made: Path) -> None:
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT count(*) FROM customer').fetchall();"
        " print(1, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(filled / "authority.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        with pytest.raises(StoreBusy):
            restore(str(made), str(filled), replace=True)
    finally:
        process.communicate("")


def test_a_process_that_never_asked_anything_keeps_the_directory_too(filled: Path, made: Path) -> None:
    process = start("client = Stigg(data_dir=args[0])\nprint(1, flush=True)\nsys.stdin.read()\n", filled)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.3)
    try:
        with pytest.raises(StoreBusy):
            restore(str(made), str(filled), replace=True)
    finally:
        process.communicate("")


def test_two_restores_do_not_fill_one_directory(made: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    others: list[str] = []

    def told(what: str, _done: int, _total: int) -> None:
        if what == "checking pages":
            with pytest.raises(StoreBusy):
                restore(str(made), str(new))
            others.append(what)

    restore(str(made), str(new), progress=told)
    assert ["checking pages"] == others
    assert [] == findings(new)


def test_a_damaged_directory_can_be_replaced(filled: Path, made: Path) -> None:
    (filled / "authority.db").write_bytes(b"not a database at all" * 500)
    (filled / "environment").unlink()
    aside = restore(str(made), str(filled), replace=True).set_aside
    assert aside is not None
    assert b"not a database" == (Path(aside) / "authority.db").read_bytes()[:14]
    assert [] == findings(filled)


def test_another_environment_is_not_replaced(made: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with Stigg(catalog=CATALOG | {"environment": "staging"}, data_dir=other):
        pass
    with pytest.raises(InvalidInput, match="is of the environment `staging`"):
        restore(str(made), str(other), replace=True)


def test_a_restored_directory_belongs_to_the_owner_of_the_place(made: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root makes files for others")
    new = tmp_path / "new"
    new.mkdir(mode=0o700)
    os.chown(new, 1234, 1234)
    restore(str(made), str(new))
    assert {1234} == {os.stat(new / name).st_uid for name in names(new)}


def test_a_restore_works_on_a_process_of_another_working_directory(made: Path, tmp_path: Path) -> None:
    """Relative paths are those of the caller."""
    code = (
        "from stigg_local.store.restore import restore\nos.chdir(args[0])\nprint(restore('made.backup', 'new').epoch)"
    )
    process = start(code, tmp_path)
    assert "2\n" == process.communicate()[0]
    assert [] == findings(tmp_path / "new")


def test_a_backup_of_a_newer_format_is_told_apart_from_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "newer.backup"
    path.write_bytes(b"database")
    made = Manifest(
        environment="production",
        file_id="file",
        epoch=1,
        seq=1,
        made_ms=1,
        schema_version=1,
        database_bytes=8,
        rows={},
        format=2,
    )
    seal(str(path), made)
    with pytest.raises(SchemaTooNew, match="format 2"):
        read_manifest(str(path))
