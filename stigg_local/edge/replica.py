"""The views that answers come from: a bounded memo of prebuilt answers over one customer's rows at a time.

Laws: dropping anything held changes cost, never an answer; an answer is used only while its customer's generation
slot holds the value that was read before its rows were, and only until `valid_until`. A hit takes no lock.
"""

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from stigg_local.clock import Clock, wall_ms
from stigg_local.core.answer import Entitlement, EntitlementsState
from stigg_local.core.credit import Grant
from stigg_local.core.customer import CustomerSnapshot
from stigg_local.core.entitlement import Compiled, CustomerView, answer_request, evaluate, state
from stigg_local.core.hold import Hold
from stigg_local.core.ids import is_id
from stigg_local.core.period import FOREVER_MS
from stigg_local.core.sources import Catalog
from stigg_local.errors import StoreCorrupt, StoreError
from stigg_local.store.catalog import CatalogReader
from stigg_local.store.digest import slot_of
from stigg_local.store.generation import is_in_flight
from stigg_local.store.readers import CustomerRows
from stigg_local.store.store import Store

# answer, wall time until which it holds (None: for ever), kind, last request, its answer, compiled
Entry = tuple[Entitlement, float | None, str, Any, Entitlement, Compiled]
Entries = dict[str, Entry]
# slot, its value, entries without a resource, entries by resource, view, catalog
Held = tuple[int, int, Entries, dict[str, Entries], CustomerView | None, Catalog]

# What an entry and a held customer cost, measured by `benchmarks/memory.py`; the memo's bound is kept with them.
ENTRY_BYTES = 750
HELD_BYTES = 1300
ROW_BYTES = 260
# More than an operator looks at; a whole damaged file fails for every customer.
FAILURES_MAX = 100
MEMORY_LIMIT_BYTES = 256 * 1024 * 1024

_snapshot_decoder = msgspec.msgpack.Decoder(CustomerSnapshot)
_grant_decoder = msgspec.msgpack.Decoder(Grant)
_hold_decoder = msgspec.msgpack.Decoder(Hold)
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[bytes, list[tuple[str, str, int, int, int]], list[bytes], list[bytes]]).decode


class Replica:
    """Answers of one store, held in memory.

    Attributes:
        memo: Customer id -> what is held; read by the getters without a lock.
        failures: Customer id -> why the rows could not be read at the last try, the latest last.
    """

    def __init__(
        self,
        store: Store,
        catalogs: CatalogReader,
        clock: Clock,
        *,
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
        repair: Callable[[str], None] | None = None,
    ) -> None:
        self.memo: dict[str, Held] = {}
        self.failures: dict[str, StoreError] = {}
        self._store = store
        self._catalogs = catalogs
        self._clock = clock
        self._limit = memory_limit_bytes
        self._repair = repair
        self._lock = threading.Lock()
        self._bytes = 0
        # Snapshot and numbers in one block of bytes: as objects they would take twice the memory.
        self._compact: dict[str, bytes] = {}
        self._compact_seen: memoryview | None = None
        # What a queued report took out of the memo; its size is taken off when somebody holds the lock.
        self._dropped: list[Held] = []
        store.memos.append((self.memo, self._dropped))

    def close(self) -> None:
        """Hold nothing any more."""
        self.drop()
        self._store.memos[:] = [known for known in self._store.memos if known[0] is not self.memo]

    def after_fork(self) -> None:
        """In a child: a lock that another thread held at the fork is never released."""
        self._lock = threading.Lock()

    # ------------------------------------------------------------------ answers

    def answer(
        self,
        kind: str | None,
        customer_id: str,
        feature_id: str,
        resource_id: str,
        requested_usage: Any,
        requested_values: tuple[str, ...],
    ) -> Entitlement | None:
        """The answer to a question, remembered where it may be.

        Returns:
            None where nothing authoritative answers: the feature or currency is unknown or of another type.

        Raises:
            StoreError: The rows cannot be read, and nothing is held of the customer.
            InvalidInput: `requested_usage` is not a number of 0 or more.
        """
        held = self._held(customer_id)
        now_ms = self._store.now_ms()
        compiled = evaluate(held[5], held[4], feature_id, resource_id=resource_id, kind=kind, now_ms=now_ms)
        if compiled is None:
            return None
        if requested_values or requested_usage or type(requested_usage) is not int:
            answer = answer_request(compiled, requested_usage, requested_values)
        else:
            answer = compiled.answer
        request = requested_values or requested_usage
        entry = (
            compiled.answer,
            self._deadline(compiled.valid_until_ms, now_ms),
            compiled.kind,
            request,
            answer,
            compiled,
        )
        # A view that is not in the memo (its slot was in flight) is not remembered either; nor is an answer at a
        # time that may be taken back, and an answer of a resource that can be nobody's.
        if (
            self.memo.get(customer_id) is held
            and not self._store.is_clock_suspect
            and (not resource_id or is_id(resource_id))
        ):
            with self._lock:
                entries = held[2]
                if resource_id:
                    entries = held[3].get(resource_id) or held[3].setdefault(resource_id, {})
                if feature_id not in entries:
                    self._bytes += ENTRY_BYTES
                entries[feature_id] = entry
                if self._bytes > self._limit:
                    self._evict(keep=customer_id)
        return answer

    def state(self, customer_id: str, resource_id: str, *, include_credits: bool) -> EntitlementsState:
        """Everything that a customer is entitled to.

        Raises:
            StoreError: The rows cannot be read, and nothing is held of the customer.
        """
        held = self._held(customer_id)

        def answer(feature_id: str, kind: str | None) -> Entitlement:
            found = self.answer(kind, customer_id, feature_id, resource_id, 0, ())
            assert found is not None, "a feature of the catalog has an answer"
            return found

        return state(
            held[5],
            held[4],
            resource_id=resource_id,
            include_credits=include_credits,
            now_ms=self._store.now_ms(),
            answer=answer,
        )

    def catalog(self) -> Catalog:
        """The catalog as it is now; the last good one where the stored one cannot be read."""
        return self._catalogs.at(self._store.catalog_seq())

    # ------------------------------------------------------------------ what is held

    def preload(self) -> int:
        """Read every customer into memory in compact form; returns how many."""
        compact: dict[str, bytes] = {}
        # In this order: a customer or a catalog that changes later shows in the slots.
        seen = memoryview(bytes(self._store.generation)).cast("Q")
        self.catalog()
        for customer_id, rows in self._store.load_all():
            compact[customer_id] = _pack((rows.snapshot, rows.counters, rows.grants, rows.holds))
        with self._lock:
            self._compact, self._compact_seen = compact, seen
        return len(compact)

    def drop(self, customer_id: str | None = None) -> None:
        """Forget one customer, or all; the next read reads the rows again."""
        with self._lock:
            if customer_id is None:
                self.memo.clear()
                self._dropped.clear()
                self._compact.clear()
                self._bytes = 0
            else:
                self._forget(customer_id)
                self._compact.pop(customer_id, None)

    def held_bytes(self) -> int:
        """What the memo is estimated to take."""
        return self._bytes

    def held(self, customer_id: str) -> Held:
        """What answers about the customer come from, queued reports included.

        Raises:
            StoreError: The rows cannot be read, and nothing is held of the customer.
        """
        return self._held(customer_id)

    def _held(self, customer_id: str) -> Held:
        held = self.memo.get(customer_id)
        if held is not None and self._store.generation[held[0]] == held[1]:
            return held
        try:
            return self._load(customer_id)
        except StoreCorrupt as error:
            return self._recover(customer_id, held, error)
        except StoreError as error:
            self._fail(customer_id, error)
            if held is None:
                raise
            # The memory copy goes on answering where the disk does not.
            return held

    def _recover(self, customer_id: str, held: Held | None, error: StoreCorrupt) -> Held:
        if self._repair is not None:
            try:
                self._repair(customer_id)
                return self._load(customer_id)
            except StoreError as again:
                error = StoreCorrupt(
                    f"customer `{customer_id}` could not be rebuilt: {again.message}", hint=again.hint
                )
            except Exception as again:
                error = StoreCorrupt(f"customer `{customer_id}` could not be rebuilt: {again}")
        self._fail(customer_id, error)
        if held is None:
            raise error
        return held

    def _fail(self, customer_id: str, error: StoreError) -> None:
        with self._lock:
            self.failures.pop(customer_id, None)
            if is_id(customer_id) and len(self.failures) < FAILURES_MAX:
                self.failures[customer_id] = error

    def _load(self, customer_id: str) -> Held:
        # What is no id can be nobody's, and may not even have an encoding.
        slot = slot_of(customer_id) if is_id(customer_id) else 0
        # Before anything is read: a change that comes later shows in the slot.
        generation = self._store.generation[slot]
        # Before the rows, too: what is stored meanwhile is in both, and is told apart by its number.
        queue = self._store.queue
        pending = () if queue is None else queue.pending(customer_id)
        rows = None if pending else self._compact_rows(customer_id, slot)
        if rows is None and is_id(customer_id):
            rows = self._store.load_customer(customer_id)
        if rows is None:
            held: Held = (slot, generation, {}, {}, None, self.catalog())
        else:
            view, catalog = _view(rows), self._catalogs.at(rows.catalog_seq)
            if pending and view is not None:
                from stigg_local.edge.overlay import folded

                view = folded(catalog, view, pending, seq=rows.seq, now_ms=self._store.now_ms())
            held = (slot, generation, {}, {}, view, catalog)
        if self.failures:
            self.failures.pop(customer_id, None)
        # What is no id may be of any size, and is not worth remembering.
        if is_in_flight(generation) or not is_id(customer_id):
            return held
        with self._lock:
            while self._dropped:
                self._bytes -= _held_bytes(self._dropped.pop())
            queue = self._store.queue
            if queue is None:
                self._remember(customer_id, held)
            else:
                # A report that is queued from here on takes the customer out of the memo again.
                with queue.lock:
                    if queue.pending_locked(customer_id) == pending:
                        self._remember(customer_id, held)
            if self._bytes > self._limit:
                self._evict(keep=customer_id)
        return held

    def _remember(self, customer_id: str, held: Held) -> None:
        self._forget(customer_id)
        self.memo[customer_id] = held
        self._bytes += HELD_BYTES + ROW_BYTES * _row_count(held[4])

    def _compact_rows(self, customer_id: str, slot: int) -> CustomerRows | None:
        packed = self._compact.get(customer_id)
        if packed is None or self._compact_seen is None:
            return None
        seen = self._compact_seen[slot]
        if self._store.generation[slot] != seen:
            self._compact.pop(customer_id, None)
            return None
        # A publish changes every slot, so the catalog of these rows is the one at hand.
        snapshot, counters, grants, holds = _unpack(packed)
        return CustomerRows(0, snapshot, counters, grants, seen, self._catalogs.seq, holds)

    def _forget(self, customer_id: str) -> None:
        old = self.memo.pop(customer_id, None)
        if old is not None:
            self._bytes -= _held_bytes(old)

    def _evict(self, *, keep: str) -> None:
        # Oldest first, down to nine tenths, so that evicting is not the daily bread of every miss.
        for customer_id in list(self.memo):
            if self._bytes <= self._limit * 9 // 10:
                return
            if customer_id != keep:
                self._forget(customer_id)
        if self._bytes > self._limit:
            # One customer alone is over the bound, as after questions about any number of resources.
            self._forget(keep)

    def _deadline(self, valid_until_ms: int, now_ms: int) -> float | None:
        """The wall time at which an answer must be derived again."""
        if valid_until_ms >= FOREVER_MS:
            return None
        return (valid_until_ms - (now_ms - wall_ms(self._clock))) / 1000


def _view(rows: CustomerRows) -> CustomerView | None:
    if rows.snapshot is None:
        return None
    snapshot = _snapshot_decoder.decode(rows.snapshot)
    counters = {row[:4]: row[4] for row in rows.counters}
    grants = tuple([_grant_decoder.decode(body) for body in rows.grants]) if rows.grants else ()
    holds = tuple([_hold_decoder.decode(body) for body in rows.holds]) if rows.holds else ()
    return CustomerView(snapshot, counters, grants, holds)


def _row_count(view: CustomerView | None) -> int:
    return 0 if view is None else len(view.counters) + len(view.grants) + len(view.holds) + len(view.snapshot.sources)


def _held_bytes(held: Held) -> int:
    rows = _row_count(held[4])
    entries = len(held[2]) + sum(len(entries) for entries in held[3].values())
    return HELD_BYTES + ROW_BYTES * rows + ENTRY_BYTES * entries
