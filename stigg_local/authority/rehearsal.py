"""What a command would make of a customer: the authority's own rules, run on a copy of the customer's rows.

Law: nothing is written. The transaction that the rules are given keeps its rows in memory, and has no cursor to
reach the file with.
"""

# ruff: noqa: ARG002 - what stands in for a transaction takes its arguments, also those that a copy does not need.

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

import msgspec

from stigg_local.authority.authority import Authority
from stigg_local.core.catalog import Feature
from stigg_local.core.credit import Grant
from stigg_local.core.customer import Customer, CustomerSnapshot
from stigg_local.core.entitlement import CustomerView
from stigg_local.core.hold import Hold
from stigg_local.core.usage import SET, fold
from stigg_local.errors import StiggError, StoreCorrupt, StoreError
from stigg_local.store.catalog import CatalogReader
from stigg_local.store.event_log_rows import MeterRow, UsageEvent, WindowKey
from stigg_local.store.hold_rows import HoldRow
from stigg_local.store.life_rows import Checkout
from stigg_local.store.pack import Measurement
from stigg_local.store.store import Store
from stigg_local.store.tx import Counter, Tx

T = TypeVar("T")

_customer_decoder = msgspec.json.Decoder(Customer)
_snapshot_decoder = msgspec.msgpack.Decoder(CustomerSnapshot)
_grant_decoder = msgspec.msgpack.Decoder(Grant)
_hold_decoder = msgspec.msgpack.Decoder(Hold)


class Rehearsal:
    """A customer's rows at one state of the file, to run commands on.

    Args:
        tx: A reading transaction that stays open while the rehearsal is used.
        catalogs: Where compiled catalogs come from.
        customer_id: Whose rows they are; a command about anybody else finds nobody.
        feature: The one feature whose usage is followed; None for none.
        resource_id: The one resource whose usage is followed, empty for none.
        now_ms: The time of every command.
    """

    def __init__(
        self,
        tx: Tx,
        catalogs: CatalogReader,
        customer_id: str,
        *,
        feature: Feature | None,
        resource_id: str,
        now_ms: int,
    ) -> None:
        self.tx = tx
        self.customer_id = customer_id
        self.feature = feature
        self.resource_id = resource_id
        self.now_ms = now_ms
        self.record = tx.customer_record(customer_id)
        self.snapshot = tx.customer_snapshot(customer_id)
        self.counters = {row[:4]: row[4] for row in tx.counters(customer_id)} if self.snapshot is not None else {}
        self.grants = dict(tx.grants(customer_id)) if self.snapshot is not None else {}
        self.holds = tx.holds(customer_id) if self.snapshot is not None else []
        self.catalog_seq = tx.catalog_seq()
        self._catalogs = catalogs
        self._events: dict[tuple[str, int, int], list[UsageEvent]] = {}
        self._folded: dict[tuple[int, int], list[Measurement]] = {}

    @property
    def customer(self) -> Customer | None:
        """The record; None where there is none."""
        return None if self.record is None else _customer_decoder.decode(self.record)

    def view(self) -> CustomerView | None:
        """The customer as the rows are, before any command."""
        return _view(self.snapshot, self.counters, self.grants, self.holds)

    def after(self, do: Callable[[Authority], object]) -> CustomerView | None:
        """The customer as a command would leave it; None where a rule refuses the command.

        Raises:
            StoreError: The rows cannot be read.
        """
        tx = _CopyTx(self)
        try:
            do(Authority(cast(Store, _CopyStore(tx)), self._catalogs))
        except StoreError:
            raise
        except StiggError:
            return None
        return _view(tx.rows.snapshot, tx.rows.counters, tx.rows.grants, self.holds)

    def usage(self, from_ms: int, to_ms: int) -> list[Measurement]:
        """The log of an interval as one report of what it comes to; it is read once."""
        assert self.feature is not None, "only the usage of a feature is followed"
        key = from_ms, to_ms
        if key not in self._folded:
            rows = self.tx.measurements(self.customer_id, self.resource_id, self.feature.id, from_ms, to_ms)
            total = fold(self.feature, ((row.behavior, row.value) for row in rows))
            self._folded[key] = [Measurement(0, 0, "", SET, total, from_ms, from_ms, b"")] if rows else []
        return self._folded[key]

    def events(self, resource_id: str, from_ms: int, to_ms: int) -> list[UsageEvent]:
        """The raw events of an interval; they are read once."""
        key = resource_id, from_ms, to_ms
        if key not in self._events:
            self._events[key] = list(self.tx.usage_events(self.customer_id, *key))
        return self._events[key]


class _Rows:
    """The rows of one customer that a command may replace."""

    def __init__(self, base: Rehearsal) -> None:
        self.record = base.record
        self.snapshot = base.snapshot
        self.counters = dict(base.counters)
        self.grants = dict(base.grants)


class _CopyTx(Tx):
    """A transaction on copied rows. What is not overridden needs a cursor, which it does not have."""

    def __init__(self, base: Rehearsal) -> None:
        self.environment = base.tx.environment
        self.seq = base.tx.seq + 1
        self.now_ms = base.now_ms
        self.mark_ms = min(base.tx.mark_ms, base.now_ms)
        self.rows = _Rows(base)
        self._base = base

    def customer_snapshot(self, customer_id: str) -> bytes | None:
        return self.rows.snapshot if customer_id == self._base.customer_id else None

    def put_customer(self, customer_id: str, snapshot: bytes) -> None:
        self.rows.snapshot = snapshot

    def customer_record(self, customer_id: str) -> str | None:
        return self.rows.record if customer_id == self._base.customer_id else None

    def put_customer_record(self, customer_id: str, body: str) -> None:
        self.rows.record = body

    def counters(self, customer_id: str) -> list[Counter]:
        return [(*key, usage) for key, usage in self.rows.counters.items()]

    def grants(self, customer_id: str) -> list[tuple[str, bytes]]:
        return sorted(self.rows.grants.items())

    def put_grant(self, customer_id: str, grant_id: str, body: bytes) -> None:
        self.rows.grants[grant_id] = body

    def holds(self, customer_id: str) -> list[bytes]:
        return self._base.holds

    def rebuild_numbers(
        self,
        customer_id: str,
        counters: Iterable[Counter],
        grants: Iterable[tuple[str, bytes]],
        holds: Iterable[HoldRow] | None = None,
    ) -> None:
        self.rows.counters = {row[:4]: row[4] for row in counters}
        self.rows.grants = dict(grants)

    def rebuild_customer(self, customer_id: str, snapshot: bytes) -> None:
        raise StoreCorrupt(f"customer `{customer_id}` is damaged", hint="a read of it repairs what can be repaired")

    def measurements(
        self, customer_id: str, resource_id: str, feature_id: str, from_ms: int, to_ms: int
    ) -> list[Measurement]:
        return self._base.usage(from_ms, to_ms)

    def has_measurements(self, customer_id: str) -> set[tuple[str, str]]:
        return set() if self._base.feature is None else {(self._base.resource_id, self._base.feature.id)}

    def next_ord(self) -> int:
        return 0

    def event_resources(self, customer_id: str) -> list[str]:
        feature = self._base.feature
        if feature is None or feature.meter is None:
            return []
        found = self._base.tx.event_resources(self._base.customer_id)
        return [self._base.resource_id] if self._base.resource_id in found else []

    def usage_events(self, customer_id: str, resource_id: str, from_ms: int, to_ms: int) -> Iterator[UsageEvent]:
        return iter(self._base.events(resource_id, from_ms, to_ms))

    def meters(self, customer_id: str) -> dict[WindowKey, MeterRow]:
        return {}

    def put_meter(self, customer_id: str, key: WindowKey, row: MeterRow) -> None:
        pass

    def delete_meter(self, customer_id: str, key: WindowKey) -> None:
        pass

    def add_member(self, customer_id: str, number: int, value: bytes) -> int | None:
        return None

    def append_ledger(self, customer_id: str, body: bytes) -> None:
        pass

    def idempotency(self, operation: str, key: str) -> tuple[bytes, bytes] | None:
        return None

    def put_idempotency(self, operation: str, key: str, customer_id: str, fingerprint: bytes, reply: bytes) -> None:
        pass

    def subscription_owner(self, subscription_id: str) -> str | None:
        return None

    def put_subscription_owner(self, subscription_id: str, customer_id: str) -> None:
        pass

    def put_due(self, customer_id: str, due_ms: int | None) -> None:
        pass

    def append_event(self, type: str, customer_id: str, at_ms: int, actor: str, body: bytes = b"") -> None:
        pass

    def put_checkout(self, checkout_id: str, customer_id: str, body: bytes) -> None:
        pass

    def checkouts_of(self, customer_id: str) -> list[Checkout]:
        return []

    def catalog_seq(self) -> int:
        return self._base.catalog_seq

    def meta(self, key: str) -> str | None:
        return self._base.tx.meta(key)

    def set_meta(self, key: str, value: str) -> None:
        pass


class _CopyStore:
    """What the authority asks of a store, answered by one transaction on copied rows."""

    def __init__(self, tx: _CopyTx) -> None:
        self._tx = tx

    def write(self, fn: Callable[[Tx], T], **_: Any) -> T:
        return fn(self._tx)

    def read(self, fn: Callable[[Tx], T]) -> T:
        return fn(self._tx)

    def now_ms(self) -> int:
        return self._tx.now_ms

    def settle_queued(self, customer_id: str) -> None:
        """Nothing is queued for rows that are a copy."""


def _view(
    snapshot: bytes | None,
    counters: dict[tuple[str, str, int, int], int],
    grants: dict[str, bytes],
    holds: list[bytes],
) -> CustomerView | None:
    if snapshot is None:
        return None
    return CustomerView(
        _snapshot_decoder.decode(snapshot),
        counters,
        tuple(_grant_decoder.decode(body) for _, body in sorted(grants.items())),
        tuple(_hold_decoder.decode(body) for body in holds),
    )
