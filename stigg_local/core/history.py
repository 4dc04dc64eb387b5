"""How usage went: the windows that were in force one after another, and the usage in each of them.

Laws: the last point is the usage that a read gives; usage at an instant is the fold, in the order of arrival, of what
had happened until then. Source: semantics §3.4.
"""

from bisect import insort
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stigg_local.core.catalog import Feature
from stigg_local.core.customer import CustomerSnapshot, SubscriptionSource
from stigg_local.core.entitlement import find_winner
from stigg_local.core.meter import Aggregate, CompiledMeter, Dimensions
from stigg_local.core.sources import Catalog
from stigg_local.core.usage import fold
from stigg_local.core.words import UsageMarkerType


class Span(NamedTuple):
    """A time in which one window was counted.

    Attributes:
        start_ms, end_ms: The time, half open.
        from_ms, to_ms: The window; both 0 where nothing entitled.
        reset: Why usage begins anew at `start_ms`; None where it goes on.
    """

    start_ms: int
    end_ms: int
    from_ms: int
    to_ms: int
    reset: UsageMarkerType | None


class Reported(NamedTuple):
    """One measurement: when it happened, its place in the order of arrival, and what it says, raw."""

    created_ms: int
    place: tuple[int, int]
    behavior: str
    value: int


def spans(
    catalog: Catalog,
    snapshot: CustomerSnapshot,
    feature: Feature,
    *,
    resource_id: str,
    start_ms: int,
    end_ms: int,
) -> Iterator[Span]:
    """The windows in force from `start_ms` until `end_ms`, one after another.

    Args:
        snapshot: With every source that was in force in that time.
    """
    at_ms = start_ms
    before: tuple[int, int, str] | None = None
    while at_ms < end_ms:
        winner, _, _, until_ms = find_winner(catalog, snapshot, feature, resource_id, at_ms)
        until_ms = max(min(until_ms, end_ms), at_ms + 1)
        if winner is None or not winner.contribution.is_granted:
            yield Span(at_ms, until_ms, 0, 0, None)
        else:
            source = winner.source
            owner = source.subscription_id if isinstance(source, SubscriptionSource) else ""
            reset = None
            if before is not None and (winner.from_ms, winner.end_ms) != before[:2]:
                # At its window's own end usage begins anew by itself, whoever goes on; earlier something changed it.
                is_periodic = before[1] == at_ms and before[2] == owner
                reset = UsageMarkerType.PERIODIC_RESET if is_periodic else UsageMarkerType.SUBSCRIPTION_CHANGE_RESET
            yield Span(at_ms, until_ms, winner.from_ms, winner.end_ms, reset)
            before = winner.from_ms, winner.end_ms, owner
        at_ms = until_ms


def measured(
    feature: Feature, reports: Iterable[Reported], start_ms: int, end_ms: int
) -> tuple[int, Iterator[tuple[int, int]]]:
    """Usage in a window by what was reported in it, given in the order of arrival.

    Returns:
        The usage at `start_ms`, and (instant, usage) of every change after it before `end_ms`.
    """
    ordered = sorted(reports)
    arrived: list[tuple[tuple[int, int], str, int]] = []
    index = 0
    while index < len(ordered) and ordered[index].created_ms < start_ms:
        insort(arrived, ordered[index][1:])
        index += 1
    usage = fold(feature, (item[1:] for item in arrived))
    return usage, _changes(feature, arrived, ordered[index:], usage, end_ms)


def _changes(
    feature: Feature,
    arrived: list[tuple[tuple[int, int], str, int]],
    rest: list[Reported],
    usage: int,
    end_ms: int,
) -> Iterator[tuple[int, int]]:
    for number, report in enumerate(rest):
        if report.created_ms >= end_ms:
            return
        is_last = not arrived or report.place > arrived[-1][0]
        insort(arrived, report[1:])
        if is_last:
            # In the order of arrival too: one step more is the same as folding again.
            usage = fold(feature, (("SET", usage), report[2:]))
        else:
            usage = fold(feature, (item[1:] for item in arrived))
        if number + 1 == len(rest) or rest[number + 1].created_ms != report.created_ms:
            yield report.created_ms, usage


def metered(
    meter: CompiledMeter,
    events: Iterable[tuple[int, str, Dimensions]],
    base: Aggregate,
    members: set[bytes],
    start_ms: int,
) -> tuple[int, Iterator[tuple[int, int]]]:
    """Usage in a window by its events, given as (when, name, dimensions) in the order of their time.

    Args:
        base, members: What was folded before.

    Returns:
        As `measured`.
    """
    found = iter(events)
    aggregate = Aggregate(len(members)) if meter.is_set else base
    first: tuple[int, str, Dimensions] | None = None
    for event in found:
        if event[0] >= start_ms:
            first = event
            break
        aggregate = _added(meter, aggregate, event, members)
    return meter.usage(aggregate), _moves(meter, aggregate, first, found, members)


def _moves(
    meter: CompiledMeter,
    aggregate: Aggregate,
    first: tuple[int, str, Dimensions] | None,
    rest: Iterator[tuple[int, str, Dimensions]],
    members: set[bytes],
) -> Iterator[tuple[int, int]]:
    event, usage = first, meter.usage(aggregate)
    while event is not None:
        aggregate = _added(meter, aggregate, event, members)
        following = next(rest, None)
        if following is None or following[0] != event[0]:
            after = meter.usage(aggregate)
            if after != usage:
                usage = after
                yield event[0], usage
        event = following


def _added(
    meter: CompiledMeter, aggregate: Aggregate, event: tuple[int, str, Dimensions], members: set[bytes]
) -> Aggregate:
    reading = meter.read(event[1], event[2])
    if reading is None:
        return aggregate
    if reading.member is None:
        return meter.add(aggregate, reading)
    members.add(reading.member)
    return Aggregate(len(members))
