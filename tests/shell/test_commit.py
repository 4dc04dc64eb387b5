"""Group commit: batches, refusals, unknown outcomes, full disks, interrupts, killed writers."""

import ctypes
import gc
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from stigg_local.doctor import examine
from stigg_local.errors import NotAllowed, StorageFull, StoreError
from stigg_local.store import Store, Tx, is_in_flight
from stigg_local.store.commit import Member
from stigg_local.store.digest import slot_of
from tests.shell.stores import add, measured, opened, start, total


def in_threads(count: int, work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def hold_line(store: Store) -> tuple[threading.Event, threading.Thread]:
    """Keep the writer busy until the event is set, so that what comes meanwhile forms one batch."""
    entered, release = threading.Event(), threading.Event()

    def wait(tx: Tx) -> None:
        entered.set()
        release.wait(30)

    thread = threading.Thread(target=lambda: store.write(wait, operation="hold", key="hold"))
    thread.start()
    entered.wait(30)
    return release, thread


def test_commands_that_come_while_the_writer_is_busy_share_one_transaction(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        release, holder = hold_line(store)
        seqs: list[int] = []

        def command(number: int) -> None:
            def put(tx: Tx) -> int:
                tx.put_customer(f"customer-{number}", b"x")
                return tx.seq

            seqs.append(store.write(put, operation="put", key=str(number)))

        threads = [threading.Thread(target=command, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(store._commit._line) == 8)
        release.set()
        for thread in [*threads, holder]:
            thread.join(30)
        assert 8 == len(seqs)
        assert 1 == len(set(seqs))


def test_a_refused_command_leaves_its_companions_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        release, holder = hold_line(store)
        refused: list[int] = []

        def command(number: int) -> None:
            def put(tx: Tx) -> None:
                tx.put_customer(f"customer-{number}", b"x")
                tx.put_counter(f"customer-{number}", "", "feature-1", 0, 10, number)
                if number % 3 == 0:
                    raise NotAllowed("refused")

            try:
                store.write(put, operation="put", key=str(number))
            except NotAllowed:
                refused.append(number)

        threads = [threading.Thread(target=command, args=(number,)) for number in range(9)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(store._commit._line) == 9)
        release.set()
        for thread in [*threads, holder]:
            thread.join(30)
        assert [0, 3, 6] == sorted(refused)
        kept = sorted(customer_id for customer_id, _ in store.load_all())
        assert [f"customer-{number}" for number in (1, 2, 4, 5, 7, 8)] == kept
        assert store.load_customer("customer-0").snapshot is None


def together(store: Store, commands: Sequence[Callable[[Tx], object]]) -> list[BaseException | None]:
    """What became of commands that are one batch."""
    members = [Member(command, "put", str(number)) for number, command in enumerate(commands)]
    store.write_all(members)
    return [member.error for member in members]


def refuse_after(change: Callable[[Tx], object]) -> Callable[[Tx], object]:
    def command(tx: Tx) -> None:
        change(tx)
        raise NotAllowed("refused")

    return command


@pytest.mark.parametrize(
    "change",
    [
        lambda tx: tx.put_customer("customer-1", b"wrong"),
        lambda tx: tx.put_counter("customer-1", "", "feature-1", 0, 10, 99),
        lambda tx: tx.append_event("a.b", "customer-1", 1, "somebody"),
        lambda tx: tx.put_catalog_item("feature", "feature-1", 1, "{}"),
        lambda tx: tx.customer_snapshot("customer-2"),
        lambda tx: tx.counter("customer-1", "", "feature-1", 0, 10),
    ],
    ids=["customer", "counter", "event", "catalog", "a look at another", "a look at the same"],
)
def test_what_a_refused_command_did_to_the_same_customer_is_undone(
    tmp_path: Path, change: Callable[[Tx], object]
) -> None:
    def add_one(tx: Tx) -> None:
        tx.put_customer("customer-1", b"right")
        tx.put_counter(
            "customer-1", "", "feature-1", 0, 10, (tx.counter("customer-1", "", "feature-1", 0, 10) or 0) + 1
        )

    with opened(tmp_path) as store:
        outcomes = together(store, [add_one, refuse_after(change), add_one])
        assert [None, NotAllowed, None] == [error and type(error) for error in outcomes]
        rows = store.load_customer("customer-1")
        assert b"right" == rows.snapshot
        assert 2 == store.read(lambda tx: tx.counter("customer-1", "", "feature-1", 0, 10))
        assert [] == store.read(lambda tx: tx.events())
        assert 0 == store.read(lambda tx: tx.catalog_seq())
        store.read(lambda tx: tx.verify_log("customer-1"))
    assert [] == [item for item in examine(tmp_path).findings if item.severity == "error"]


def test_commands_of_one_batch_see_each_others_new_customers(tmp_path: Path) -> None:
    seen: list[list[str]] = []
    with opened(tmp_path) as store:
        outcomes = together(
            store,
            [
                lambda tx: tx.put_customer("customer-1", b"x"),
                lambda tx: seen.append(tx.customer_ids()),
                lambda tx: tx.put_customer("customer-2", b"x"),
                lambda tx: seen.append(tx.customer_ids()),
            ],
        )
        assert [None] * 4 == outcomes
    assert [["customer-1"], ["customer-1", "customer-2"]] == [sorted(ids) for ids in seen]


def test_a_command_that_cannot_be_summed_up_stops_no_companion(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        outcomes = together(
            store,
            [
                lambda tx: tx.put_customer("customer-1", b"x"),
                lambda tx: tx.put_counter("nobody", "", "feature-1", 0, 10, 1),
                lambda tx: tx.put_customer("customer-2", b"x"),
            ],
        )
        assert [None, StoreError, None] == [error and type(error) for error in outcomes]
        assert [StoreError] == [
            type(error) for error in together(store, [lambda tx: tx.put_counter("nobody", "", "feature-1", 0, 10, 1)])
        ]
        assert ["customer-1", "customer-2"] == sorted(store.read(lambda tx: tx.customer_ids()))


def test_a_lone_refused_command_changes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, "first")
        before = store.status()["seq"]

        def refuse(tx: Tx) -> None:
            tx.put_customer("customer-2", b"x")
            raise NotAllowed("refused")

        with pytest.raises(NotAllowed):
            store.write(refuse, operation="put", key="key")
        assert before == store.status()["seq"]
        assert store.load_customer("customer-2").snapshot is None


def test_a_command_that_writes_nothing_uses_no_number(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, "first")
        seq = store.status()["seq"]
        assert 1 == add(store, "first")
        assert seq == store.status()["seq"]


def test_a_write_inside_a_write_is_refused_instead_of_waiting_for_itself(tmp_path: Path) -> None:
    with opened(tmp_path) as store, pytest.raises(StoreError, match="inside a write"):
        store.write(lambda tx: add(store, "inner"), operation="outer", key="outer")


def test_every_report_of_many_threads_is_counted_once(tmp_path: Path) -> None:
    with opened(tmp_path) as store:

        def work(number: int) -> None:
            for count in range(25):
                add(store, f"{number}-{count}")

        in_threads(8, work)
        assert 200 == total(store)
        assert 200 == len(set(measured(store)))


def test_the_generation_slot_is_in_flight_inside_a_commit_only(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, "first")
        slot = slot_of("customer-1")
        seen = []
        connection = store._writer._connection
        assert connection is not None

        def hook() -> bool:
            seen.append(is_in_flight(store.generation[slot]))
            return False

        connection.set_commit_hook(hook)
        add(store, "second")
        assert [True] == seen
        assert store.load_customer("customer-1").seq == store.generation[slot]


def test_a_commit_that_is_refused_leaves_a_value_never_seen_before(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, "first")
        slot = slot_of("customer-1")
        calls: list[int] = []
        connection = store._writer._connection
        assert connection is not None

        def refuse() -> bool:
            calls.append(1)
            return len(calls) == 1

        connection.set_commit_hook(refuse)
        before = store.generation[slot]
        add(store, "second")
        assert [1] == calls
        assert before != store.generation[slot]
        assert not is_in_flight(store.generation[slot])
        assert 2 == total(store)


class Faults(apsw.VFS):
    """The system's files with syncs of the log that fail when told to, before or after they happened."""

    def __init__(self) -> None:
        self.fail_syncs = 0
        self.after = False
        super().__init__("faults", "unix")

    def xOpen(self, name: Any, flags: Any) -> apsw.VFSFile:  # noqa: N802 - the library's name
        return FaultyFile(self, name, flags)


class FaultyFile(apsw.VFSFile):
    """One file of `Faults`."""

    def __init__(self, faults: Faults, name: Any, flags: Any) -> None:
        self._faults = faults
        self._is_log = not isinstance(name, apsw.URIFilename)
        super().__init__("unix", name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802 - the library's name
        fails = self._is_log and self._faults.fail_syncs > 0
        if fails:
            self._faults.fail_syncs -= 1
        if not fails or self._faults.after:
            super().xSync(flags)
        if fails:
            raise apsw.IOError("injected")


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    vfs = Faults()
    connect = apsw.Connection
    monkeypatch.setattr("sys.unraisablehook", lambda _: None)

    def open_with_faults(path: str, **options: Any) -> apsw.Connection:
        return connect(path, vfs="faults", **options)

    monkeypatch.setattr("stigg_local.store.connection.apsw.Connection", open_with_faults)
    return vfs


@pytest.mark.parametrize("after", [False, True])
def test_a_failed_sync_is_resolved_by_running_the_command_again(tmp_path: Path, faults: Faults, after: bool) -> None:
    with opened(tmp_path) as store:
        add(store, "first")
        faults.after, faults.fail_syncs = after, 1
        assert 2 == add(store, "second")
        assert 2 == total(store)
        assert ["first", "second"] == measured(store)


def test_a_sync_that_keeps_failing_says_under_which_key_the_outcome_is_unknown(tmp_path: Path, faults: Faults) -> None:
    with opened(tmp_path) as store:
        add(store, "first")
        faults.fail_syncs = 100
        with pytest.raises(StoreError, match="`second` is unknown") as caught:
            add(store, "second")
        assert caught.value.retryable
        faults.fail_syncs = 0
        add(store, "second")
        assert 2 == total(store)
        assert not any(is_in_flight(value) for value in store.generation)


def test_a_full_disk_undoes_the_whole_write_and_reads_go_on(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, "first")
        connection = store._writer._connection
        assert connection is not None
        pages = connection.pragma("page_count")
        connection.pragma("max_page_count", pages)
        with pytest.raises(StorageFull):
            store.write(lambda tx: tx.put_customer("large", bytes(1 << 20)), operation="put", key="large")
        assert 1 == total(store)
        assert store.load_customer("large").snapshot is None
        assert 2 == add(store, "second")


def raise_in(thread: threading.Thread, kind: type[BaseException]) -> None:
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(kind))


@pytest.fixture
def no_collector_callbacks() -> Iterator[None]:
    """Without the callbacks of the test tools: an interrupt inside one is theirs to report, not the store's."""
    kept = gc.callbacks[:]
    gc.callbacks.clear()
    yield
    gc.callbacks.extend(kept)


@pytest.mark.usefixtures("no_collector_callbacks")
@pytest.mark.parametrize("seed", range(2))
def test_interrupts_at_any_instant_leave_nobody_waiting(tmp_path: Path, seed: int) -> None:
    """Four threads write while keyboard interrupts are thrown into them at random."""
    rng = random.Random(seed)
    acknowledged: list[str] = []
    interrupted = Counter[str]()
    with opened(tmp_path) as store:
        stop = threading.Event()

        def work(number: int) -> None:
            count = 0
            while not stop.is_set():
                count += 1
                try:
                    add(store, f"{number}-{count}", customer_id=f"customer-{number}")
                    acknowledged.append(f"{number}-{count}")
                except KeyboardInterrupt:
                    interrupted["yes"] += 1

        def shielded(number: int) -> None:
            while not stop.is_set():
                try:
                    work(number)
                except KeyboardInterrupt:
                    interrupted["outside"] += 1

        threads = [threading.Thread(target=shielded, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            raise_in(rng.choice(threads), KeyboardInterrupt)
            time.sleep(rng.random() * 0.004)
        stop.set()
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads)
        assert interrupted["yes"] > 0
        stored = [key for number in range(4) for key in measured(store, f"customer-{number}")]
        assert set(acknowledged) <= set(stored)
        assert len(stored) == len(set(stored))
        assert len(stored) == sum(total(store, f"customer-{number}") for number in range(4))
        assert 1 == add(store, "last", customer_id="another")
        assert not any(is_in_flight(value) for value in store.generation)


WRITER = """
from stigg_local.clock import SystemClock
store = Store.open(args[0], environment=ENVIRONMENT, clock=SystemClock())
number = 0
while True:
    number += 1
    add(store, f"{args[1]}-{number}")
    os.write(1, f"{args[1]}-{number}\\n".encode())
"""


def kill_rounds(data_dir: Path, rounds: int) -> tuple[int, int]:
    rng = random.Random(1)
    acknowledged: list[str] = []
    for number in range(rounds):
        child = start(WRITER, data_dir, number)
        assert child.stdout is not None
        acknowledged.append(child.stdout.readline().strip())
        time.sleep(rng.random() * 0.02)
        child.send_signal(signal.SIGKILL)
        acknowledged += [line.strip() for line in child.stdout if line.endswith("\n")]
        child.wait()
        child.stdout.close()
        if number % 20 == 19 or number == rounds - 1:
            with opened(data_dir) as store:
                stored = measured(store)
                assert set(acknowledged) <= set(stored)
                assert len(stored) == len(set(stored)) == total(store)
                assert len(stored) <= len(acknowledged) + number + 1
    return len(acknowledged), len(stored)


def test_a_killed_writer_loses_and_doubles_nothing(tmp_path: Path) -> None:
    kill_rounds(tmp_path, 3)


@pytest.mark.stress
@pytest.mark.timeout(600)
def test_200_killed_writers_lose_and_double_nothing(tmp_path: Path) -> None:
    acknowledged, stored = kill_rounds(tmp_path, 200)
    print(f"acknowledged {acknowledged}, stored {stored}")


def wait_until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("levels", "expected"), [(("os",), 1), (("os", "os"), 1), (("os", "disk"), 2), (("disk", "os"), 2), (("disk",), 2)]
)
def test_a_transaction_is_as_durable_as_its_most_careful_command(
    tmp_path: Path, levels: tuple[str, ...], expected: int
) -> None:
    """Between NORMAL (1) and FULL (2), whoever comes first."""

    def synchronous(tx: Tx) -> int:
        tx.put_customer("customer-1", b"x")
        return int(tx.run("PRAGMA synchronous", ())[0][0])

    with opened(tmp_path) as store:
        members = [Member(synchronous, "put", f"key-{number}", level) for number, level in enumerate(levels)]
        store.write_all(members)
        assert [expected] * len(levels) == [member.result for member in members]


def test_what_a_refused_command_counted_is_unknown_to_the_next(tmp_path: Path) -> None:
    """In the same transaction, where only its own savepoint is undone."""
    key = "customer-1", "", "feature-1", 0, 1000

    def count(tx: Tx, value: int) -> int | None:
        before = tx.counter(*key)
        tx.put_counter(*key, value)
        return before

    def refused(tx: Tx) -> None:
        count(tx, 5)
        raise NotAllowed("planted")

    with opened(tmp_path) as store:
        store.write(lambda tx: tx.put_customer("customer-1", b"x"), operation="put", key="put")
        works = (lambda tx: count(tx, 1), refused, lambda tx: count(tx, 2))
        members = [Member(work, "count", f"key-{number}") for number, work in enumerate(works)]
        store.write_all(members)
        assert [None, None, 1] == [member.result for member in members]
        assert 2 == store.read(lambda tx: tx.counter(*key))
