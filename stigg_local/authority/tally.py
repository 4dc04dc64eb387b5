"""Counting a batch of raw events of one customer and resource.

Laws: an event counts in every window that its own time falls into; credits are charged by the increase of the usage
that an event causes; each row is written once for the batch.
"""

from stigg_local.authority import numbers
from stigg_local.authority.metering import Metering, fold_events, meters_of, put_folded
from stigg_local.clock import new_id
from stigg_local.core.customer import CustomerSnapshot
from stigg_local.core.entitlement import counting_windows, find_winner
from stigg_local.core.meter import Aggregate, CompiledMeter, Dimension, Reading
from stigg_local.core.sources import Catalog, contribution
from stigg_local.store.event_log_rows import MeterRow, WindowKey
from stigg_local.store.seals import customer_corrupt
from stigg_local.store.tx import Tx


class _Window:
    """One window while a batch is counted."""

    __slots__ = ("aggregate", "before", "is_changed", "is_new", "members", "number")

    def __init__(self, row: MeterRow, usage: int, *, is_new: bool) -> None:
        self.number = row.number
        self.aggregate = Aggregate(row.size, row.total)
        self.members = row.members
        self.before = usage
        self.is_changed = False
        self.is_new = is_new


class Tally:
    """Counts events of one customer and resource into every window that their own time falls into.

    The events must not be in the log yet. Credits are charged event by event; `close` writes the rest.
    """

    def __init__(
        self, tx: Tx, catalog: Catalog, snapshot: CustomerSnapshot, *, customer_id: str, resource_id: str
    ) -> None:
        self._tx = tx
        self._catalog = catalog
        self._snapshot = snapshot
        self._customer_id = customer_id
        self._resource_id = resource_id
        self._windows: dict[WindowKey, _Window] = {}
        self._intervals: dict[str, tuple[int, list[WindowKey]]] = {}
        self._meters = [(item, self._has_rate(item.meter.feature.id)) for item in meters_of(catalog).values()]

    def add(self, event_name: str, dimensions: dict[str, Dimension], created_ms: int) -> None:
        """Count one event with every meter that lets it in.

        Raises:
            InvalidInput: A number in it is beyond the range of a feature that it feeds, or zero at its scale.
        """
        for metering, has_rate in self._meters:
            reading = metering.meter.read(event_name, dimensions, strict=True)
            if reading is None:
                continue
            increases: dict[tuple[int, int], int] = {}
            for key in self._keys(metering, created_ms):
                window = self._windows.get(key) or self._load(metering, key)
                was = metering.meter.usage(window.aggregate) if has_rate else 0
                self._move(metering.meter, window, reading)
                if has_rate:
                    increases[key[2], key[3]] = metering.meter.usage(window.aggregate) - was
            if has_rate:
                self._charge(metering.meter, increases, created_ms)

    def close(self) -> dict[str, dict[tuple[int, int], tuple[int, int]]]:
        """Write what changed; returns, by feature, (from, to) -> (usage before, usage after) of it."""
        tx, customer_id = self._tx, self._customer_id
        moved: dict[str, dict[tuple[int, int], tuple[int, int]]] = {}
        meters = meters_of(self._catalog)
        for key, window in self._windows.items():
            if not window.is_changed:
                continue
            metering = meters[key[1]]
            count, total = window.aggregate.count, window.aggregate.total
            tx.put_meter(customer_id, key, MeterRow(window.number, metering.definition, count, total, window.members))
            if window.is_new:
                # Counters of windows that are surely over cost room and can be made again.
                tx.delete_counters_before(customer_id, key[0], key[1], tx.mark_ms)
            after = metering.meter.usage(window.aggregate)
            if after != window.before or window.is_new:
                tx.put_counter(customer_id, *key, after)
            moved.setdefault(key[1], {})[key[2], key[3]] = window.before, after
        return moved

    def _keys(self, metering: Metering, created_ms: int) -> list[WindowKey]:
        feature = metering.meter.feature
        known = self._intervals.get(feature.id)
        if known is not None and known[0] == created_ms:
            return known[1]
        keys = [
            (self._resource_id, feature.id, from_ms, to_ms)
            for from_ms, to_ms in counting_windows(
                self._catalog,
                self._snapshot,
                feature,
                resource_id=self._resource_id,
                at_ms=created_ms,
                now_ms=self._tx.now_ms,
            )
        ]
        self._intervals[feature.id] = created_ms, keys
        return keys

    def _load(self, metering: Metering, key: WindowKey) -> _Window:
        tx, customer_id = self._tx, self._customer_id
        counter = tx.counter(customer_id, *key)
        row = tx.meter(customer_id, key)
        if row is None or row.meter != metering.definition:
            tx.delete_meter(customer_id, key)
            row = put_folded(tx, metering, customer_id, key, *fold_events(tx, metering, customer_id, key))
        usage = metering.meter.usage(Aggregate(row.size, row.total))
        if counter is not None and counter != usage:
            raise customer_corrupt(customer_id, "a usage counter or what a meter counted")
        window = self._windows[key] = _Window(row, usage, is_new=counter is None)
        return window

    def _move(self, meter: CompiledMeter, window: _Window, reading: Reading) -> None:
        if reading.member is not None:
            added = self._tx.add_member(self._customer_id, window.number, reading.member)
            if added is None:
                window.is_changed = window.is_changed or window.is_new
                return
            window.members += added
        window.aggregate = meter.add(window.aggregate, reading)
        window.is_changed = True

    def _has_rate(self, feature_id: str) -> bool:
        feature = self._catalog.features[feature_id]
        found = (contribution(self._catalog, source, feature) for source in self._snapshot.sources)
        return any(item is not None and item.rate is not None for item in found)

    def _charge(self, meter: CompiledMeter, increases: dict[tuple[int, int], int], created_ms: int) -> None:
        feature, catalog = meter.feature, self._catalog
        then = find_winner(catalog, self._snapshot, feature, self._resource_id, created_ms)[0]
        if then is not None:
            numbers.charge_use(
                self._tx,
                catalog,
                self._snapshot,
                feature,
                then.contribution.rate,
                increases.get((then.from_ms, then.end_ms), 0),
                customer_id=self._customer_id,
                resource_id=self._resource_id,
                at_ms=created_ms,
                measurement_id=new_id(),
            )
