"""Boundaries, events, checkouts and scrubbing in a transaction: in order, verified, undone with their command."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from stigg_local.core.hold import Hold
from stigg_local.errors import StoreCorrupt, StoreError
from stigg_local.store import Checkout, Event, Store, Tx
from stigg_local.store.digest import row_digest, sum_bytes
from stigg_local.store.views import add_views
from tests.shell.stores import HandClock, opened


def write(store: Store, fn: Callable[[Tx], Any], key: str = "key") -> Any:
    return store.write(fn, operation="test", key=key)


def fill(tx: Tx) -> None:
    for number in range(4):
        customer_id = f"customer-{number}"
        tx.put_customer(customer_id, b"snapshot")
        tx.put_customer_record(customer_id, f'{{"number": {number}}}')
        tx.put_due(customer_id, 100 - number)
        tx.put_checkout(f"checkout-{number}", customer_id, f"checkout of {number}".encode())
        tx.append_event("customer.created", customer_id, 5 + number, "api", f"created {number}".encode())
        tx.append_event("subscription.created", customer_id, 50, "system")
        tx.put_idempotency("provisionCustomer", f"key-{number}", customer_id, b"fingerprint", b"reply of a person")
        tx.put_idempotency("reportUsage", f"key-{number}", customer_id, b"fingerprint", b"reply of a meter")
    tx.append_event("catalog.published", "", 60, "api")


def damage(data_dir: Path, statement: str) -> None:
    """Change rows behind the store's back."""
    connection = apsw.Connection(str(data_dir / "authority.db"))
    connection.execute(statement)
    assert connection.changes() > 0
    connection.close()


# ---------------------------------------------------------------------- boundaries


def test_what_is_due_comes_in_the_order_of_time(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        write(store, fill)
        assert 97 == store.read(lambda tx: tx.next_due())
        assert [(97, "customer-3"), (98, "customer-2")] == store.read(lambda tx: tx.due_before(98, 10))
        assert [(97, "customer-3")] == store.read(lambda tx: tx.due_before(98, 1))
        assert [] == store.read(lambda tx: tx.due_before(96, 10))


def test_a_boundary_is_replaced_and_taken_away(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        write(store, lambda tx: tx.put_due("customer-1", 100))
        write(store, lambda tx: tx.put_due("customer-1", 50))
        assert 50 == store.read(lambda tx: tx.due_of("customer-1"))
        assert [(50, "customer-1")] == store.read(lambda tx: tx.due_before(1000, 10))
        write(store, lambda tx: tx.put_due("customer-1", None))
        assert store.read(lambda tx: tx.due_of("customer-1")) is None
        assert store.read(lambda tx: tx.next_due()) is None


def test_the_same_boundary_again_writes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        write(store, lambda tx: tx.put_due("customer-1", 100))
        before = store.status()["seq"]
        write(store, lambda tx: tx.put_due("customer-1", 100))
        write(store, lambda tx: tx.put_due("customer-2", None))
        assert before == store.status()["seq"]


def test_a_damaged_boundary_is_due_and_is_stored_anew(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        write(store, fill)
        damage(tmp_path, "UPDATE due SET digest = x'00' WHERE customer_id = 'customer-3'")
        assert (97, "customer-3") in store.read(lambda tx: tx.due_before(97, 10))
        write(store, lambda tx: tx.put_due("customer-3", 97))
        expected = row_digest("production", "", (15, "customer-3", 97, store.status()["seq"]))
        connection = apsw.Connection(str(tmp_path / "authority.db"))
        found = connection.execute("SELECT digest FROM due WHERE customer_id = 'customer-3'").fetchall()
        connection.close()
        assert [(expected,)] == found


# ---------------------------------------------------------------------- events


def test_events_come_in_pages_in_the_order_of_their_transactions(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for number in range(5):
            write(store, lambda tx, number=number: tx.append_event("tick", "", number, "system"), key=str(number))  # type: ignore[misc]
        found: list[Event] = []
        position = (0, 0)
        while page := store.read(lambda tx, after=position: tx.events(after, 2)):  # type: ignore[misc]
            found += page
            position = page[-1][:2]
        assert [0, 1, 2, 3, 4] == [event.at_ms for event in found]
        assert position == store.read(lambda tx: tx.event_position())
        assert [3, 4] == [event.at_ms for event in store.read(lambda tx: tx.newest_events(2))]


def test_events_are_told_apart_by_customer_and_type(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        write(store, fill)
        first = Event(1, 1, "customer-0", "customer.created", 5, "api", b"created 0")
        assert [first] == store.read(lambda tx: tx.events(limit=1))
        found = store.read(lambda tx: tx.events(customer_id="customer-2"))
        assert ["customer.created", "subscription.created"] == [event.type for event in found]
        assert found == store.read(lambda tx: tx.newest_events(customer_id="customer-2"))
        assert found[1:] == store.read(lambda tx: tx.events(found[0][:2], customer_id="customer-2"))
        assert found[:1] == store.read(lambda tx: tx.events(customer_id="customer-2", types=["customer.created"]))
        assert 5 == len(store.read(lambda tx: tx.events(types=("customer.created", "catalog.published"))))
        assert [] == store.read(lambda tx: tx.events(types=[]))
        assert [""] == [event.customer_id for event in store.read(lambda tx: tx.events(customer_id=""))]


def test_an_empty_log_has_no_position(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert (0, 0) == store.read(lambda tx: tx.event_position())
        store.read(lambda tx: tx.verify_events())


def test_a_command_that_fails_leaves_no_event(tmp_path: Path) -> None:
    def fail(tx: Tx) -> None:
        tx.append_event("never", "customer-1", 1, "api")
        tx.put_due("customer-1", 1)
        raise ValueError("refused")

    with opened(tmp_path) as store:
        write(store, fill)
        with pytest.raises(ValueError, match="refused"):
            write(store, fail)
        assert [] == store.read(lambda tx: tx.events(types=["never"]))
        assert 99 == store.read(lambda tx: tx.due_of("customer-1"))
        write(store, lambda tx: tx.append_event("later", "", 1, "api"), key="later")
        store.read(lambda tx: tx.verify_events())


def test_a_command_that_fails_in_company_takes_its_events_alone(tmp_path: Path) -> None:
    from stigg_local.store.commit import Member

    def fail(tx: Tx) -> None:
        tx.append_event("never", "", 1, "api")
        raise ValueError("refused")

    with opened(tmp_path) as store:
        good = [Member(lambda tx, n=n: tx.append_event("good", "", n, "api"), "test", str(n)) for n in range(2)]  # type: ignore[misc]
        bad = Member(fail, "test", "bad")
        store._writer.run([good[0], bad, good[1]])
        assert isinstance(bad.error, ValueError)
        assert ["good", "good"] == [event.type for event in store.read(lambda tx: tx.events())]
        store.read(lambda tx: tx.verify_events())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET body = x'00' WHERE seq = 1 AND ord = 4",
        "UPDATE audit SET at_ms = at_ms + 1 WHERE seq = 1 AND ord = 4",
        "UPDATE audit SET actor = 'admin' WHERE seq = 1 AND ord = 4",
        "UPDATE audit SET type = 'other' WHERE seq = 1 AND ord = 4",
        "UPDATE audit SET customer_id = 'customer-9' WHERE seq = 1 AND ord = 4",
        "UPDATE audit SET ord = 99 WHERE seq = 1 AND ord = 4",
        "UPDATE audit SET digest = x'0000000000000000' WHERE seq = 1 AND ord = 4",
    ],
)
def test_a_changed_event_is_never_shown(tmp_path: Path, statement: str) -> None:
    with opened(tmp_path) as store:
        write(store, fill)
        damage(tmp_path, statement)
        with pytest.raises(StoreCorrupt, match="event"):
            store.read(lambda tx: tx.events())
        assert 3 == len(store.read(lambda tx: tx.events(limit=3)))
        if "SET digest" not in statement:
            with pytest.raises(StoreCorrupt, match="event log"):
                store.read(lambda tx: tx.verify_events())


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit WHERE (seq, ord) = (SELECT max(seq), max(ord) FROM audit)",
        "DELETE FROM audit WHERE seq = 1 AND ord = 1",
        "DELETE FROM audit",
        "INSERT INTO audit SELECT environment, seq + 1, ord, customer_id, type, at_ms, actor, body, digest FROM audit",
        "UPDATE audit_root SET count = count - 1",
        "UPDATE audit_root SET root = x'0000000000000000'",
        "DELETE FROM audit_root",
    ],
)
def test_a_missing_or_foreign_event_is_noticed_by_the_sum(tmp_path: Path, statement: str) -> None:
    with opened(tmp_path) as store:
        write(store, fill)
        store.read(lambda tx: tx.verify_events())
        damage(tmp_path, statement)
        with pytest.raises(StoreCorrupt, match="event log"):
            store.read(lambda tx: tx.verify_events())


def test_a_damaged_sum_stops_no_command(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        write(store, fill)
        damage(tmp_path, "UPDATE audit_root SET count = 1000")
        write(store, lambda tx: tx.append_event("later", "", 1, "api"), key="later")
        store.read(lambda tx: tx.verify_events())


def test_each_environment_has_a_log_of_its_own(tmp_path: Path) -> None:
    with opened(tmp_path) as store, opened(tmp_path, environment="staging") as other:
        write(store, fill)
        write(other, lambda tx: tx.append_event("only", "customer-0", 1, "api"))
        write(other, lambda tx: tx.put_due("customer-0", 1))
        assert ["only"] == [event.type for event in other.read(lambda tx: tx.events())]
        assert 9 == len(store.read(lambda tx: tx.events()))
        assert 100 == store.read(lambda tx: tx.due_of("customer-0"))
        for one in (store, other):
            one.read(lambda tx: tx.verify_events())


# ---------------------------------------------------------------------- checkouts


def test_a_checkout_is_kept_until_its_outcome_is_known(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as store:
        write(store, lambda tx: tx.put_checkout("b", "customer-1", b"first"))
        began_ms = store.now_ms()
        clock.advance(60)
        write(store, lambda tx: tx.put_checkout("b", "customer-1", b"second"), key="2")
        write(store, lambda tx: tx.put_checkout("a", "customer-1", b"another"), key="3")
        second = Checkout("b", "customer-1", began_ms, b"second")
        assert second == store.read(lambda tx: tx.checkout("b"))
        assert ["a", "b"] == [found.id for found in store.read(lambda tx: tx.checkouts_of("customer-1"))]
        assert [] == store.read(lambda tx: tx.checkouts_of("customer-2"))
        assert write(store, lambda tx: tx.delete_checkout("b"), key="4")
        assert not write(store, lambda tx: tx.delete_checkout("b"), key="5")
        assert store.read(lambda tx: tx.checkout("b")) is None


@pytest.mark.parametrize(
    "change", ["body = x'00'", "customer_id = 'customer-9'", "at_ms = at_ms + 1", "seq = seq + 1"]
)
def test_a_changed_checkout_is_never_shown(tmp_path: Path, change: str) -> None:
    with opened(tmp_path) as store:
        write(store, fill)
        damage(tmp_path, f"UPDATE checkout SET {change} WHERE checkout_id = 'checkout-1'")
        with pytest.raises(StoreCorrupt, match="checkout"):
            store.read(lambda tx: tx.checkout("checkout-1"))
        assert 1 == len(store.read(lambda tx: tx.checkouts_of("customer-2")))


def flips(tmp_path: Path, count: int, seed: int) -> int:
    """Flip bits of a closed file one at a time; what is read is right or an error. Returns how many were errors."""
    source = random.Random(seed)
    original = tmp_path / "original"
    with opened(original) as store:
        write(store, fill)
        store.scrub()
        expected = store.read(lambda tx: (tx.events(), [tx.checkout(f"checkout-{n}") for n in range(4)]))
    content = (original / "authority.db").read_bytes()
    # The pages that hold any of it: most of the file is other tables.
    places = [at for text in (b"created ", b"checkout of ", b"subscription.created") for at in _found(content, text)]
    errors = 0
    for number in range(count):
        directory = tmp_path / f"flipped-{number % 2}"
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(original, directory)
        flipped = bytearray(content)
        flipped[source.choice(places) + source.randrange(-40, 40)] ^= 1 << source.randrange(8)
        (directory / "authority.db").write_bytes(flipped)
        try:
            with opened(directory) as store:
                if store.status()["lost"]:
                    # The opening noticed it, set the file aside and says so.
                    errors += 1
                    continue
                found = store.read(lambda tx: (tx.events(), [tx.checkout(f"checkout-{n}") for n in range(4)]))
                # A row that is no longer found under its key is a missing one, which the sum tells.
                if found[0] != expected[0]:
                    with pytest.raises(StoreCorrupt):
                        store.read(lambda tx: tx.verify_events())
                    assert set(found[0]) < set(expected[0])
                    errors += 1
                assert set(found[1]) <= {*expected[1], None}
        except (StoreCorrupt, StoreError):
            errors += 1
    return errors


def _found(content: bytes, text: bytes) -> list[int]:
    return [at for at in range(len(content)) if content.startswith(text, at)]


def test_a_flipped_bit_in_an_event_or_checkout_is_never_believed(tmp_path: Path) -> None:
    assert flips(tmp_path, 60, 1) > 30


@pytest.mark.stress
@pytest.mark.timeout(300)
def test_two_thousand_flipped_bits_in_events_and_checkouts_are_never_believed(tmp_path: Path) -> None:
    assert flips(tmp_path, 2000, 2) > 1000


# ---------------------------------------------------------------------- scrubbing


def scrub(tx: Tx) -> tuple[int, int]:
    return tx.scrub_customer("customer-1", reply=lambda _, old: old[:5], event=lambda _, body: body[:0])


def test_a_scrub_changes_one_customers_replies_and_events(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        write(store, fill)
        assert (1, 1) == write(store, scrub)
        assert (b"fingerprint", b"reply") == store.read(lambda tx: tx.idempotency("provisionCustomer", "key-1"))
        assert (b"fingerprint", b"reply of a meter") == store.read(lambda tx: tx.idempotency("reportUsage", "key-1"))
        assert (b"fingerprint", b"reply of a person") == store.read(
            lambda tx: tx.idempotency("provisionCustomer", "key-2")
        )
        assert [b"", b""] == [event.body for event in store.read(lambda tx: tx.events(customer_id="customer-1"))]
        assert b"created 2" == store.read(lambda tx: tx.events(customer_id="customer-2"))[0].body
        store.read(lambda tx: tx.verify_events())
        assert (0, 0) == write(store, scrub)


def test_a_scrub_leaves_nothing_of_damaged_rows(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        write(store, fill)
        damage(tmp_path, "UPDATE idempotency SET at_ms = 1 WHERE customer_id = 'customer-1'")
        damage(tmp_path, "UPDATE audit SET at_ms = 1 WHERE customer_id = 'customer-1'")
        assert (1, 1) == write(store, scrub)
        with pytest.raises(StoreCorrupt, match="reply"):
            store.read(lambda tx: tx.idempotency("provisionCustomer", "key-1"))
        connection = apsw.Connection(str(tmp_path / "authority.db"))
        left = connection.execute(
            "SELECT reply FROM idempotency WHERE customer_id = 'customer-1' AND operation = 'provisionCustomer'"
            " UNION ALL SELECT body FROM audit WHERE customer_id = 'customer-1'"
        ).fetchall()
        connection.close()
        assert [(b"",)] * 3 == left


def test_a_scrub_that_fails_changes_nothing(tmp_path: Path) -> None:
    def fail(operation: str, reply: bytes) -> bytes:
        raise ValueError(operation)

    with opened(tmp_path) as store:
        write(store, fill)
        with pytest.raises(ValueError, match="provisionCustomer"):
            write(store, lambda tx: tx.scrub_customer("customer-1", reply=fail, event=lambda _, body: body))
        assert store.read(lambda tx: tx.meta("scrub")) is None


def test_the_sum_of_the_log_is_the_one_that_a_checker_computes(tmp_path: Path) -> None:
    """As the file format has it: eight bytes of the sum of the rows' digests, in the order (tag, seq, ord, ...)."""
    with opened(tmp_path) as store:
        write(store, fill)
    connection = apsw.Connection(str(tmp_path / "authority.db"))
    rows = connection.execute("SELECT seq, ord, customer_id, type, at_ms, actor, body, digest FROM audit").fetchall()
    digests = [row_digest("production", "", (16, *row[:-1])) for row in rows]
    assert digests == [row[-1] for row in rows]
    total = sum_bytes(sum(int.from_bytes(digest, "little") for digest in digests))
    sealed = row_digest("production", "", (17, len(rows), total, 1))
    roots = connection.execute("SELECT environment, count, root, seq, digest FROM audit_root").fetchall()
    connection.close()
    assert [("production", len(rows), total, 1, sealed)] == roots


# ---------------------------------------------------------------------- what is read is verified, and shown


def test_a_changed_owner_or_catalog_file_is_never_believed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        write(store, lambda tx: tx.put_subscription_owner("subscription-1", "customer-1"))
        write(store, lambda tx: tx.put_catalog_file("hash", "catalog.toml"), key="file")
        assert "customer-1" == store.read(lambda tx: tx.subscription_owner("subscription-1"))
        assert store.read(lambda tx: tx.catalog_file_applied("hash"))
        damage(tmp_path, "UPDATE subscription_owner SET customer_id = 'customer-2'")
        damage(tmp_path, "UPDATE catalog_file SET hash = 'other'")
        for read in (lambda tx: tx.subscription_owner("subscription-1"), lambda tx: tx.catalog_files()):
            with pytest.raises(StoreCorrupt):
                store.read(read)


@pytest.mark.parametrize(
    ("now_ms", "expected"), [(49, (0, 0, 0)), (50, (1, 1, 0)), (99, (1, 1, 0)), (100, (0, 0, 1)), (101, (0, 0, 1))]
)
def test_views_show_what_counts_from_its_start_to_before_its_end(
    tmp_path: Path, now_ms: int, expected: tuple[int, ...]
) -> None:
    """A window and a reservation of [50, 100), and a boundary at 100."""
    hold = Hold("hold-1", "", "feature-calls", "", 1, 0, "", (), 50, 100)

    def fill_in(tx: Tx) -> None:
        tx.put_customer("customer-1", b"snapshot")
        tx.put_counter("customer-1", "", "feature-calls", 50, 100, 7)
        tx.put_hold("customer-1", hold.id, hold.expire_ms, msgspec.msgpack.encode(hold))
        tx.put_due("customer-1", 100)

    with opened(tmp_path) as store:
        write(store, fill_in)
    connection = apsw.Connection(str(tmp_path / "authority.db"))
    add_views(connection, "production", now_ms)
    statement = "SELECT u.is_current, h.is_current, d.is_due FROM usage AS u, holds AS h, due_boundaries AS d"
    assert [expected] == connection.execute(statement).fetchall()
    connection.close()
