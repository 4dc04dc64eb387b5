"""What the leader does with the rows: once, whoever else does it too, and by no clock that is not believed."""

import random
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stigg_local.store import Store, Tx
from stigg_local.store.chores import DAY_MS, KEY_LIFE_MS
from tests.shell.stores import HandClock, add, opened, start

PATIENCE_S = 30.0


def write(store: Store, fn: Callable[[Tx], Any], key: str = "key") -> Any:
    return store.write(fn, operation="test", key=key)


def until(holds: Callable[[], object]) -> None:
    """Wait for something that another thread does."""
    for _ in range(int(PATIENCE_S / 0.02)):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError("it never came")


# ---------------------------------------------------------------------- what is due


def settling(store: Store) -> Callable[[int], int]:
    """A toy authority: each boundary becomes one event."""

    def callback(now_ms: int) -> int:
        def work(tx: Tx) -> int:
            due = tx.due_before(now_ms, 3)
            for due_ms, customer_id in due:
                tx.append_event("settled", customer_id, due_ms, "system")
                tx.put_due(customer_id, None)
            return len(due)

        return int(store.write(work, operation="settle", key=f"{now_ms}"))

    return callback


def settled(store: Store) -> list[str]:
    return [event.customer_id for event in store.read(lambda tx: tx.events(limit=10**6, types=["settled"]))]


def test_a_tick_settles_everything_that_is_due_at_once(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as store:
        now_ms = store.now_ms()
        # The keeper's own look may not come in between.
        store._keeper.stop()  # type: ignore[union-attr]
        for number in range(10):
            write(store, lambda tx, n=number: tx.put_due(f"customer-{n}", now_ms + n * 1000), key=str(number))  # type: ignore[misc]
        store.on_due(settling(store))
        clock.advance(7.5)
        assert 8 == store.tick()["due"]
        assert [f"customer-{number}" for number in range(8)] == settled(store)
        assert 0 == store.tick()["due"]


class Counting:
    """A callback that settles nothing and remembers when it was asked."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, now_ms: int) -> int:
        self.calls.append(now_ms)
        return 0


def test_nothing_is_called_before_its_time_or_without_anything_due(tmp_path: Path) -> None:
    clock = HandClock()
    callback = Counting()
    with opened(tmp_path, clock) as store:
        store.on_due(callback)
        store.tick()
        write(store, lambda tx: tx.put_due("customer-1", tx.now_ms + 1))
        store.tick()
        assert [] == callback.calls


def test_a_callback_that_settles_nothing_is_not_called_for_ever(tmp_path: Path) -> None:
    callback = Counting()
    with opened(tmp_path, HandClock()) as store:
        store._keeper.stop()  # type: ignore[union-attr]
        write(store, lambda tx: tx.put_due("customer-1", 0))
        store.on_due(callback)
        assert 0 == store.tick()["due"]
        assert [store.now_ms()] == callback.calls
        store.remove_due(callback)
        store.tick()
        assert 1 == len(callback.calls)


def test_the_leader_settles_by_itself(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.on_due(settling(store))
        write(store, lambda tx: tx.put_due("customer-1", tx.now_ms))
        until(lambda: settled(store))
        assert ["customer-1"] == settled(store)


def test_an_error_of_a_callback_is_told_and_it_is_called_again(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        failures = [OSError("the provider is away")]
        works = settling(store)

        def callback(now_ms: int) -> int:
            if failures:
                raise failures.pop()
            return works(now_ms)

        store.on_due(callback)
        write(store, lambda tx: tx.put_due("customer-1", tx.now_ms))
        until(lambda: "provider is away" in (store.status()["last_error"] or ""))
        until(lambda: settled(store))
        until(lambda: store.status()["last_error"] is None)


def test_a_callback_that_fails_holds_up_no_other_work(tmp_path: Path) -> None:
    def fail(now_ms: int) -> int:
        raise OSError("the provider is away")

    with opened(tmp_path) as store:
        store._keeper.stop()  # type: ignore[union-attr]
        store.on_due(fail)
        write(store, lambda tx: tx.put_due("customer-1", 0), key="due")
        write(store, lambda tx: tx.set_meta("scrub", "1"), key="wish")
        with pytest.raises(OSError, match="provider is away"):
            store.tick()
        assert store.read(lambda tx: tx.meta("scrub")) is None
        assert 0 == store.read(lambda tx: tx.due_of("customer-1"))


def test_a_clock_that_is_not_believed_settles_nothing_new(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as store:
        store._keeper.stop()  # type: ignore[union-attr]
        now_ms = store.now_ms()
        write(store, lambda tx: tx.put_due("past", now_ms), key="past")
        write(store, lambda tx: tx.put_due("future", now_ms + 10 * DAY_MS), key="future")
        store.on_due(settling(store))
        clock.wall_s += 30 * 86400
        assert store.now_ms() > now_ms + 10 * DAY_MS
        assert store.is_clock_suspect
        assert 1 == store.tick()["due"]
        assert ["past"] == settled(store)
        store.confirm_clock()
        assert 1 == store.tick()["due"]


TICKING = """
from stigg_local.store import Tx
with opened(args[0]) as store:
    def callback(now_ms):
        def work(tx):
            due = tx.due_before(now_ms, 7)
            for due_ms, customer_id in due:
                tx.append_event("settled", customer_id, due_ms, "system", args[1].encode())
                tx.put_due(customer_id, None)
            return len(due)
        return store.write(work, operation="settle", key=os.urandom(8).hex())
    store.on_due(callback)
    print("ready"); sys.stdout.flush()
    sys.stdin.readline()
    print(store.tick()["due"])
"""


def tick_in(tmp_path: Path, processes: int, customers: int) -> list[int]:
    """Let processes tick at the same time; returns how much each settled."""
    with opened(tmp_path) as store:
        running = [start(TICKING, tmp_path, number, stdin=subprocess.PIPE) for number in range(processes)]
        for process in running:
            assert process.stdout is not None
            assert "ready\n" == process.stdout.readline()

        def make(tx: Tx) -> None:
            for number in range(customers):
                tx.put_due(f"customer-{number}", tx.now_ms - number)

        write(store, make)
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        counts = [int(process.communicate()[0]) for process in running]
        assert sorted(f"customer-{number}" for number in range(customers)) == sorted(settled(store))
        assert store.read(lambda tx: tx.next_due()) is None
        store.read(lambda tx: tx.verify_events())
        return counts


def test_two_processes_that_tick_settle_each_boundary_once(tmp_path: Path) -> None:
    assert sum(tick_in(tmp_path, 2, 300)) <= 300


@pytest.mark.stress
@pytest.mark.timeout(300)
def test_four_processes_that_tick_settle_each_of_many_boundaries_once(tmp_path: Path) -> None:
    counts = tick_in(tmp_path, 4, 20_000)
    print(f"settled by each: {counts}")
    assert sum(1 for count in counts if count) > 1


# ---------------------------------------------------------------------- forgetting


def test_a_key_lives_ninety_days(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as store:
        add(store, "old")
        began_ms = store.now_ms()
        clock.advance(KEY_LIFE_MS / 1000)
        assert 0 == store.tick()["purged_keys"]
        add(store, "new")
        clock.advance(1)
        assert 1 == store.tick()["purged_keys"]
        assert store.read(lambda tx: tx.idempotency("add", "old")) is None
        assert store.read(lambda tx: tx.idempotency("add", "new")) is not None
        assert began_ms < store.read(lambda tx: tx.keys_from_ms()) <= store.now_ms() - KEY_LIFE_MS


def test_a_key_lives_as_long_as_the_longest_open_window(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as store:
        began_ms = store.now_ms()
        add(store, "old")
        end_ms = began_ms + 365 * DAY_MS

        def count(tx: Tx) -> None:
            tx.put_counter("customer-1", "", "feature-year", began_ms, end_ms, 1)
            # One that never ends holds nothing back.
            tx.put_counter("customer-1", "", "feature-ever", 0, 2**63 - 1, 1)

        write(store, count)
        clock.advance(200 * 86400)
        assert 0 == store.tick()["purged_keys"]
        assert 0 == store.read(lambda tx: tx.keys_from_ms())
        clock.advance(165 * 86400)
        assert 1 == store.tick()["purged_keys"]


def test_a_clock_that_is_not_believed_forgets_nothing(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as store:
        store.chores.audit_retention_ms = DAY_MS
        add(store, "old")
        write(store, lambda tx: tx.append_event("old", "", tx.now_ms, "api"))
        clock.wall_s += 1000 * 86400
        done = store.tick()
        assert (0, 0) == (done["purged_keys"], done["purged_events"])
        assert store.read(lambda tx: tx.idempotency("add", "old")) is not None


def test_many_old_keys_go_in_small_transactions(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as store:

        def make(tx: Tx) -> None:
            for number in range(2500):
                tx.put_idempotency("add", f"key-{number}", "customer-1", b"f", b"r")

        write(store, make)
        clock.advance(100 * 86400)
        before = store.status()["seq"]
        assert 2500 == store.tick()["purged_keys"]
        assert 3 == store.status()["seq"] - before


def test_events_are_kept_for_ever_unless_it_is_said_how_long(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as store:
        for number in range(3):
            write(store, lambda tx: tx.append_event("event", "", tx.now_ms, "api"), key=str(number))
            clock.advance(10 * 86400)
        assert 0 == store.tick()["purged_events"]
        store.chores.audit_retention_ms = 15 * DAY_MS
        assert 2 == store.tick()["purged_events"]
        assert 1 == len(store.read(lambda tx: tx.events()))
        store.read(lambda tx: tx.verify_events())


# ---------------------------------------------------------------------- scrubbing

CANARY = b"canary@example.com"


def fill(store: Store, rounds: int = 20) -> None:
    """Records that grow, shrink and move between pages, with a canary in each."""
    for number in range(rounds):

        def work(tx: Tx, number: int = number) -> None:
            for customer in range(40):
                customer_id = f"customer-{customer}"
                tx.put_customer(customer_id, b"snapshot")
                size = (number * 131 + customer * 37) % 900
                tx.put_customer_record(customer_id, CANARY.decode() + "x" * size)
                if number % 7 == 0:
                    tx.append_event("customer.updated", customer_id, number, "api", CANARY + b"." * (size % 50))
                    tx.put_idempotency(
                        "updateCustomer", f"{customer}-{number}", customer_id, b"f", CANARY + b"." * size
                    )

        write(store, work, key=str(number))


def erase(store: Store) -> None:
    def work(tx: Tx) -> None:
        for customer in range(40):
            customer_id = f"customer-{customer}"
            tx.put_customer_record(customer_id, "{}")
            tx.scrub_customer(customer_id, reply=lambda *_: b"", event=lambda *_: b"")

    write(store, work, key="erase")


def traces(data_dir: Path) -> list[str]:
    """The files that hold the canary."""
    return sorted(path.name for path in data_dir.rglob("*") if path.is_file() and CANARY in path.read_bytes())


def test_a_scrub_leaves_no_byte_of_what_was_erased_in_any_file(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store._keeper.stop()  # type: ignore[union-attr]
        fill(store)
        erase(store)
        assert [] != traces(tmp_path)
        assert store.scrub()
        assert [] == traces(tmp_path)
        assert store.read(lambda tx: tx.meta("scrub")) is None
        assert 40 == sum(1 for _ in store.load_all())
        store.read(lambda tx: tx.verify_events())


def test_a_wished_scrub_is_done_by_the_leader(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 8)
        erase(store)
        until(lambda: store.read(lambda tx: tx.meta("scrub")) is None)
        assert [] == traces(tmp_path)


READING = """
import apsw
connection = apsw.Connection(args[0])
connection.execute("BEGIN")
print(connection.execute("SELECT count(*) FROM customer").fetchall()); sys.stdout.flush()
sys.stdin.readline()
connection.execute("ROLLBACK")
print("done"); sys.stdout.flush()
sys.stdin.readline()
"""


def test_a_reader_holds_a_scrub_up_and_the_leader_ends_it_later(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 8)
        reader = start(READING, tmp_path / "authority.db", stdin=subprocess.PIPE)
        assert reader.stdout is not None
        assert reader.stdin is not None
        reader.stdout.readline()
        erase(store)
        assert not store.scrub()
        assert store.read(lambda tx: tx.meta("scrub")) is not None
        assert [] != traces(tmp_path)
        # Another one may be open all the while, as long as it is not in the middle of reading.
        reader.stdin.write("end\n")
        reader.stdin.flush()
        assert "done\n" == reader.stdout.readline()
        until(lambda: store.read(lambda tx: tx.meta("scrub")) is None)
        assert [] == traces(tmp_path)
        reader.communicate("end\n")


def test_a_wish_outlives_the_process_that_had_it(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store._keeper.stop()  # type: ignore[union-attr]
        fill(store, 8)
        erase(store)
    with opened(tmp_path) as store:
        assert store.tick()["scrubbed"]
        assert [] == traces(tmp_path)
        assert not store.tick()["scrubbed"]


SCRUBBING = """
with opened(args[0]) as store:
    for number in range(10**6):
        store.write(lambda tx: tx.append_event("event", "", number, "api"), operation="test", key=str(number))
        print(number); sys.stdout.flush()
        store.scrub()
"""


@pytest.mark.stress
@pytest.mark.timeout(300)
def test_a_kill_in_a_scrub_loses_nothing_and_the_wish_stays_or_is_fulfilled(tmp_path: Path) -> None:
    source = random.Random(1)
    with opened(tmp_path) as store:
        fill(store, 8)
        erase(store)
    expected = 0
    for _ in range(25):
        process = start(SCRUBBING, tmp_path)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(source.uniform(0, 0.05))
        process.kill()
        acknowledged = 1 + process.communicate()[0].count("\n")
        with opened(tmp_path) as store:
            for customer in range(40):
                store.read(lambda tx, customer=customer: tx.verify_log(f"customer-{customer}"))  # type: ignore[misc]
            store.read(lambda tx: tx.verify_events())
            found = len(store.read(lambda tx: tx.events(limit=10**6, types=["event"])))
            assert expected + acknowledged <= found <= expected + acknowledged + 1
            expected = found
            store.tick()
            until(lambda: store.read(lambda tx: tx.meta("scrub")) is None)
            assert [] == traces(tmp_path)


def test_writers_go_on_around_a_scrub(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 4)
        stop = threading.Event()
        written: list[int] = []

        def report() -> None:
            while not stop.is_set():
                written.append(add(store, f"key-{len(written)}", "customer-x"))

        thread = threading.Thread(target=report)
        thread.start()
        try:
            for _ in range(5):
                store.scrub()
        finally:
            stop.set()
            thread.join(PATIENCE_S)
        assert len(written) == store.load_customer("customer-x").counters[0][4] > 0


# ---------------------------------------------------------------------- following


APPENDING = """
with opened(args[0]) as store:
    sys.stdin.readline()
    store.write(lambda tx: tx.append_event("far", "", 1, "api"), operation="test", key="far")
    print("done")
"""


def test_an_event_of_another_process_ends_the_wait(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        write(store, lambda tx: tx.append_event("near", "", 1, "api"))
        position = store.read(lambda tx: tx.event_position())
        other = start(APPENDING, tmp_path, stdin=subprocess.PIPE)
        assert not store.wait_for_events(position, 0.05)
        assert other.stdin is not None
        other.stdin.write("go\n")
        other.stdin.flush()
        assert store.wait_for_events(position, PATIENCE_S)
        assert ["far"] == [event.type for event in store.read(lambda tx: tx.events(position))]
        other.communicate()


def test_a_wait_for_events_that_are_there_ends_at_once(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert not store.wait_for_events((0, 0), 0)
        write(store, lambda tx: tx.append_event("near", "", 1, "api"))
        assert store.wait_for_events((0, 0), 0)
