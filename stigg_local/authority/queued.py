"""Stores queued reports: one command for each customer, many customers in a transaction.

Law: a group of reports is stored once, under the key that it got when it was taken from the queue, and counts as its
reports would have counted one after another, each in the windows of its own time.
"""

from collections.abc import Sequence
from functools import partial
from itertools import islice

from msgspec import Struct

from stigg_local.authority import numbers, thresholds
from stigg_local.authority.events import check_not_folded
from stigg_local.authority.run import Runner
from stigg_local.core.catalog import Feature
from stigg_local.core.entitlement import CounterKey, counting_windows, find_winner
from stigg_local.core.event import Event
from stigg_local.core.quantity import RAW_MAX
from stigg_local.core.queued import QueuedReport, Subject, next_boundary
from stigg_local.core.sources import Rate
from stigg_local.core.usage import add
from stigg_local.errors import IdempotencyConflict, NotFound, StiggError, StoreCorrupt
from stigg_local.store.commit import Member
from stigg_local.store.digest import slot_of
from stigg_local.store.queued import Group
from stigg_local.store.tx import Tx

_OPERATION = "reportUsage"


class QueuedUsage:
    """Stores groups of queued reports."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def store(self, groups: Sequence[Group]) -> list[Exception | None]:
        """Store every group; returns what became of each."""
        happened: list[list[Event]] = [[] for _ in groups]
        members = [
            Member(partial(self._count, group, events), _OPERATION, group.key, "disk")
            for group, events in zip(groups, happened, strict=True)
        ]
        self._runner.store.write_all(members)
        outcomes = [self._outcome(*one) for one in zip(groups, members, happened, strict=True)]
        for outcome, events in zip(outcomes, happened, strict=True):
            if outcome is None:
                self._runner.told(events)
        return outcomes

    def _outcome(self, group: Group, member: Member, happened: list[Event]) -> Exception | None:
        error = member.error
        if isinstance(error, StoreCorrupt):
            try:
                self._runner.repair(group.customer_id)
                self._runner.store.write(partial(self._count, group, happened), operation=_OPERATION, key=group.key)
            except StiggError as again:
                return again
            return None
        if error is not None and not isinstance(error, Exception):
            raise error
        return error

    def _count(self, group: Group, happened: list[Event], tx: Tx) -> None:
        self._runner.tell_into(happened)
        if tx.idempotency(_OPERATION, group.key) is not None:
            return
        group.seq, group.seen = tx.seq, self._runner.store.generation[slot_of(group.customer_id)]
        group.refused.clear()
        work = _Work(self._runner, tx, group)
        place = 0
        while place < len(group.items):
            taken = 0
            try:
                taken = work.add_run(group, place)
                if not taken:
                    work.add(group.items[place], group.subjects[place])
            except StiggError as error:
                if isinstance(error, StoreCorrupt):
                    raise
                group.refused.append((group.items[place].id, error))
            place += taken or 1
        work.finish()
        tx.put_idempotency(_OPERATION, group.key, group.customer_id, b"queued", b"")


class _Place(Struct, gc=False):
    """What reports of one feature and resource have in common in [from_ms, until_ms); `charged` is what costs."""

    feature: Feature
    keys: list[CounterKey]
    from_ms: int
    until_ms: int
    charged: CounterKey | None = None
    rate: Rate | None = None


class _Work:
    """The reports of one group in one transaction; a counter is written once, however many reports it takes."""

    def __init__(self, runner: Runner, tx: Tx, group: Group) -> None:
        self._runner = runner
        self._tx = tx
        self._catalog = runner.catalog(tx)
        self._snapshot = runner.snapshot(tx, group.customer_id, None)
        self._customer_id = group.customer_id
        self._kept_from_ms = tx.usage_from_ms()
        # What the counters held before, and what they will hold.
        self._before: dict[CounterKey, int] = {}
        self._counters: dict[CounterKey, int] = {}
        # What is stored, by resource and feature, each in the order of arrival; and those of it that have a key.
        self._logs: dict[tuple[str, str], list[QueuedReport]] = {}
        self._keyed: list[Subject] = []
        self._places: dict[tuple[str, str], _Place] = {}

    def add_run(self, group: Group, start: int) -> int:
        """Count as many plain additions of one subject in the same windows as follow each other; returns how many.

        Their order does not matter, and none of them can be refused, so they count at once.
        """
        items, subjects = group.items, group.subjects
        subject: Subject = subjects[start]
        place = self._place_at(subject, items[start].created_ms) if subject.is_plain else None
        if place is None or place.rate is not None:
            return 0
        from_ms, until_ms = place.from_ms, place.until_ms
        total, end = 0, start
        for item, other in zip(islice(items, start, None), islice(subjects, start, None), strict=True):
            if other is not subject or not from_ms <= item.created_ms < until_ms:
                break
            total += item.value
            end += 1
        counters = self._counters
        if any(counters[key] + total > RAW_MAX for key in place.keys):
            return 0
        for key in place.keys:
            counters[key] += total
        self._logs.setdefault(subject.place, []).extend(items[start:end])
        return end - start

    def add(self, item: QueuedReport, subject: Subject) -> None:
        """Count one report.

        Raises:
            StiggError: It is refused, and nothing of it counts.
        """
        if subject.key is not None and self._is_repeated(subject, subject.key):
            return
        place, counters = self._place_at(subject, item.created_ms), self._counters
        moved = [
            (key, counters[key], add(place.feature, counters[key], item.behavior, item.value)) for key in place.keys
        ]
        for key, _, after in moved:
            counters[key] = after
        if place.rate is not None:
            self._charge(place, item, subject.resource_id, moved)
        self._logs.setdefault(subject.place, []).append(item)
        if subject.key is not None:
            self._keyed.append(subject)

    def finish(self) -> None:
        """Write what was counted."""
        tx, customer_id = self._tx, self._customer_id
        for key, value in self._counters.items():
            tx.put_counter(customer_id, *key, value)
        for (resource_id, feature_id), items in self._logs.items():
            tx.append_measurements(customer_id, resource_id, feature_id, items)
        self._tell_thresholds()
        for subject in self._keyed:
            assert subject.key is not None, "only reports with a key are kept for their replies"
            tx.put_idempotency(_OPERATION, subject.key, customer_id, subject.fingerprint, subject.reply)

    def _tell_thresholds(self) -> None:
        """The group is one write: of what it crossed in a window the highest is told."""
        tx, catalog, snapshot = self._tx, self._catalog, self._snapshot
        for resource_id, feature_id in self._places:
            feature = catalog.features[feature_id]
            winner, _, _, _ = find_winner(catalog, snapshot, feature, resource_id, tx.now_ms)
            if winner is None:
                continue
            window = winner.from_ms, winner.end_ms
            key = resource_id, feature_id, *window
            if key in self._counters:
                thresholds.tell(
                    self._runner,
                    tx,
                    customer_id=self._customer_id,
                    resource_id=resource_id,
                    feature=feature,
                    winner=winner,
                    moved={window: (self._before[key], self._counters[key])},
                )

    def _is_repeated(self, subject: Subject, key: str) -> bool:
        stored = self._tx.idempotency(_OPERATION, key)
        if stored is not None and stored[0] != subject.fingerprint:
            raise IdempotencyConflict(f"idempotency_key `{key}` was used for another {_OPERATION}")
        return stored is not None

    def _place_at(self, subject: Subject, at_ms: int) -> _Place:
        where = subject.place
        place = self._places.get(where)
        if place is None or not place.from_ms <= at_ms < place.until_ms:
            place = self._places[where] = self._place_of(*where, at_ms)
        return place

    def _place_of(self, resource_id: str, feature_id: str, at_ms: int) -> _Place:
        tx, catalog, snapshot = self._tx, self._catalog, self._snapshot
        check_not_folded(at_ms, self._kept_from_ms, "created_at")
        feature = catalog.features.get(feature_id)
        if feature is None:
            raise NotFound(f"feature `{feature_id}` does not exist any more", code="FeatureNotFound")
        place = _Place(feature, [], at_ms, next_boundary(snapshot, at_ms))
        for from_ms, to_ms in counting_windows(
            catalog, snapshot, feature, resource_id=resource_id, at_ms=at_ms, now_ms=tx.now_ms
        ):
            key = resource_id, feature_id, from_ms, to_ms
            place.keys.append(key)
            place.until_ms = min(place.until_ms, to_ms)
            if key not in self._counters:
                known = tx.counter(self._customer_id, *key)
                if known is None:
                    known = numbers.fold_log(tx, feature, self._customer_id, resource_id, from_ms, to_ms)
                    tx.delete_counters_before(self._customer_id, resource_id, feature.id, tx.mark_ms)
                self._before[key] = self._counters[key] = known
        winner, _, _, until_ms = find_winner(catalog, snapshot, feature, resource_id, at_ms)
        place.until_ms = min(place.until_ms, until_ms)
        rate = None if winner is None else winner.contribution.rate
        if winner is not None and rate is not None and rate.currency_id in catalog.currencies:
            place.rate = rate
            place.charged = resource_id, feature_id, winner.from_ms, winner.end_ms
        return place

    def _charge(
        self, place: _Place, item: QueuedReport, resource_id: str, moved: list[tuple[CounterKey, int, int]]
    ) -> None:
        numbers.charge_use(
            self._tx,
            self._catalog,
            self._snapshot,
            place.feature,
            place.rate,
            next((after - before for key, before, after in moved if key == place.charged), 0),
            customer_id=self._customer_id,
            resource_id=resource_id,
            at_ms=item.created_ms,
            measurement_id=item.id,
        )
