"""Every statement of a transaction, under the name of what it means.

Laws: rows in, rows out, no rule of the domain; a row is verified when it is read and before it is replaced;
all rows of a transaction carry its `seq` and its `now_ms`. Times are epoch milliseconds, intervals half open.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from stigg_local.errors import StoreCorrupt
from stigg_local.store import statements as sql
from stigg_local.store.digest import (
    CATALOG_FILE,
    CATALOG_ITEM,
    COUNTER,
    GRANT,
    IDEMPOTENCY,
    LEDGER,
    OWNER,
    RECORD,
    SLOT_COUNT,
    row_digest,
    row_sum,
    slot_of,
    sum_bytes,
)
from stigg_local.store.erasing_rows import ErasingRows
from stigg_local.store.hold_rows import HoldRow
from stigg_local.store.seals import (
    COUNTER_ROWS,
    GRANT_ROWS,
    HOLD_ROWS,
    NUMBER_ROWS,
    CustomerSeal,
    Seals,
    catalog_items,
    catalog_root,
    customer_corrupt,
)

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

Counter = tuple[str, str, int, int, int]
"""(resource_id, feature_id, from_ms, to_ms, value); the resource is '' for none."""


class LedgerRow(NamedTuple):
    """One line of a customer's ledger."""

    seq: int
    ord: int
    body: bytes


class Known:
    """What the transactions of one connection know of rows, from one to the next while nobody else commits.

    Whoever rolls back forgets it.
    """

    __slots__ = ("catalog_seq", "counters", "customers")

    def __init__(self) -> None:
        self.customers: dict[str, CustomerSeal] = {}
        # Counters that were read or written, with their digests.
        self.counters: dict[tuple[str, tuple[str, str, int, int]], tuple[int, int]] = {}
        self.catalog_seq: int | None = None


class Tx(ErasingRows):
    """One transaction of one environment."""

    def __init__(
        self,
        cursor: apsw.Cursor,
        environment: str,
        *,
        seq: int,
        now_ms: int,
        mark_ms: int | None = None,
        known: Known | None = None,
    ) -> None:
        super().__init__(cursor, environment, seq=seq, now_ms=now_ms, mark_ms=mark_ms)
        self._known = known = known or Known()
        self.touched_slots: set[int] = set()
        # How often a sum was opened for a change, which `seal` writes.
        self.touches = 0
        self.catalog_touched = False
        self._seals = Seals(self.run, environment, seq, known.customers)
        self._counters = known.counters

    # ------------------------------------------------------------------ customers

    def customer_snapshot(self, customer_id: str) -> bytes | None:
        """The customer's snapshot; None for one that was never there."""
        return self._seals.customer(customer_id).snapshot

    def put_customer(self, customer_id: str, snapshot: bytes) -> None:
        """Replace the customer's snapshot, or make the customer."""
        self._touch(customer_id).snapshot = snapshot

    def _touch(self, customer_id: str) -> CustomerSeal:
        self.touches += 1
        seal = self._known.customers.get(customer_id)
        if seal is None or not seal.is_dirty:
            seal = self._seals.touch(customer_id)
            self.has_written = True
            self.touched_slots.add(slot_of(customer_id))
        return seal

    def customer_record(self, customer_id: str) -> str | None:
        """The customer's record; None when there is none."""
        rows = self.run(sql.RECORD, (self.environment, customer_id))
        if not rows:
            if self._seals.customer(customer_id).exists:
                self._seals.verify_log(customer_id)
            return None
        seq, body, digest = rows[0]
        if digest != row_digest(self.environment, customer_id, (RECORD, seq, body)):
            raise customer_corrupt(customer_id, "the record")
        return str(body)

    def put_customer_record(self, customer_id: str, body: str) -> None:
        """Replace the customer's record."""
        seal = self._touch(customer_id)
        rows = self.run(sql.RECORD, (self.environment, customer_id))
        if rows:
            seq, old_body, digest = rows[0]
            old = row_sum(self.environment, customer_id, (RECORD, seq, old_body))
            if digest != sum_bytes(old):
                raise customer_corrupt(customer_id, "the record")
            seal.log -= old
        new = row_sum(self.environment, customer_id, (RECORD, self.seq, body))
        seal.log += new
        self._put(sql.PUT_RECORD, (self.environment, customer_id, self.seq, body, sum_bytes(new)))

    def customer_ids(self, after: str = "", limit: int = 1000) -> list[str]:
        """A page of ids in the file's own order: by slot, then id; `after` is the page before's last."""
        self._seals.seal_all()
        start = (slot_of(after), after) if after else (-1, "")
        return [row[0] for row in self.run(sql.CUSTOMER_IDS, (self.environment, *start, limit))]

    # ------------------------------------------------------------------ moving numbers

    def counters(self, customer_id: str) -> list[Counter]:
        """All usage counters of the customer, in key order."""
        self._seals.verify_numbers(customer_id)
        return [row[1:6] for row in self.run(COUNTER_ROWS, (self.environment, customer_id))]

    def counter(self, customer_id: str, resource_id: str, feature_id: str, from_ms: int, to_ms: int) -> int | None:
        """One counter's value; None where nothing was counted yet."""
        key = (resource_id, feature_id, from_ms, to_ms)
        found = self._counters.get((customer_id, key)) or self._counter(customer_id, key)
        return None if found is None else found[0]

    def _counter(self, customer_id: str, key: tuple[str, str, int, int]) -> tuple[int, int] | None:
        """A counter that is not known yet, with its digest."""
        rows = self.run(sql.COUNTER, (self.environment, customer_id, *key))
        if not rows:
            self._seals.verify_numbers(customer_id)
            return None
        value, seq, digest = rows[0]
        total = row_sum(self.environment, customer_id, (COUNTER, *key, value, seq))
        if digest != sum_bytes(total):
            raise customer_corrupt(customer_id, "a usage counter")
        self._counters[customer_id, key] = value, total
        return value, total

    def put_counter(
        self, customer_id: str, resource_id: str, feature_id: str, from_ms: int, to_ms: int, value: int
    ) -> None:
        """Set one counter."""
        key = (resource_id, feature_id, from_ms, to_ms)
        old = self._counters.get((customer_id, key)) or self._counter(customer_id, key)
        seal = self._touch(customer_id)
        row = (resource_id, feature_id, from_ms, to_ms, value, self.seq)
        digest = row_digest(self.environment, customer_id, (COUNTER, *row))
        new = int.from_bytes(digest, "little")
        seal.numbers += new - (old[1] if old else 0)
        self._counters[customer_id, key] = value, new
        self._cursor.execute(sql.PUT_COUNTER, (self.environment, customer_id, *row, digest))

    def delete_counters_before(self, customer_id: str, resource_id: str, feature_id: str, to_ms: int) -> int:
        """Delete the counters of windows that ended at or before `to_ms`; returns how many."""
        seal = self._seals.verify_numbers(customer_id)
        old = [
            row
            for row in self.run(COUNTER_ROWS, (self.environment, customer_id))
            if row[1] == resource_id and row[2] == feature_id and row[4] <= to_ms
        ]
        for row in old:
            seal.numbers -= row_sum(self.environment, customer_id, row)
            self._counters.pop((customer_id, row[1:5]), None)
            self._put(sql.DELETE_COUNTER, (self.environment, customer_id, *row[1:5]))
        if old:
            self._touch(customer_id)
        return len(old)

    def grants(self, customer_id: str) -> list[tuple[str, bytes]]:
        """All credit grants of the customer as (grant_id, body), in key order."""
        self._seals.verify_numbers(customer_id)
        return [row[1:3] for row in self.run(GRANT_ROWS, (self.environment, customer_id))]

    def put_grant(self, customer_id: str, grant_id: str, body: bytes) -> None:
        """Add or replace one credit grant."""
        rows = self.run(sql.GRANT, (self.environment, customer_id, grant_id))
        old = 0
        if rows:
            old_body, seq, digest = rows[0]
            old = row_sum(self.environment, customer_id, (GRANT, grant_id, old_body, seq))
            if digest != sum_bytes(old):
                raise customer_corrupt(customer_id, "a credit grant")
        else:
            self._seals.verify_numbers(customer_id)
        seal = self._touch(customer_id)
        new = row_sum(self.environment, customer_id, (GRANT, grant_id, body, self.seq))
        seal.numbers += new - old
        self._put(sql.PUT_GRANT, (self.environment, customer_id, grant_id, self.seq, body, sum_bytes(new)))

    def intact_numbers(self, customer_id: str) -> tuple[list[Counter], list[tuple[str, bytes]]]:
        """The counters and grants whose own rows are as they were written, whatever is damaged beside them."""
        whole = (self.environment, customer_id)
        counters = [
            (*key, value)
            for *key, value, seq, digest in self.run(sql.COUNTERS, whole)
            if digest == row_digest(*whole, (COUNTER, *key, value, seq))
        ]
        grants = [
            (grant_id, body)
            for grant_id, body, seq, digest in self.run(sql.GRANTS, whole)
            if digest == row_digest(*whole, (GRANT, grant_id, body, seq))
        ]
        return counters, grants

    def rebuild_numbers(
        self,
        customer_id: str,
        counters: Iterable[Counter],
        grants: Iterable[tuple[str, bytes]],
        holds: Iterable[HoldRow] | None = None,
    ) -> None:
        """Replace all counters and grants of a customer whose rows cannot be trusted any more.

        Reservations are replaced too where they are given, else they stay as they are.
        """
        seal = self._touch(customer_id)
        self._counters.clear()
        for statement in sql.DELETE_NUMBERS:
            self._put(statement, (self.environment, customer_id))
        if holds is not None:
            self._put(sql.DELETE_HOLDS, (self.environment, customer_id))
        seal.numbers = 0 if holds is not None else self._seals.sum_of(customer_id, HOLD_ROWS)
        seal.numbers_verified = True
        for hold in holds or ():
            self.put_hold(customer_id, *hold)
        for counter in counters:
            self.put_counter(customer_id, *counter)
        for grant_id, body in grants:
            self.put_grant(customer_id, grant_id, body)

    def rebuild_customer(self, customer_id: str, snapshot: bytes) -> None:
        """Replace a customer row that cannot be trusted, taking numbers and log as they are in the file."""
        self._seals.replace_customer(
            customer_id,
            snapshot,
            self._seals.sum_of(customer_id, *NUMBER_ROWS),
            self._seals.log_sum(customer_id),
        )
        self._touch(customer_id)

    # ------------------------------------------------------------------ logs

    def append_ledger(self, customer_id: str, body: bytes) -> None:
        """Add one line to the customer's ledger."""
        row = (self.seq, self.next_ord(), body)
        seal = self._touch(customer_id)
        new = row_sum(self.environment, customer_id, (LEDGER, *row))
        seal.log += new
        self._put(sql.PUT_LEDGER, (self.environment, customer_id, *row, sum_bytes(new)))

    def ledger(self, customer_id: str) -> list[LedgerRow]:
        """The customer's ledger, oldest first."""
        found = []
        for seq, ord_, body, digest in self.run(sql.LEDGER, (self.environment, customer_id)):
            if digest != row_digest(self.environment, customer_id, (LEDGER, seq, ord_, body)):
                raise customer_corrupt(customer_id, "a ledger row")
            found.append(LedgerRow(seq, ord_, body))
        return found

    def verify_log(self, customer_id: str) -> None:
        """Check that no measurement, ledger row or record is missing or changed; raises StoreCorrupt."""
        self._seals.verify_log(customer_id)

    # ------------------------------------------------------------------ idempotency

    def idempotency(self, operation: str, key: str) -> tuple[bytes, bytes] | None:
        """The (fingerprint, reply) stored under the key; None when the key is new."""
        rows = self.run(sql.IDEMPOTENCY, (self.environment, operation, key))
        if not rows:
            return None
        customer_id, fingerprint, reply, at_ms, digest = rows[0]
        row = (IDEMPOTENCY, key, customer_id, fingerprint, reply, at_ms)
        if digest != row_digest(self.environment, operation, row):
            raise StoreCorrupt(f"the reply stored under key `{key}` does not match its digest")
        return fingerprint, reply

    def put_idempotency(self, operation: str, key: str, customer_id: str, fingerprint: bytes, reply: bytes) -> None:
        """Remember the reply of a command under its key."""
        row = (key, customer_id, fingerprint, reply, self.now_ms)
        digest = row_digest(self.environment, operation, (IDEMPOTENCY, *row))
        self._put(sql.PUT_IDEMPOTENCY, (self.environment, operation, *row, digest))

    # ------------------------------------------------------------------ catalog

    def catalog_seq(self) -> int:
        """Number of the transaction that last changed the catalog; 0 for an empty one."""
        found = self._known.catalog_seq
        if found is None:
            found = self._known.catalog_seq = catalog_root(self.run, self.environment)[1]
        return found

    def catalog_items(self) -> list[tuple[str, str, int, str]]:
        """Every item as (kind, id, version, body), in key order."""
        return catalog_items(self.run, self.environment, self._seals.verified_catalog_root())

    def put_catalog_item(self, kind: str, id: str, version: int, body: str) -> None:
        """Add or replace one item."""
        old = self._catalog_item_sum(kind, id, version)
        new = row_sum(self.environment, "", (CATALOG_ITEM, kind, id, version, body, self.seq))
        self._touch_catalog(new - (old or 0))
        self._put(sql.PUT_CATALOG_ITEM, (self.environment, kind, id, version, self.seq, body, sum_bytes(new)))

    def delete_catalog_item(self, kind: str, id: str, version: int) -> bool:
        """Delete one item; False when there was none."""
        old = self._catalog_item_sum(kind, id, version)
        if old is None:
            return False
        self._touch_catalog(-old)
        self._put(sql.DELETE_CATALOG_ITEM, (self.environment, kind, id, version))
        return True

    def _catalog_item_sum(self, kind: str, id: str, version: int) -> int | None:
        rows = self.run(sql.CATALOG_ITEM, (self.environment, kind, id, version))
        if not rows:
            return None
        body, seq, digest = rows[0]
        total = row_sum(self.environment, "", (CATALOG_ITEM, kind, id, version, body, seq))
        if digest != sum_bytes(total):
            raise StoreCorrupt(f"catalog item `{id}` does not match its digest", hint="restore the file")
        return total

    def _touch_catalog(self, change: int) -> None:
        self.has_written = self.catalog_touched = True
        self._known.catalog_seq = None
        self._seals.add_to_catalog(change)

    def catalog_file_applied(self, hash: str) -> bool:
        """Whether a catalog file with this hash was ever applied."""
        return any(row[0] == hash for row in self.catalog_files())

    def put_catalog_file(self, hash: str, name: str) -> None:
        """Remember that a catalog file was applied."""
        row = (hash, self.now_ms, name, self.seq)
        digest = row_digest(self.environment, "", (CATALOG_FILE, *row))
        self._put(sql.PUT_CATALOG_FILE, (self.environment, hash, self.now_ms, self.seq, name, digest))

    def catalog_files(self) -> list[tuple[str, int, str]]:
        """The applied catalog files as (hash, applied_ms, name), oldest first."""
        found = []
        for *row, digest in self.run(sql.CATALOG_FILES, (self.environment,)):
            if digest != row_digest(self.environment, "", (CATALOG_FILE, *row)):
                raise StoreCorrupt("the list of applied catalog files does not match its digest")
            found.append((row[0], row[1], row[2]))
        return found

    # ------------------------------------------------------------------ the rest

    def subscription_owner(self, subscription_id: str) -> str | None:
        """The customer who has the subscription; None when it is unknown."""
        rows = self.run(sql.OWNER, (self.environment, subscription_id))
        if not rows:
            return None
        customer_id, digest = rows[0]
        if digest != row_digest(self.environment, subscription_id, (OWNER, customer_id)):
            raise StoreCorrupt(f"the owner of subscription `{subscription_id}` does not match its digest")
        return str(customer_id)

    def put_subscription_owner(self, subscription_id: str, customer_id: str) -> None:
        """Remember who has the subscription."""
        digest = row_digest(self.environment, subscription_id, (OWNER, customer_id))
        self._put(sql.PUT_OWNER, (self.environment, subscription_id, customer_id, digest))

    def clear_lost(self) -> None:
        """What a quarantine lost was restored or given up: absent customers are absent again."""
        self._put(sql.DELETE_META, ("lost_ms",))

    def seal(self) -> None:
        """Write the rows that sum up what a command changed."""
        self._seals.seal_all()
        super().seal()

    def forget(self) -> None:
        """After a rollback to a savepoint: nothing remembered about rows is true any more."""
        self._seals.forget()
        self._counters.clear()
        self._known.catalog_seq = None
        super().forget()

    def all_slots_touched(self) -> Iterable[int]:
        """The slots of the generation file that this transaction makes out of date."""
        return range(SLOT_COUNT) if self.catalog_touched else self.touched_slots
