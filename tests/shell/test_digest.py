"""Digests: a flipped bit anywhere is an error of the store or harmless, never a wrong answer."""

import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from stigg_local.errors import StoreCorrupt, StoreError
from stigg_local.store import Store, Tx
from stigg_local.store.digest import row_digest, row_sum, slot_of, sum_bytes
from tests.shell.stores import HandClock, add, opened, total


def damage(data_dir: Path, statement: str) -> None:
    """Change rows behind the store's back."""
    connection = apsw.Connection(str(data_dir / "authority.db"))
    connection.execute(statement)
    assert connection.changes() > 0
    connection.close()


def fill(store: Store, customers: int = 5) -> None:
    def command(tx: Tx) -> None:
        for number in range(customers):
            customer_id = f"customer-{number}"
            tx.put_customer(customer_id, f"snapshot of {number}".encode() * 3)
            tx.put_customer_record(customer_id, f'{{"number": {number}}}')
            for feature in range(3):
                tx.put_counter(customer_id, "", f"feature-{feature}", 0, 1000, number * 10 + feature)
            tx.put_grant(customer_id, "grant", f"grant of {number}".encode())
            tx.append_measurement(customer_id, "", "feature-0", f"m-{number}", "SET", number, 5)
            tx.append_ledger(customer_id, b"ledger")
            tx.put_idempotency("fill", f"key-{number}", customer_id, b"f", b"reply")
        for version in range(3):
            tx.put_catalog_item("plan", "plan-1", version, f'{{"version": {version}}}')

    store.write(command, operation="fill", key="fill")


def test_the_encoding_is_the_one_that_files_were_written_with() -> None:
    """A change here makes every existing file unreadable."""
    digest = row_digest("production", "customer-1", (1, "", "feature-1", 0, 1 << 40, -5, 7))
    assert "8198844c0422a2bf" == digest.hex()


def test_a_sum_is_the_digest_as_a_number() -> None:
    assert row_digest("e", "k", (1, 2)) == sum_bytes(row_sum("e", "k", (1, 2)))


def test_neighbouring_values_cannot_be_taken_for_each_other() -> None:
    assert row_digest("e", "ab", (0, "c")) != row_digest("e", "a", (0, "bc"))
    assert row_digest("e", "a", (0, "1")) != row_digest("e", "a", (0, 1))
    assert row_digest("e", "a", (0, b"x")) != row_digest("e", "a", (0, "x"))


def test_a_slot_is_below_4096() -> None:
    assert {True} == {0 <= slot_of(f"customer-{number}") < 4096 for number in range(1000)}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE customer SET snapshot = x'00' WHERE customer_id = 'customer-1'",
        "UPDATE customer SET seq = seq + 1 WHERE customer_id = 'customer-1'",
        "UPDATE customer SET customer_id = 'customer-!' WHERE customer_id = 'customer-1'",
        "UPDATE customer SET slot = slot + 1 WHERE customer_id = 'customer-1'",
        "DELETE FROM customer WHERE customer_id = 'customer-1'",
        "UPDATE usage_counter SET value = value + 1 WHERE customer_id = 'customer-1'",
        "UPDATE usage_counter SET to_ms = 999 WHERE customer_id = 'customer-1' AND feature_id = 'feature-1'",
        "UPDATE usage_counter SET customer_id = 'x' WHERE customer_id = 'customer-1'",
        "DELETE FROM usage_counter WHERE customer_id = 'customer-1' AND feature_id = 'feature-2'",
        "UPDATE credit_grant SET body = x'00' WHERE customer_id = 'customer-1'",
        "DELETE FROM credit_grant WHERE customer_id = 'customer-1'",
    ],
)
def test_a_changed_or_missing_row_fails_that_customer_alone(tmp_path: Path, statement: str) -> None:
    with opened(tmp_path) as store:
        fill(store)
    damage(tmp_path, statement)
    with opened(tmp_path) as store:
        with pytest.raises(StoreCorrupt):
            store.load_customer("customer-1")
        assert 4 == len([customer_id for customer_id, _ in store.load_all()])
        assert b"snapshot of 2" * 3 == store.load_customer("customer-2").snapshot
        assert store.load_customer("nobody").snapshot is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE catalog_item SET body = '{}' WHERE version = 1",
        "UPDATE catalog_item SET id = 'plan-2' WHERE version = 1",
        "DELETE FROM catalog_item WHERE version = 1",
        "UPDATE catalog_root SET root = root + 1",
    ],
)
def test_a_changed_catalog_is_not_used(tmp_path: Path, statement: str) -> None:
    with opened(tmp_path) as store:
        fill(store)
    damage(tmp_path, statement)
    with opened(tmp_path) as store, pytest.raises(StoreCorrupt):
        store.load_catalog()


@pytest.mark.parametrize("table", ["measurement", "ledger", "customer_record"])
@pytest.mark.parametrize("change", ["DELETE FROM {} ", "UPDATE {} SET seq = 99 "])
def test_a_changed_log_is_found_when_it_is_verified(tmp_path: Path, table: str, change: str) -> None:
    with opened(tmp_path) as store:
        fill(store)
        store.read(lambda tx: tx.verify_log("customer-1"))
    damage(tmp_path, change.format(table) + "WHERE customer_id = 'customer-1'")
    with opened(tmp_path) as store, pytest.raises(StoreCorrupt):
        store.read(lambda tx: tx.verify_log("customer-1"))


def test_a_record_that_vanished_is_not_a_customer_without_one(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store)
        assert store.read(lambda tx: tx.customer_record("nobody")) is None
    damage(tmp_path, "DELETE FROM customer_record WHERE customer_id = 'customer-1'")
    with opened(tmp_path) as store, pytest.raises(StoreCorrupt):
        store.read(lambda tx: tx.customer_record("customer-1"))


def test_a_changed_reply_is_not_returned(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, "key")
    damage(tmp_path, "UPDATE idempotency SET reply = x'31'")
    damage(tmp_path, "UPDATE idempotency SET fingerprint = x'31'")
    with opened(tmp_path) as store, pytest.raises(StoreCorrupt):
        add(store, "key")


def test_a_bad_counter_is_never_built_upon_and_can_be_rebuilt(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, "first", value=7)
    damage(tmp_path, "UPDATE usage_counter SET value = 1000000")
    with opened(tmp_path) as store:
        with pytest.raises(StoreCorrupt):
            add(store, "second")

        def rebuild(tx: Tx) -> None:
            tx.verify_log("customer-1")
            value = sum(row.value for row in tx.measurements("customer-1", "", "feature-1", 0, 1000))
            tx.rebuild_numbers("customer-1", [("", "feature-1", 0, 1000, value)], [])

        store.write(rebuild, operation="rebuild", key="rebuild")
        assert 7 == total(store)
        assert 8 == add(store, "second")


def test_a_bad_customer_row_can_be_rebuilt(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, "first", value=7)
    damage(tmp_path, "UPDATE customer SET snapshot = x'00'")
    with opened(tmp_path) as store:
        store.write(lambda tx: tx.rebuild_customer("customer-1", b"new"), operation="rebuild", key="rebuild")
        rows = store.load_customer("customer-1")
        assert (b"new", 7) == (rows.snapshot, total(store))
        store.read(lambda tx: tx.verify_log("customer-1"))


@pytest.mark.parametrize("gone", ["UPDATE customer SET customer_id = 'customer-?'", "DELETE FROM customer"])
def test_a_missing_customer_row_can_be_rebuilt(tmp_path: Path, gone: str) -> None:
    with opened(tmp_path) as store:
        add(store, "first", value=7)
        store.write(lambda tx: tx.put_customer_record("customer-1", "{}"), operation="put", key="put")
    damage(tmp_path, gone)
    with opened(tmp_path) as store:
        with pytest.raises(StoreCorrupt):
            store.load_customer("customer-1")
        store.write(lambda tx: tx.rebuild_customer("customer-1", b"new"), operation="rebuild", key="rebuild")
        assert 7 == total(store)
        assert ["customer-1"] == [customer_id for customer_id, _ in store.load_all()]
        assert store.read(lambda tx: tx.customer_ids()) == ["customer-1"]


def test_a_damaged_sequence_never_leads_to_a_number_used_twice(tmp_path: Path) -> None:
    def put(store: Store, key: str) -> int:
        def command(tx: Tx) -> int:
            tx.put_customer(key, b"x")
            return tx.seq

        return store.write(command, operation="put", key=key)

    with opened(tmp_path) as store:
        last = [put(store, str(number)) for number in range(5)][-1]
    damage(tmp_path, "UPDATE sequence SET seq = 1")
    with opened(tmp_path) as store:
        assert last < put(store, "9")


def answers(store: Store) -> dict[str, object]:
    """Everything that is asked of the store; an error of the store counts as no answer."""
    questions: dict[str, Callable[[], object]] = {"catalog": lambda: store.load_catalog()[2]}
    for number in range(5):
        customer_id, key = f"customer-{number}", f"key-{number}"
        questions[customer_id] = lambda c=customer_id: store.load_customer(c)[1:4]  # type: ignore[misc]
        questions[f"record {number}"] = lambda c=customer_id: store.read(lambda tx: tx.customer_record(c))  # type: ignore[misc]
        questions[f"reply {number}"] = lambda k=key: store.read(lambda tx: tx.idempotency("fill", k))  # type: ignore[misc]
    found: dict[str, object] = {}
    for name, ask in questions.items():
        with suppress(StoreError):
            found[name] = ask()
    return found


def flip_rounds(tmp_path: Path, rounds: int) -> dict[str, int]:
    rng = random.Random(5)
    clock = HandClock()
    whole = tmp_path / "whole"
    with opened(whole, clock) as store:
        store.upkeep._site.leader.try_acquire()
        fill(store)
        expected = answers(store)
    assert not (whole / "authority.db-wal").exists() or (whole / "authority.db-wal").stat().st_size == 0
    outcomes = {"same": 0, "noticed": 0, "refused to open": 0, "set aside": 0, "forgotten key": 0}
    for number in range(rounds):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(whole, copy)
        content = bytearray((copy / "authority.db").read_bytes())
        place = rng.randrange(len(content))
        content[place] ^= 1 << rng.randrange(8)
        (copy / "authority.db").write_bytes(bytes(content))
        try:
            with opened(copy, clock) as store:
                found = answers(store)
                is_lost = store.status()["lost"]
        except StoreError:
            outcomes["refused to open"] += 1
            continue
        finally:
            shutil.rmtree(copy)
        if is_lost:
            outcomes["set aside"] += 1
            assert not any(name.startswith("customer") for name in found)
            continue
        wrong = {name: value for name, value in found.items() if value != expected[name]}
        # The one thing no sum covers: a key that cannot be found any more is taken for a new one.
        forgotten = [name for name in wrong if name.startswith("reply") and wrong[name] is None]
        assert {} == {name: value for name, value in wrong.items() if name not in forgotten}
        outcomes["forgotten key"] += bool(forgotten)
        outcomes["same" if len(found) == len(expected) else "noticed"] += 1
    return outcomes


def test_no_flipped_bit_gives_a_wrong_answer(tmp_path: Path) -> None:
    flip_rounds(tmp_path, 60)


@pytest.mark.stress
def test_no_flipped_bit_of_3000_gives_a_wrong_answer(tmp_path: Path) -> None:
    print(flip_rounds(tmp_path, 3000))


def test_counters_that_are_forgotten_leave_whole_numbers_behind(tmp_path: Path) -> None:
    """The sum over a customer's numbers goes with them, so that nothing has to be rebuilt afterwards."""
    with opened(tmp_path) as store:
        fill(store, customers=1)
        count = store.write(
            lambda tx: tx.delete_counters_before("customer-0", "", "feature-1", 1000), operation="forget", key="k"
        )
        assert 1 == count
    with opened(tmp_path) as store:
        found = store.read(lambda tx: tx.counters("customer-0"))
        assert [("", "feature-0", 0, 1000, 0), ("", "feature-2", 0, 1000, 2)] == found
