"""Digests of customers and of the catalog while a transaction changes them.

Laws: an old row is verified before it is replaced; sums are kept up incrementally in the same transaction;
a customer row is sealed once per transaction; "not there" is an answer only after the sums agree.
"""

from stigg_local.errors import StoreCorrupt, StoreError
from stigg_local.store.digest import (
    CATALOG_ITEM,
    CATALOG_ROOT,
    COUNTER,
    CUSTOMER,
    GRANT,
    HOLD,
    LEDGER,
    MASK,
    MEASUREMENT,
    MEASUREMENT_PACK,
    RECORD,
    SLOT,
    USAGE_EVENT,
    row_digest,
    row_sum,
    slot_of,
    sum_bytes,
)
from stigg_local.store.rebuild import member_sum, put_slot, rebuild_slot
from stigg_local.store.sequence import Run

CUSTOMER_ROW = (
    "SELECT seq, snapshot, numbers, log, digest FROM customer WHERE environment = ? AND slot = ? AND customer_id = ?"
)
_PUT_CUSTOMER = (
    "INSERT INTO customer (environment, slot, customer_id, seq, snapshot, numbers, log, digest)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq,"
    " snapshot = excluded.snapshot, numbers = excluded.numbers, log = excluded.log, digest = excluded.digest"
)
_SLOT_ROW = "SELECT count, root, digest FROM customer_slot WHERE environment = ? AND slot = ?"
_SLOT_MEMBERS = "SELECT customer_id FROM customer WHERE environment = ? AND slot = ?"
COUNTER_ROWS = (
    f"SELECT {COUNTER}, resource_id, feature_id, from_ms, to_ms, value, seq FROM usage_counter"
    " WHERE environment = ? AND customer_id = ?"
)
GRANT_ROWS = f"SELECT {GRANT}, grant_id, body, seq FROM credit_grant WHERE environment = ? AND customer_id = ?"
HOLD_ROWS = f"SELECT {HOLD}, hold_id, expire_ms, body, seq FROM hold WHERE environment = ? AND customer_id = ?"
_MEASUREMENT_ROWS = (
    f"SELECT {MEASUREMENT}, resource_id, feature_id, seq, ord, measurement_id, behavior, value, created_ms,"
    " at_ms, body FROM measurement WHERE environment = ? AND customer_id = ?"
)
_PACK_ROWS = (
    f"SELECT {MEASUREMENT_PACK}, resource_id, feature_id, seq, ord, first_ms, last_ms, count, at_ms, body"
    " FROM measurement_pack WHERE environment = ? AND customer_id = ?"
)
_LEDGER_ROWS = f"SELECT {LEDGER}, seq, ord, body FROM ledger WHERE environment = ? AND customer_id = ?"
# In place of an event's time: what a compaction made of older ones.
FOLDED_MS = -1
_EVENT_PAGE = 2000
_EVENT_ROWS = (
    f"SELECT {USAGE_EVENT}, resource_id, created_ms, seq, ord, event_name, idempotency_key, at_ms, body"
    " FROM usage_event WHERE environment = ? AND customer_id = ?"
    f" AND (resource_id, created_ms, seq, ord) > (?, ?, ?, ?) ORDER BY resource_id, created_ms, seq, ord"
    f" LIMIT {_EVENT_PAGE}"
)
_RECORD_ROWS = f"SELECT {RECORD}, seq, body FROM customer_record WHERE environment = ? AND customer_id = ?"
NUMBER_ROWS = (COUNTER_ROWS, GRANT_ROWS, HOLD_ROWS)
NUMBERS = "a usage counter, credit grant or reservation"
_CATALOG_ROOT = "SELECT root, seq, digest FROM catalog_root WHERE environment = ?"
_PUT_CATALOG_ROOT = (
    "INSERT INTO catalog_root (environment, root, seq, digest) VALUES (?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET root = excluded.root, seq = excluded.seq, digest = excluded.digest"
)
_CATALOG_ITEMS = "SELECT kind, id, version, body, seq FROM catalog_item WHERE environment = ?"


def customer_corrupt(customer_id: str, what: str) -> StoreCorrupt:
    """The error for one customer's damaged rows; the others go on."""
    return StoreCorrupt(f"{what} of customer `{customer_id}` does not match its digest", hint="rebuild it")


def undecodable() -> StoreCorrupt:
    """The error for a text whose bytes are not text any more."""
    return StoreCorrupt("a stored text is not UTF-8 any more", hint="rebuild the rows or restore the file")


def verify_absent(run: Run, environment: str, slot: int, customer_id: str) -> None:
    """Prove that a customer who was not found was never there.

    Raises:
        StoreCorrupt: The slot's customers are not those that its sum was made of.
    """
    count, root = slot_sums(run, environment, slot)
    found = [row[0] for row in run(_SLOT_MEMBERS, (environment, slot))]
    total = sum(member_sum(environment, slot, member) for member in found) & MASK
    if len(found) != count or total != root:
        raise customer_corrupt(customer_id, "the index")


def slot_sums(run: Run, environment: str, slot: int) -> tuple[int, int]:
    """How many customers a slot has and the sum of their ids' digests."""
    rows = run(_SLOT_ROW, (environment, slot))
    if not rows:
        return 0, 0
    count, root, digest = rows[0]
    if digest != row_digest(environment, "", (SLOT, slot, count, root)):
        raise StoreCorrupt(f"slot {slot} of the customer index does not match its digest")
    return count, int.from_bytes(root, "little")


def catalog_root(run: Run, environment: str) -> tuple[int, int]:
    """Sum over the catalog's items and number of the transaction that last changed one; (0, 0) when empty."""
    rows = run(_CATALOG_ROOT, (environment,))
    if not rows:
        return 0, 0
    root, seq, digest = rows[0]
    if digest != row_digest(environment, "", (CATALOG_ROOT, root, seq)):
        raise StoreCorrupt("the catalog's root does not match its digest", hint="apply the catalog again")
    return root & MASK, seq


def catalog_items(run: Run, environment: str, root: int) -> list[tuple[str, str, int, str]]:
    """Every item as (kind, id, version, body), in key order, checked against the root."""
    rows = run(_CATALOG_ITEMS, (environment,))
    total = sum(row_sum(environment, "", (CATALOG_ITEM, *row)) for row in rows) & MASK
    if total != root:
        raise StoreCorrupt("the catalog does not match its digest", hint="apply the catalog again")
    return [row[:4] for row in rows]


class CustomerSeal:
    """One customer's sums while a transaction changes the rows under them."""

    __slots__ = ("exists", "is_dirty", "log", "numbers", "numbers_verified", "seq", "snapshot")

    def __init__(self, exists: bool, seq: int, snapshot: bytes | None, numbers: int, log: int) -> None:
        self.exists = exists
        self.seq = seq
        self.snapshot = snapshot
        self.numbers = numbers
        self.log = log
        self.is_dirty = False
        self.numbers_verified = not exists


class Seals:
    """The seals that one transaction has opened; forgotten when a command is rolled back.

    Those that `customers` has from the transaction before are as its commit left them.
    """

    def __init__(self, run: Run, environment: str, seq: int, customers: dict[str, CustomerSeal] | None = None) -> None:
        self._run = run
        self._environment = environment
        self._seq = seq
        self._customers: dict[str, CustomerSeal] = {} if customers is None else customers
        self._dirty: list[str] = []
        self._catalog: int | None = None

    def customer(self, customer_id: str) -> CustomerSeal:
        """The customer's seal, verified when first asked for."""
        seal = self._customers.get(customer_id)
        if seal is None:
            seal = self._load(customer_id)
            self._customers[customer_id] = seal
        return seal

    def verify_numbers(self, customer_id: str) -> CustomerSeal:
        """The customer's seal after checking that no counter, grant or reservation is missing or changed."""
        seal = self.customer(customer_id)
        if not seal.numbers_verified:
            if self.sum_of(customer_id, *NUMBER_ROWS) != seal.numbers & MASK:
                raise customer_corrupt(customer_id, NUMBERS)
            seal.numbers_verified = True
        return seal

    def verify_log(self, customer_id: str) -> None:
        """Check that no measurement, raw event, ledger row or record is missing or changed."""
        seal = self.customer(customer_id)
        if self.log_sum(customer_id) != seal.log & MASK:
            raise customer_corrupt(customer_id, "the log")

    def log_sum(self, customer_id: str) -> int:
        """The sum over the customer's measurements, raw events, ledger and record as they are in the file."""
        rows = _MEASUREMENT_ROWS, _PACK_ROWS, _LEDGER_ROWS, _RECORD_ROWS
        return (self.sum_of(customer_id, *rows) + self._event_sum(customer_id)) & MASK

    def _event_sum(self, customer_id: str) -> int:
        """The sum over the customer's raw events, in pages: there may be very many."""
        environment, total = self._environment, 0
        after: tuple[str, int, int, int] = ("", FOLDED_MS - 1, 0, 0)
        while rows := self._run(_EVENT_ROWS, (environment, customer_id, *after)):
            total += sum(row_sum(environment, customer_id, row) for row in rows)
            after = rows[-1][1:5]
        return total

    def sum_of(self, customer_id: str, *statements: str) -> int:
        """The sum of the digests of the rows as they are in the file."""
        environment = self._environment
        total = 0
        for statement in statements:
            for row in self._run(statement, (environment, customer_id)):
                total += row_sum(environment, customer_id, row)
        return total & MASK

    def replace_customer(self, customer_id: str, snapshot: bytes, numbers: int, log: int) -> None:
        """Put a seal in place of one that could not be read; its row is written where it is touched after that."""
        self.seal_all()
        rebuild_slot(self._run, self._environment, customer_id)
        # Rows that belong to nobody are gone: what is unchanged is read again.
        for known in [known for known, seal in self._customers.items() if not seal.is_dirty]:
            del self._customers[known]
        seal = CustomerSeal(True, 0, snapshot, numbers, log)
        seal.numbers_verified = True
        self._customers[customer_id] = seal

    def verified_catalog_root(self) -> int:
        """The catalog's root, whatever this transaction has done to it included."""
        if self._catalog is None:
            self._catalog = catalog_root(self._run, self._environment)[0]
        return self._catalog

    def add_to_catalog(self, change: int) -> None:
        """Add an item's digest to the root, or take it away with a minus sign."""
        self._catalog = (self.verified_catalog_root() + change) & MASK
        signed = self._catalog - (1 << 64) if self._catalog >> 63 else self._catalog
        digest = row_digest(self._environment, "", (CATALOG_ROOT, signed, self._seq))
        self._run(_PUT_CATALOG_ROOT, (self._environment, signed, self._seq, digest))

    def touch(self, customer_id: str) -> CustomerSeal:
        """The customer's seal, whose row `seal_all` will write."""
        seal = self.customer(customer_id)
        if not seal.is_dirty:
            seal.is_dirty = True
            self._dirty.append(customer_id)
        return seal

    def seal_all(self) -> None:
        """Write the row of every customer that was changed."""
        for customer_id in self._dirty:
            self._write(customer_id, self._customers[customer_id])
        self._dirty.clear()

    def forget(self) -> None:
        """Read everything again: a command was rolled back."""
        self._customers.clear()
        self._dirty.clear()
        self._catalog = None

    def _load(self, customer_id: str) -> CustomerSeal:
        environment, slot = self._environment, slot_of(customer_id)
        rows = self._run(CUSTOMER_ROW, (environment, slot, customer_id))
        if not rows:
            verify_absent(self._run, environment, slot, customer_id)
            return CustomerSeal(False, 0, None, 0, 0)
        seq, snapshot, numbers, log, digest = rows[0]
        if digest != row_digest(environment, customer_id, (CUSTOMER, seq, snapshot, numbers, log)):
            raise customer_corrupt(customer_id, "the row")
        return CustomerSeal(True, seq, snapshot, int.from_bytes(numbers, "little"), int.from_bytes(log, "little"))

    def _write(self, customer_id: str, seal: CustomerSeal) -> None:
        if seal.snapshot is None:
            raise StoreError(
                f"customer `{customer_id}` has no snapshot",
                hint="put_customer belongs in the same transaction as the customer's first row",
            )
        environment, slot, seq = self._environment, slot_of(customer_id), self._seq
        numbers, log = sum_bytes(seal.numbers), sum_bytes(seal.log)
        digest = row_digest(environment, customer_id, (CUSTOMER, seq, seal.snapshot, numbers, log))
        self._run(_PUT_CUSTOMER, (environment, slot, customer_id, seq, seal.snapshot, numbers, log, digest))
        if not seal.exists:
            count, root = slot_sums(self._run, environment, slot)
            put_slot(self._run, environment, slot, count + 1, root + member_sum(environment, slot, customer_id))
        seal.exists, seal.is_dirty, seal.seq = True, False, seq
