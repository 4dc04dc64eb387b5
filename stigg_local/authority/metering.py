"""What meters make of raw events inside a write transaction: one row for each window that is counted.

Laws: the row of a window is the fold of the log over it, and the ordinary usage counter is what the row stands for;
a window that was counted without a break needs no fold, any other is folded from the log.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stigg_local.core.meter import NOTHING, Aggregate, CompiledMeter, Dimension, compile_meters, fold
from stigg_local.core.sources import Catalog
from stigg_local.store.event_body import Folded, definition_of, dimensions_of, folded_body, folded_of
from stigg_local.store.event_log_rows import MeterRow, UsageEvent, WindowKey
from stigg_local.store.tx import Tx

# Members of a set in one row of what a compaction folded.
FOLDED_MEMBERS = 1000


class Metering(NamedTuple):
    """A feature's meter and what stands for its definition."""

    meter: CompiledMeter
    definition: bytes


# The meters of the catalog that was asked for last, with that catalog.
_compiled: list[tuple[Catalog, dict[str, Metering]]] = []


def meters_of(catalog: Catalog) -> dict[str, Metering]:
    """The meters of a catalog by feature; compiled once for each catalog."""
    for known, meters in _compiled:
        if known is catalog:
            return meters
    compiled = compile_meters(catalog.features.values())
    meters = {item.feature.id: Metering(item, definition_of(item.feature.meter)) for item in compiled}
    _compiled[:] = [(catalog, meters)]
    return meters


def fed(tx: Tx, catalog: Catalog, customer_id: str) -> dict[tuple[str, str], Metering]:
    """The (resource, feature) pairs that events may have fed, with their meters."""
    meters = meters_of(catalog)
    if not meters:
        return {}
    resources = tx.event_resources(customer_id)
    return {(resource_id, feature_id): item for resource_id in resources for feature_id, item in meters.items()}


def fold_events(tx: Tx, metering: Metering, customer_id: str, key: WindowKey) -> tuple[Aggregate, set[bytes]]:
    """What the log gives for a window, and the members of the set where the meter has one."""
    resource_id, _, from_ms, to_ms = key
    base, members = folded(tx, metering, customer_id, resource_id, from_ms=from_ms)
    events = tx.usage_events(customer_id, resource_id, from_ms, to_ms)
    aggregate = fold(metering.meter, readable(events), members)
    return (aggregate if metering.meter.is_set else metering.meter.join(base, aggregate)), members


def folded(
    tx: Tx, metering: Metering, customer_id: str, resource_id: str, *, from_ms: int = 0
) -> tuple[Aggregate, set[bytes]]:
    """What compactions have left for a meter in a window from an instant; another definition of it left nothing."""
    base, members = NOTHING, set[bytes]()
    if from_ms:
        # Only a window without a beginning reaches back to what was folded.
        return base, members
    for event in tx.folded_events(customer_id, resource_id):
        if event.idempotency_key != metering.meter.feature.id:
            continue
        found = folded_of(event.body)
        if found.definition == metering.definition:
            base = metering.meter.join(base, Aggregate(found.size, found.total))
            members.update(found.members)
    return base, members


def folded_bodies(metering: Metering, aggregate: Aggregate, members: set[bytes]) -> tuple[bytes, ...]:
    """The bodies of what was folded: one with the aggregate, or as many as the members of a set need."""
    if not metering.meter.is_set:
        return (folded_body(Folded(metering.definition, aggregate.count, aggregate.total)),)
    ordered = sorted(members)
    return tuple(
        folded_body(Folded(metering.definition, members=tuple(ordered[at : at + FOLDED_MEMBERS])))
        for at in range(0, len(ordered), FOLDED_MEMBERS)
    )


def fold_window(tx: Tx, metering: Metering, customer_id: str, key: WindowKey) -> int:
    """Fold a window from the log and store what that gives; returns the raw usage."""
    aggregate, members = fold_events(tx, metering, customer_id, key)
    tx.delete_meter(customer_id, key)
    put_folded(tx, metering, customer_id, key, aggregate, members)
    return metering.meter.usage(aggregate)


def keep_only(tx: Tx, customer_id: str, keys: Iterable[WindowKey]) -> None:
    """Forget the rows of all other windows: nothing counts in them any more."""
    kept = set(keys)
    for key in tx.meters(customer_id):
        if key not in kept:
            tx.delete_meter(customer_id, key)


def readable(events: Iterable[UsageEvent]) -> Iterator[tuple[str, dict[str, Dimension]]]:
    """Events as meters read them: name and dimensions."""
    return ((event.event_name, dimensions_of(event.body)) for event in events)


def put_folded(
    tx: Tx, metering: Metering, customer_id: str, key: WindowKey, aggregate: Aggregate, members: set[bytes]
) -> MeterRow:
    """Store what a fold gave as the row of a window; an empty one needs no row."""
    number = (tx.seq << 20) + tx.next_ord()
    total = sum(tx.add_member(customer_id, number, member) or 0 for member in members)
    row = MeterRow(number, metering.definition, aggregate.count, aggregate.total, total)
    if aggregate.count:
        tx.put_meter(customer_id, key, row)
    return row
