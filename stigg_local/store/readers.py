"""The reading connections: one for each thread, and the one statement that loads a customer.

Laws: no transaction outlives a call; a connection is used only under its reader's lock, so that whoever holds
all of these locks may close them all (the fork gate does).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock, RLock, local
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

from stigg_local.errors import ClientClosed
from stigg_local.store.digest import COUNTER, CUSTOMER, GRANT, HOLD, row_digest, row_sum, sum_bytes
from stigg_local.store.seals import NUMBERS, customer_corrupt

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

# The catalog's seq is unverified: who compiles the catalog verifies it, and a wrong number costs only that.
LOAD = (
    f"SELECT {CUSTOMER}, seq, snapshot, numbers, log, digest,"
    " (SELECT seq FROM catalog_root WHERE environment = ?1) FROM customer"
    " WHERE environment = ?1 AND slot = ?2 AND customer_id = ?3"
    f" UNION ALL SELECT {COUNTER}, resource_id, feature_id, from_ms, to_ms, value, seq FROM usage_counter"
    " WHERE environment = ?1 AND customer_id = ?3"
    f" UNION ALL SELECT {GRANT}, grant_id, body, seq, NULL, NULL, NULL FROM credit_grant"
    " WHERE environment = ?1 AND customer_id = ?3"
    f" UNION ALL SELECT {HOLD}, hold_id, expire_ms, body, seq, NULL, NULL FROM hold"
    " WHERE environment = ?1 AND customer_id = ?3"
)
_ZERO = bytes(8)


class CustomerRows(NamedTuple):
    """What answers about a customer are computed from.

    Attributes:
        seq: Number of the transaction that last changed the customer; 0 for one who was never there.
        snapshot: As `put_customer` stored it; None for a customer who was verifiably never there.
        counters: (resource_id, feature_id, from_ms, to_ms, value), in key order.
        grants: Bodies of the credit grants, in the order of their ids.
        generation: The slot's value from before the rows were read.
        catalog_seq: Number of the transaction that last changed the catalog, in the same state of the file.
        holds: Bodies of the reservations, in the order of their ids.
    """

    seq: int
    snapshot: bytes | None
    counters: list[tuple[str, str, int, int, int]]
    grants: list[bytes]
    generation: int
    catalog_seq: int
    holds: Sequence[bytes] = ()


def verified_rows(environment: str, customer_id: str, rows: list[Any], generation: int) -> CustomerRows:
    """The rows of one `LOAD` as a record; raises StoreCorrupt where a digest or a sum is wrong."""
    first = rows[0]
    if first[0] != CUSTOMER or first[5] != row_digest(environment, customer_id, first[:5]):
        raise customer_corrupt(customer_id, "the row")
    counters: list[tuple[str, str, int, int, int]] = []
    grants: list[bytes] = []
    if len(rows) == 1:
        if first[3] != _ZERO:
            raise customer_corrupt(customer_id, NUMBERS)
        return CustomerRows(first[1], first[2], counters, grants, generation, first[6] or 0)
    holds: list[bytes] = []
    total = 0
    for row in rows[1:]:
        if row[0] == COUNTER:
            total += row_sum(environment, customer_id, row)
            counters.append(row[1:6])
        elif row[0] == GRANT:
            total += row_sum(environment, customer_id, row[:4])
            grants.append(row[2])
        else:
            total += row_sum(environment, customer_id, row[:5])
            holds.append(row[3])
    if first[3] != sum_bytes(total):
        raise customer_corrupt(customer_id, NUMBERS)
    return CustomerRows(first[1], first[2], counters, grants, generation, first[6] or 0, holds)


class Reader:
    """One thread's connection; closed and opened again behind the thread's back when the store needs it."""

    __slots__ = ("__weakref__", "connection", "cursor", "lock")

    def __init__(self) -> None:
        # Reentrant, because what runs inside a read may read again.
        self.lock = RLock()
        self.connection: apsw.Connection | None = None
        self.cursor: apsw.Cursor | None = None

    def close(self) -> None:
        """Close the connection; the caller holds the lock."""
        connection, self.connection, self.cursor = self.connection, None, None
        if connection is not None:
            connection.close(True)


class Readers:
    """All reading connections of a store in this process."""

    def __init__(self, connect: Callable[[], apsw.Connection], path: str) -> None:
        self._connect = connect
        self._path = path
        self.local = local()
        self.registry_lock = Lock()
        self._all: WeakSet[Reader] = WeakSet()
        self._is_closed = False

    def of_thread(self) -> Reader:
        """The calling thread's reader."""
        try:
            reader: Reader = self.local.reader
        except AttributeError:
            reader = Reader()
            with self.registry_lock:
                self._all.add(reader)
            self.local.reader = reader
        return reader

    def open(self, reader: Reader) -> apsw.Cursor:
        """The reader's cursor, opened where it is closed; the caller holds the reader's lock."""
        if reader.cursor is None:
            if self._is_closed:
                raise ClientClosed("the store is closed", hint="make a new client")
            reader.connection = self._connect()
            reader.cursor = reader.connection.cursor()
        return reader.cursor

    def close_all(self) -> None:
        """Close every connection; each is opened again at its next use."""
        with self.registry_lock:
            readers = list(self._all)
        for reader in readers:
            with reader.lock:
                reader.close()

    def shut(self, timeout_s: float) -> tuple[list[Reader], bool]:
        """Wait for running statements, close every connection, and keep everybody out until `unshut`.

        Returns:
            The readers that are shut, and whether these are all: a read that takes longer is left alone.
        """
        self.registry_lock.acquire()
        shut = []
        readers = list(self._all)
        for reader in readers:
            if reader.lock.acquire(timeout=timeout_s):
                shut.append(reader)
                # A thread that forks inside its own read loses that read, not the others' locks.
                with suppress(apsw.Error):
                    reader.close()
        return shut, len(shut) == len(readers)

    def unshut(self, readers: list[Reader]) -> None:
        """Let everybody in again."""
        for reader in readers:
            reader.lock.release()
        self.registry_lock.release()

    def reset(self) -> None:
        """In a forked child: only the calling thread is left, and the locks of the others are nobody's."""
        self.registry_lock = Lock()
        self._all = WeakSet()
        self.local = local()

    def end(self) -> None:
        """Close for good."""
        self._is_closed = True
        self.close_all()
