"""What the writer keeps in mind from one transaction to the next: dropped whenever it may not be true any more."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from stigg_local.errors import NotAllowed, StoreCorrupt, StoreError
from stigg_local.store import Store, Tx, writer
from stigg_local.store.commit import Member
from stigg_local.store.digest import COUNTER, CUSTOMER, row_digest, row_sum, sum_bytes
from stigg_local.store.tx import Known
from tests.shell.stores import ENVIRONMENT, add, measured, opened, start, total

KEY = ("", "feature-1", 0, 1000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as opened_store:
        # The keeper's own looks make the writer forget.
        opened_store._keeper.stop()  # type: ignore[union-attr]
        add(opened_store, "first")
        yield opened_store


def known(store: Store) -> Known | None:
    return store._writer._known


def numbers_of(store: Store) -> list[Any]:
    """The statements about a customer's row and counters that the next report runs."""
    connection = store._writer._connection
    assert connection is not None
    ran: list[str] = []
    connection.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: ran.append(event["sql"]))
    add(store, "another")
    connection.trace_v2(0, None)
    return [text for text in ran if text.startswith("SELECT") and ("FROM customer" in text or "usage_counter" in text)]


def set_counter(path: str, value: int) -> None:
    """Give the customer's counter another value, as a program would that does it right."""
    connection = apsw.Connection(path)
    with connection:
        seq, snapshot, log = connection.execute("SELECT seq, snapshot, log FROM customer").fetchall()[0]
        counter_sum = row_sum(ENVIRONMENT, "customer-1", (COUNTER, *KEY, value, seq))
        numbers = sum_bytes(counter_sum)
        connection.execute("UPDATE usage_counter SET value = ?, seq = ?, digest = ?", (value, seq, numbers))
        digest = row_digest(ENVIRONMENT, "customer-1", (CUSTOMER, seq, snapshot, numbers, log))
        connection.execute("UPDATE customer SET numbers = ?, digest = ?", (numbers, digest))
    connection.close()


def test_the_next_transaction_reads_no_row_again(store: Store) -> None:
    assert [] == numbers_of(store)
    assert 2 == total(store)


def test_what_another_connection_committed_counts(store: Store) -> None:
    set_counter(store.path, 100)
    assert 101 == add(store, "second")
    assert 101 == total(store)
    assert [] == numbers_of(store)


REPORT = """
from stigg_local.clock import SystemClock
store = Store.open(args[0], environment=ENVIRONMENT, clock=SystemClock())
print(add(store, args[1]))
store.close()
"""


def test_what_another_process_committed_counts(store: Store, tmp_path: Path) -> None:
    for number in range(2):
        child = start(REPORT, tmp_path, f"other-{number}")
        assert f"{2 + 2 * number}\n" == child.communicate()[0]
        assert 3 + 2 * number == add(store, f"mine-{number}")
    assert 5 == total(store) == len(measured(store))
    assert len({store.load_customer("customer-1").seq}) == 1
    assert 5 == store.status()["seq"]


def test_what_an_action_of_its_own_connection_did_counts(store: Store) -> None:
    """SQLite does not tell a connection of its own commits."""

    def erase(connection: apsw.Connection) -> None:
        for table in ("usage_counter", "measurement", "customer", "customer_slot", "idempotency"):
            connection.execute(f"DELETE FROM {table}")

    store._exclusively(erase, begins=False)
    assert 1 == add(store, "second")
    assert ["second"] == measured(store)


def test_what_an_action_undid_is_forgotten_too(store: Store) -> None:
    store._exclusively(lambda connection: None)
    assert known(store) is None
    assert 2 == add(store, "second")


def test_another_file_under_the_path_is_read_anew(store: Store) -> None:
    """As a restore or a quarantine leaves it."""
    aside = store.path + ".aside"
    connection = apsw.Connection(store.path)
    connection.execute("VACUUM INTO ?", (aside,))
    connection.close()
    set_counter(aside, 50)
    add(store, "lost")
    for suffix in ("-wal", "-shm"):
        os.unlink(store.path + suffix)
    os.replace(aside, store.path)
    assert 51 == add(store, "second")
    store._readers.close_all()
    assert 51 == total(store)
    assert ["first", "second"] == measured(store)


def test_a_retired_connection_knows_nothing(store: Store) -> None:
    stop = Member()
    assert store._commit.pause(stop)
    try:
        store._writer.retire()
    finally:
        store._commit.resume(stop)
    assert known(store) is None
    assert 2 == add(store, "second")


def refused(tx: Tx) -> None:
    tx.put_counter("customer-1", *KEY, 77)
    tx.append_measurement("customer-1", "", "feature-1", "refused", "DELTA", 76, 5)
    tx.put_catalog_item("feature", "feature-1", 0, "{}")
    assert tx.seq == tx.catalog_seq()
    raise NotAllowed("refused")


def in_one_batch(store: Store, *fns: Callable[[Tx], Any]) -> list[Member]:
    members = [Member(fn, "test", str(number)) for number, fn in enumerate(fns)]
    store.write_all(members)
    return members


@pytest.mark.parametrize("is_first", [True, False])
def test_what_a_refused_command_changed_is_not_kept_in_mind(store: Store, is_first: bool) -> None:
    def count(tx: Tx) -> int:
        value = tx.counter("customer-1", *KEY) or 0
        tx.put_counter("customer-1", *KEY, value + 1)
        return tx.catalog_seq()

    order = [refused, count] if is_first else [count, refused]
    members = in_one_batch(store, *order)
    assert {NotAllowed, type(None)} == {type(member.error) for member in members}
    assert 0 == members[order.index(count)].result
    assert 2 == total(store)
    assert 3 == add(store, "second")
    assert ["first", "second"] == measured(store)


def test_a_lone_refused_command_is_not_kept_in_mind(store: Store) -> None:
    with pytest.raises(NotAllowed):
        store.write(refused, operation="test", key="key")
    assert 0 == store.write(lambda tx: tx.catalog_seq(), operation="test", key="another")
    assert 2 == add(store, "second")
    assert ["first", "second"] == measured(store)


def test_a_command_that_was_interrupted_is_not_kept_in_mind(store: Store) -> None:
    def interrupted(tx: Tx) -> None:
        tx.put_counter("customer-1", *KEY, 77)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write(interrupted, operation="test", key="key")
    assert known(store) is None
    assert 2 == add(store, "second")


def test_a_commit_that_failed_is_not_kept_in_mind(store: Store) -> None:
    connection = store._writer._connection
    assert connection is not None
    connection.set_commit_hook(lambda: True)
    assert 2 == add(store, "second")
    assert 2 == total(store)
    assert ["first", "second"] == measured(store)


def test_a_catalog_that_changed_is_asked_for_its_number_again(store: Store) -> None:
    def ask(tx: Tx) -> int:
        return tx.catalog_seq()

    def change(tx: Tx) -> int:
        before = tx.catalog_seq()
        tx.put_catalog_item("feature", "feature-1", 0, "{}")
        return before

    assert 0 == store.write(ask, operation="test", key="1")
    assert 0 == store.write(change, operation="test", key="2")
    assert 2 == store.write(ask, operation="test", key="3") == store.catalog_seq()


def test_a_counter_that_was_deleted_is_gone(store: Store) -> None:
    def delete(tx: Tx) -> int:
        return tx.delete_counters_before("customer-1", "", "feature-1", 1000)

    assert 1 == store.write(delete, operation="test", key="1")
    assert store.write(lambda tx: tx.counter("customer-1", *KEY), operation="test", key="2") is None
    assert 1 == add(store, "second")


def test_numbers_that_were_rebuilt_are_known_as_they_are(store: Store) -> None:
    def rebuild(tx: Tx) -> None:
        tx.rebuild_numbers("customer-1", [("", "feature-2", 0, 10, 5)], [])

    store.write(rebuild, operation="test", key="1")
    assert store.write(lambda tx: tx.counter("customer-1", *KEY), operation="test", key="2") is None
    assert 1 == add(store, "second")
    assert 6 == total(store)


def test_a_customer_whose_row_a_rebuild_deleted_is_not_known_any_more(store: Store) -> None:
    """A row that its digest denies goes; whoever was read of the same place before is read again."""

    def rebuild(tx: Tx) -> bool:
        seal = tx._seals.customer("customer-1")
        tx.rebuild_customer("customer-2", b"snapshot")
        return tx._seals.customer("customer-1") is seal

    assert not store.write(rebuild, operation="test", key="1")


def test_the_memory_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "KNOWN_MAX", 5)
    for number in range(20):
        add(store, f"key-{number}", customer_id=f"customer-{number + 2}")
        kept = known(store)
        assert kept is not None
        assert len(kept.customers) <= 6
        assert len(kept.counters) <= 6
    assert 21 == len(store.read(lambda tx: tx.customer_ids()))
    assert 2 == add(store, "second")


def test_damage_that_came_with_another_commit_is_found(store: Store) -> None:
    connection = apsw.Connection(store.path)
    connection.execute("UPDATE usage_counter SET value = 100")
    connection.close()
    with pytest.raises(StoreCorrupt):
        add(store, "second")


def test_a_position_that_another_process_wrote_is_gone_on_from(store: Store) -> None:
    with opened(Path(store.path).parent, environment="staging") as other:
        other._keeper.stop()  # type: ignore[union-attr]
        add(other, "theirs")
        add(other, "theirs-2")
        assert 2 == add(store, "second")
        assert 4 == store.load_customer("customer-1").seq
        assert 3 == add(other, "theirs-3")
        assert 5 == other.load_customer("customer-1").seq


def test_a_damaged_position_is_mended_by_the_first_command_that_writes(store: Store) -> None:
    with opened(Path(store.path).parent, environment="staging") as other:
        add(other, "theirs")
    connection = apsw.Connection(store.path)
    connection.execute("UPDATE sequence SET seq = seq + 1 WHERE environment = 'staging'")
    # It takes the damaged row out, and that is undone with it.
    assert store.write(lambda tx: tx.counter("customer-1", *KEY), operation="test", key="1")
    assert 2 == add(store, "second")
    assert [(ENVIRONMENT,)] == connection.execute("SELECT environment FROM sequence").fetchall()
    connection.close()


def test_a_file_that_is_gone_is_told(store: Store) -> None:
    os.rename(store.path, store.path + ".aside")
    with pytest.raises(StoreError, match="is gone"):
        add(store, "second")
    os.rename(store.path + ".aside", store.path)
    assert 2 == add(store, "second")
