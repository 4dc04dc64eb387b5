"""The history of a feature's usage, read from the logs."""

from collections.abc import Iterator
from contextlib import suppress

from msgspec import Struct

from stigg_local.authority import metering
from stigg_local.authority.run import Runner
from stigg_local.authority.usage_check import metered_or_refused
from stigg_local.core import history
from stigg_local.core.catalog import Feature
from stigg_local.core.meter import Dimensions
from stigg_local.core.quantity import from_raw
from stigg_local.core.snapshot import derive_snapshot
from stigg_local.core.sources import Catalog
from stigg_local.core.usage_result import UsageHistory, UsageMarker, UsagePoint
from stigg_local.errors import StoreError
from stigg_local.store.event_body import dimensions_of
from stigg_local.store.tx import Tx

# Where there are more, each of so many equal slots of the time keeps its last point.
POINTS_MAX = 10_000


class AskHistory(Struct, frozen=True, kw_only=True):
    """Whose usage of what, and of which time; `end_ms` None means now."""

    customer_id: str
    feature_id: str
    resource_id: str | None
    start_ms: int
    end_ms: int | None


class History:
    """Questions about how usage went."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def usage(self, ask: AskHistory) -> UsageHistory:
        """The usage of a time, point by point.

        Raises:
            NotFound: The customer, resource or feature does not exist.
            NotAllowed: The feature is not metered.
        """
        # Reads go on where nothing can be written, with what is stored.
        with suppress(StoreError):
            self._runner.store.settle_queued(ask.customer_id)
        return self._runner.store.read(lambda tx: self._read(tx, ask))

    def _read(self, tx: Tx, ask: AskHistory) -> UsageHistory:
        runner = self._runner
        catalog = runner.catalog(tx)
        runner.snapshot(tx, ask.customer_id, ask.resource_id)
        feature = metered_or_refused(catalog, ask.feature_id)
        now_ms = tx.now_ms
        end_ms = now_ms if ask.end_ms is None else min(ask.end_ms, now_ms)
        start_ms = min(ask.start_ms, end_ms)
        # The sources of that time: those that have ended since are no part of the stored snapshot.
        record = runner.current(tx, catalog, ask.customer_id)
        snapshot = derive_snapshot(record, catalog, as_of_ms=start_ms)
        points: list[UsagePoint] = []
        markers: list[UsageMarker] = []
        # Where something was counted while nothing entitled, the next span begins at another level.
        level = 0
        for span in history.spans(
            catalog, snapshot, feature, resource_id=ask.resource_id or "", start_ms=start_ms, end_ms=end_ms + 1
        ):
            if span.to_ms == 0:
                continue
            if span.reset is not None:
                markers.append(UsageMarker(span.start_ms, span.reset))
            usage, changes = self._span(tx, catalog, feature, ask, span)
            if span.reset is not None or usage != level:
                value = from_raw(usage, feature.scale)
                points.append(UsagePoint(span.start_ms, value, is_reset_point=span.reset is not None))
                level = usage
            for at_ms, level in changes:
                points.append(UsagePoint(at_ms, from_raw(level, feature.scale)))
        return UsageHistory(
            customer_id=ask.customer_id,
            feature_id=feature.id,
            resource_id=ask.resource_id,
            start_ms=start_ms,
            end_ms=end_ms,
            points=tuple(_thinned(points, start_ms, end_ms)),
            markers=tuple(markers),
        )

    def _span(
        self, tx: Tx, catalog: Catalog, feature: Feature, ask: AskHistory, span: history.Span
    ) -> tuple[int, Iterator[tuple[int, int]]]:
        customer_id, resource_id = ask.customer_id, ask.resource_id or ""
        meter = metering.meters_of(catalog).get(feature.id)
        # A window without a beginning holds what was folded as well.
        if meter is None:
            rows = tx.measurements(customer_id, resource_id, feature.id, span.from_ms, span.end_ms)
            reports = [
                history.Reported(row.created_ms, (row.seq, number), row.behavior, row.value)
                for number, row in enumerate(rows)
            ]
            return history.measured(feature, reports, span.start_ms, span.end_ms)
        base, members = metering.folded(tx, meter, customer_id, resource_id, from_ms=span.from_ms)
        events = _events(tx, customer_id, resource_id, span)
        return history.metered(meter.meter, events, base, members, span.start_ms)


def _events(tx: Tx, customer_id: str, resource_id: str, span: history.Span) -> Iterator[tuple[int, str, Dimensions]]:
    for event in tx.usage_events(customer_id, resource_id, span.from_ms, span.end_ms):
        yield event.created_ms, event.event_name, dimensions_of(event.body)


def _thinned(points: list[UsagePoint], start_ms: int, end_ms: int) -> list[UsagePoint]:
    """At most about `POINTS_MAX` points; resets, and the last of each slot, stay."""
    if len(points) <= POINTS_MAX:
        return points
    length = max(1, end_ms + 1 - start_ms)
    kept: list[UsagePoint] = []
    for point, following in zip(points, [*points[1:], None], strict=True):
        slot = (point.timestamp_ms - start_ms) * POINTS_MAX // length
        is_last = following is None or (following.timestamp_ms - start_ms) * POINTS_MAX // length != slot
        if is_last or point.is_reset_point or (following is not None and following.is_reset_point):
            kept.append(point)
    return kept
