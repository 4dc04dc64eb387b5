"""The rows of raw events, of what meters have made of them, and of thresholds that were told.

Laws: events are part of the customer's log, so a missing or changed one shows in its sum; what meters made of them can
be folded from them again; a key is taken once. An event at `FOLDED_MS` stands for those that a compaction took out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import msgpack

from stigg_local.core.usage import AHEAD_MS_MAX
from stigg_local.store import event_log_statements as sql
from stigg_local.store.digest import (
    MEMBER_OF_METER,
    METER,
    THRESHOLD,
    USAGE_EVENT,
    fingerprint,
    row_digest,
    row_sum,
    sum_bytes,
)
from stigg_local.store.measurement_rows import MeasurementRows
from stigg_local.store.seals import FOLDED_MS, customer_corrupt

_encode = msgpack.Encoder().encode

# In place of `from_ms`: a set that nothing counts in any more, whose members are still to be deleted.
DEAD_MS = -2

WindowKey = tuple[str, str, int, int]
"""(resource_id, feature_id, from_ms, to_ms)."""


class UsageEvent(NamedTuple):
    """One raw event; `created_ms` is when it happened, `at_ms` when it was stored."""

    created_ms: int
    seq: int
    ord: int
    event_name: str
    idempotency_key: str
    at_ms: int
    body: bytes


class MeterRow(NamedTuple):
    """What a meter has made of one window.

    Attributes:
        number: What the members of its set are stored under.
        meter: Stands for the meter's definition.
        size, total: The count and the total of `core.meter.Aggregate`.
        members: Sum of the digests of the set's members.
    """

    number: int
    meter: bytes
    size: int = 0
    total: int = 0
    members: int = 0


class EventLogRows(MeasurementRows):
    """The statements of raw events and meters."""

    # ------------------------------------------------------------------ events

    def take_event_key(
        self, customer_id: str, resource_id: str, event_name: str, key: str, stamp_ms: int | None
    ) -> bool:
        """Take the key of an event; False where such an event is there already.

        Args:
            stamp_ms: When it happened, as its caller said, which is part of what makes two events the same; None
                where it is now.
        """
        statement = sql.TAKE_KEY if stamp_ms is None else sql.TAKE_STAMPED_KEY
        key_hash = event_key_hash(resource_id, event_name, key)
        bindings = (self.environment, customer_id, key_hash, self.now_ms if stamp_ms is None else stamp_ms)
        self._cursor.execute(statement, bindings)
        self.has_written = True
        return self._cursor.connection.changes() > 0

    def append_usage_events(
        self, customer_id: str, resource_id: str, events: Iterable[tuple[int, str, str, bytes]]
    ) -> None:
        """Add events as (created_ms, event_name, idempotency_key, body) to the customer's log."""
        environment, seq, now_ms, total = self.environment, self.seq, self.now_ms, 0
        rows = []
        for created_ms, event_name, key, body in events:
            row = (resource_id, created_ms, seq, self.next_ord(), event_name, key, now_ms, body)
            new = row_sum(environment, customer_id, (USAGE_EVENT, *row))
            total += new
            rows.append((environment, customer_id, *row, sum_bytes(new)))
        self._touch(customer_id).log += total
        self._cursor.executemany(sql.PUT_USAGE_EVENT, rows)

    def usage_events(self, customer_id: str, resource_id: str, from_ms: int, to_ms: int) -> Iterator[UsageEvent]:
        """The events of one resource that happened in [from_ms, to_ms), in the order of their time.

        Raises:
            StoreCorrupt: One of them does not match its digest.
        """
        bindings = (self.environment, customer_id, resource_id, from_ms, to_ms)
        for *row, digest in self._cursor.connection.execute(sql.USAGE_EVENTS, bindings):
            if digest != row_digest(self.environment, customer_id, (USAGE_EVENT, resource_id, *row)):
                raise customer_corrupt(customer_id, "a raw event")
            yield UsageEvent(*row)

    def folded_events(self, customer_id: str, resource_id: str) -> list[UsageEvent]:
        """What compactions have left of events; the feature's id is in place of the idempotency key."""
        return list(self.usage_events(customer_id, resource_id, FOLDED_MS, 0))

    def event_resources(self, customer_id: str) -> list[str]:
        """The resources that events were ever reported of; '' stands for none."""
        found: list[str] = []
        rows = self.run(sql.FIRST_EVENT_RESOURCE, (self.environment, customer_id))
        while rows:
            found.append(rows[0][0])
            rows = self.run(sql.NEXT_EVENT_RESOURCE, (self.environment, customer_id, found[-1]))
        return found

    def replace_events(
        self,
        customer_id: str,
        resource_id: str,
        taken: Sequence[UsageEvent],
        replaced: Mapping[str, tuple[bytes, ...]],
        added: Mapping[str, tuple[bytes, ...]],
    ) -> None:
        """Take events out of the log, with their keys, and put what was folded of them in.

        Args:
            taken: Events as they were read.
            replaced: Feature id -> the bodies that stand for all its folded events from now on.
            added: Feature id -> bodies that come to those it has.
        """
        environment = self.environment
        old = [event for event in self.folded_events(customer_id, resource_id) if event.idempotency_key in replaced]
        total = 0
        for event in (*taken, *old):
            total -= row_sum(environment, customer_id, (USAGE_EVENT, resource_id, *event))
        place = (environment, customer_id, resource_id)
        self._cursor.executemany(sql.DELETE_USAGE_EVENT, [(*place, *event[:3]) for event in (*taken, *old)])
        self._cursor.executemany(
            sql.DELETE_EVENT_KEY,
            [
                (environment, customer_id, event_key_hash(resource_id, event[3], event[4]), *stamps_of(event))
                for event in taken
            ],
        )
        seal = self._touch(customer_id)
        seal.log += total
        for feature_id, bodies in (*replaced.items(), *added.items()):
            for body in bodies:
                row = (resource_id, FOLDED_MS, self.seq, self.next_ord(), "", feature_id, self.now_ms, body)
                new = row_sum(environment, customer_id, (USAGE_EVENT, *row))
                seal.log += new
                self._cursor.execute(sql.PUT_USAGE_EVENT, (environment, customer_id, *row, sum_bytes(new)))

    # ------------------------------------------------------------------ what meters made of them

    def meter(self, customer_id: str, key: WindowKey) -> MeterRow | None:
        """What a meter has made of a window; None where it was not looked at yet."""
        rows = self.run(sql.METER, (self.environment, customer_id, *key))
        return self._meter_row(customer_id, key, rows[0]) if rows else None

    def _meter_row(self, customer_id: str, key: WindowKey, row: Sequence[Any]) -> MeterRow:
        number, meter, count, total, members, seq, digest = row
        whole = (METER, *key, number, meter, count, total, members, seq)
        if digest != row_digest(self.environment, customer_id, whole):
            raise customer_corrupt(customer_id, "what a meter counted")
        return MeterRow(number, meter, count, int(total), int.from_bytes(members, "little"))

    def meters(self, customer_id: str) -> dict[WindowKey, MeterRow]:
        """What meters have made of all the windows of a customer."""
        return {
            (row[0], row[1], row[2], row[3]): self._meter_row(customer_id, row[:4], row[4:])
            for row in self.run(sql.METERS, (self.environment, customer_id))
        }

    def put_meter(self, customer_id: str, key: WindowKey, row: MeterRow) -> None:
        """Store what a meter has made of a window."""
        values = (*key, row.number, row.meter, row.size, str(row.total), sum_bytes(row.members), self.seq)
        digest = row_digest(self.environment, customer_id, (METER, *values))
        self._put(sql.PUT_METER, (self.environment, customer_id, *values, digest))

    def delete_meter(self, customer_id: str, key: WindowKey) -> None:
        """Forget what a meter has made of a window; the members of its set are deleted by `delete_dead_members`."""
        rows = self.run(sql.METER, (self.environment, customer_id, *key))
        if not rows:
            return
        self._put(sql.DELETE_METER, (self.environment, customer_id, *key))
        number = rows[0][0]
        if self.run(sql.ANY_MEMBER, (self.environment, customer_id, number)):
            self.put_meter(customer_id, (key[0], key[1], DEAD_MS, number), MeterRow(number, b""))

    def delete_all_meters(self, customer_id: str) -> None:
        """Forget everything that meters have made of the customer's events, damaged rows too."""
        for statement in sql.DELETE_METERS:
            self._put(statement, (self.environment, customer_id))

    def add_member(self, customer_id: str, number: int, value: bytes) -> int | None:
        """Put a value into a set; returns its digest to add to the sum, None where it was in it."""
        self._cursor.execute(sql.ADD_MEMBER, (self.environment, customer_id, number, value))
        if not self._cursor.connection.changes():
            return None
        self.has_written = True
        return row_sum(self.environment, customer_id, (MEMBER_OF_METER, number, value))

    def has_dead_meters(self, customer_id: str) -> bool:
        """Whether there are sets that nothing counts in any more."""
        return bool(self.run(sql.DEAD_METERS, (self.environment, customer_id)))

    def delete_dead_members(self, customer_id: str, limit: int) -> int:
        """Delete at most so many members of sets that nothing counts in any more; returns how many."""
        whole, deleted = (self.environment, customer_id), 0
        for key in self.run(sql.DEAD_METERS, whole):
            self._put(sql.DELETE_MEMBERS, (*whole, key[3], limit - deleted))
            deleted += self._cursor.connection.changes()
            if deleted >= limit:
                break
            self._put(sql.DELETE_METER, (*whole, *key))
        return deleted

    # ------------------------------------------------------------------ thresholds

    def told_threshold(self, customer_id: str, key: WindowKey) -> int:
        """The highest threshold in percent that was told of a window; 0 where none was, or the row is damaged."""
        rows = self.run(sql.THRESHOLD, (self.environment, customer_id, *key))
        if not rows:
            return 0
        percent, seq, digest = rows[0]
        is_whole = digest == row_digest(self.environment, customer_id, (THRESHOLD, *key, percent, seq))
        return int(percent) if is_whole else 0

    def put_threshold(self, customer_id: str, key: WindowKey, percent: int) -> None:
        """Remember the highest threshold that was told of a window."""
        row = (*key, percent, self.seq)
        digest = row_digest(self.environment, customer_id, (THRESHOLD, *row))
        self._put(sql.PUT_THRESHOLD, (self.environment, customer_id, *row, digest))

    def delete_thresholds_before(self, customer_id: str, to_ms: int) -> None:
        """Forget what was told of windows that ended by `to_ms`."""
        if self.run(sql.ANY_THRESHOLD_BEFORE, (self.environment, customer_id, to_ms)):
            self._put(sql.DELETE_THRESHOLDS, (self.environment, customer_id, to_ms))

    # ------------------------------------------------------------------ what is old

    def usage_from_ms(self) -> int:
        """What happened before this instant may have been folded: usage of that time is not taken any more."""
        return int(self.meta(sql.USAGE_FROM + self.environment) or 0)

    def put_usage_from(self, from_ms: int) -> None:
        """Let usage of the time before `from_ms` be refused; it never goes back."""
        if from_ms > self.usage_from_ms():
            self.set_meta(sql.USAGE_FROM + self.environment, str(from_ms))


def stamps_of(event: UsageEvent) -> tuple[int, int]:
    """The first and the last stamp that an event may have been given: one a little ahead was taken as now."""
    return event.created_ms, event.created_ms + (AHEAD_MS_MAX if event.created_ms >= event.at_ms else 0)


def event_key_hash(resource_id: str, event_name: str, key: str) -> bytes:
    """Sixteen bytes for what tells one event of a customer from every other, its time apart."""
    return fingerprint(_encode((resource_id, event_name, key)))
