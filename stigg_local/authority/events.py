"""Raw events: kept, and counted by every meter that lets them in.

Laws: a batch is taken as a whole or not at all; an event that is there already is ignored; an event counts whether or
not the customer is entitled to anything, for what counts is the log.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct

from stigg_local.authority import thresholds
from stigg_local.authority.metering import meters_of
from stigg_local.authority.run import Runner
from stigg_local.authority.tally import Tally
from stigg_local.authority.usage_check import created_at
from stigg_local.clock import new_id
from stigg_local.core.customer import CustomerSnapshot
from stigg_local.core.entitlement import find_winner
from stigg_local.core.meter import Dimension
from stigg_local.core.period import to_text
from stigg_local.core.sources import Catalog
from stigg_local.core.usage_result import ReportEventsResult
from stigg_local.errors import InvalidInput, StiggError, StoreCorrupt
from stigg_local.store.event_body import dimensions_body
from stigg_local.store.tx import Tx

T = TypeVar("T")


class ReportEvent(Struct, frozen=True, kw_only=True):
    """One raw event, checked for its shape; `created_ms` None means now."""

    customer_id: str
    event_name: str
    idempotency_key: str
    resource_id: str | None = None
    created_ms: int | None = None
    dimensions: Mapping[str, Dimension] = {}


class Reported(Struct, frozen=True):
    """What became of a batch: how many events are new, and whose usage changed, (customer, resource, feature)."""

    accepted: int
    duplicates: int
    changed: tuple[tuple[str, str, str], ...] = ()


class Events:
    """Commands about raw events."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def report(self, events: Sequence[ReportEvent], *, durability: str) -> tuple[ReportEventsResult, Reported]:
        """Keep and count events, all or none.

        Raises:
            NotFound: A customer or resource does not exist.
            InvalidInput: An event lies in the future or in a time that was folded already, or a number in it does
                not fit a feature that it feeds.
        """

        def work(tx: Tx) -> Reported:
            return _report(self._runner, tx, events)

        customers = sorted({event.customer_id for event in events})
        for customer_id in customers:
            self._runner.store.settle_queued(customer_id)
        reported = repaired(self._runner, customers, lambda: self._write(work, durability))
        return ReportEventsResult(reported.accepted, reported.duplicates, durability), reported

    def _write(self, work: Callable[[Tx], Reported], durability: str) -> Reported:
        return self._runner.write(work, operation="reportEvent", key=new_id(), durability=durability)


def repaired(runner: Runner, customers: Sequence[str], write: Callable[[], T]) -> T:
    """What a write about several customers gives; where rows of one are damaged, they are rebuilt and it runs again.

    Raises:
        StoreCorrupt: What they would be rebuilt from is damaged too.
    """
    try:
        return write()
    except StoreCorrupt as error:
        for customer_id in customers:
            try:
                runner.repair(customer_id)
            except StiggError:
                raise error from None
        return write()


def _report(runner: Runner, tx: Tx, events: Sequence[ReportEvent]) -> Reported:
    catalog = runner.catalog(tx)
    snapshots: dict[str, CustomerSnapshot] = {}
    for event in events:
        snapshot = snapshots.get(event.customer_id)
        if snapshot is None or (event.resource_id is not None and event.resource_id not in snapshot.resource_ids):
            snapshots[event.customer_id] = runner.snapshot(tx, event.customer_id, event.resource_id)
    stamps = _stamps(tx, events)
    tallies: dict[tuple[str, str], tuple[Tally, list[tuple[int, str, str, bytes]]]] = {}
    accepted = 0
    for event, created_ms in zip(events, stamps, strict=True):
        place = event.customer_id, event.resource_id or ""
        if not tx.take_event_key(*place, event.event_name, event.idempotency_key, event.created_ms):
            continue
        accepted += 1
        known = tallies.get(place)
        if known is None:
            tally = Tally(tx, catalog, snapshots[place[0]], customer_id=place[0], resource_id=place[1])
            known = tallies[place] = tally, []
        dimensions = dict(event.dimensions)
        known[0].add(event.event_name, dimensions, created_ms)
        known[1].append((created_ms, event.event_name, event.idempotency_key, dimensions_body(dimensions)))
    changed: list[tuple[str, str, str]] = []
    for place, (tally, rows) in tallies.items():
        tx.append_usage_events(*place, rows)
        changed += _tell(runner, tx, catalog, snapshots[place[0]], place, tally.close())
    return Reported(accepted, len(events) - accepted, tuple(changed))


def _tell(
    runner: Runner,
    tx: Tx,
    catalog: Catalog,
    snapshot: CustomerSnapshot,
    place: tuple[str, str],
    moved: dict[str, dict[tuple[int, int], tuple[int, int]]],
) -> list[tuple[str, str, str]]:
    """Tell thresholds that were crossed; returns whose usage has changed."""
    changed = []
    for feature_id, windows in moved.items():
        feature = meters_of(catalog)[feature_id].meter.feature
        winner = find_winner(catalog, snapshot, feature, place[1], tx.now_ms)[0]
        thresholds.tell(
            runner, tx, customer_id=place[0], resource_id=place[1], feature=feature, winner=winner, moved=windows
        )
        changed.append((*place, feature_id))
    return changed


def _stamps(tx: Tx, events: Sequence[ReportEvent]) -> list[int]:
    """When each event happened; one that its caller did not stamp is stamped here, once."""
    now_ms, from_ms = tx.now_ms, tx.usage_from_ms()
    stamps = []
    for number, event in enumerate(events):
        where = "timestamp" if len(events) == 1 else f"events[{number}].timestamp"
        # The stamp that tells two events apart stays as it was given.
        stamps.append(created_at(event.created_ms, now_ms, where=where, what="an event"))
        if event.created_ms is not None:
            check_not_folded(event.created_ms, from_ms, where)
    return stamps


def check_not_folded(created_ms: int, from_ms: int, where: str) -> None:
    """Refuse usage of a time that a compaction has folded: whether it was counted cannot be told any more.

    Raises:
        InvalidInput: It happened before `from_ms`.
    """
    if created_ms < from_ms:
        raise InvalidInput(
            f"{where} is {to_text(created_ms)}, before {to_text(from_ms)}, from when on usage is kept",
            code="InvalidArgumentError",
            hint="report sooner, or keep the log longer with `usage_retention_days`",
        )
