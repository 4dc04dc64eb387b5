"""What a transaction knows about itself, and its log of events.

Laws: an event is added in the transaction of the change that it tells, and only its body is ever changed, by a scrub;
the log's count and sum follow each change of it, so that a missing event is noticed, the newest included.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import json

from stigg_local.errors import StoreCorrupt
from stigg_local.store import statements as sql
from stigg_local.store.digest import AUDIT, AUDIT_ROOT, MASK, META, row_digest, row_sum, sum_bytes
from stigg_local.store.seals import undecodable

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw


class Event(NamedTuple):
    """One event of the log; `at_ms` is when it took effect, `customer_id` is '' for one of no customer."""

    seq: int
    ord: int
    customer_id: str
    type: str
    at_ms: int
    actor: str
    body: bytes


class EventSum:
    """Count and sum of the log while a transaction changes it."""

    __slots__ = ("count", "is_dirty", "total")

    def __init__(self, count: int, total: int) -> None:
        self.count = count
        self.total = total
        self.is_dirty = False

    def change(self, count: int, total: int) -> None:
        self.count += count
        self.total = (self.total + total) & MASK
        self.is_dirty = True


class EventRows:
    """What a transaction knows about itself, and the statements about events.

    Attributes:
        environment: First column of every key.
        seq: Number of this transaction when it writes, of the last one when it only reads.
        now_ms: The effective time, fixed once for the whole transaction.
        mark_ms: Up to here time has surely passed; before `now_ms` where the wall clock cannot be believed.
    """

    def __init__(
        self, cursor: apsw.Cursor, environment: str, *, seq: int, now_ms: int, mark_ms: int | None = None
    ) -> None:
        self._cursor = cursor
        self.environment = environment
        self.seq = seq
        self.now_ms = now_ms
        self.mark_ms = now_ms if mark_ms is None else mark_ms
        self.has_written = False
        self._ord = 0
        self._events: EventSum | None = None

    def next_ord(self) -> int:
        """A number that tells the rows of this transaction apart."""
        self._ord += 1
        return self._ord

    def take_ords(self, count: int) -> int:
        """The first of so many numbers as `next_ord` gives them."""
        self._ord += count
        return self._ord - count + 1

    def run(self, statement: str, bindings: tuple[Any, ...]) -> list[Any]:
        """Run one statement and return its rows; for this package only."""
        try:
            return self._cursor.execute(statement, bindings).fetchall()
        except UnicodeDecodeError as error:
            # Who keeps the exception must not keep the statement with it, which holds on to what it saw of the file.
            self._cursor.execute("SELECT 1").fetchall()
            raise undecodable() from error

    def _put(self, statement: str, bindings: tuple[Any, ...]) -> None:
        self.has_written = True
        self._cursor.execute(statement, bindings)

    def meta(self, key: str) -> str | None:
        """A value about the file as a whole, shared by all environments; a damaged one counts as absent."""
        rows = self.run(sql.META, (key,))
        if not rows or rows[0][1] != row_digest("", key, (META, rows[0][0])):
            return None
        return str(rows[0][0])

    def set_meta(self, key: str, value: str) -> None:
        """Set a value about the file as a whole."""
        self._put(sql.PUT_META, (key, value, row_digest("", key, (META, value))))

    # ------------------------------------------------------------------ events

    def append_event(self, type: str, customer_id: str, at_ms: int, actor: str, body: bytes = b"") -> None:
        """Add one event to the log.

        Args:
            type: What happened.
            customer_id: Whom it happened to; '' for nobody.
            at_ms: When it took effect, which may be before now.
            actor: Who did it.
            body: The rest, with ids only: never a name, an address or metadata.
        """
        row = (self.seq, self.next_ord(), customer_id, type, at_ms, actor, body)
        new = row_sum(self.environment, "", (AUDIT, *row))
        self.event_sum().change(1, new)
        self._put(sql.PUT_EVENT, (self.environment, *row, sum_bytes(new)))

    def events(
        self,
        after: tuple[int, int] = (0, 0),
        limit: int = 100,
        *,
        customer_id: str | None = None,
        types: Iterable[str] | None = None,
    ) -> list[Event]:
        """A page of the log in the order of (seq, ord).

        Args:
            after: Position of the page before's last event.
            limit: At most so many.
            customer_id: Whose events; None for everybody's.
            types: Which types; None for all.

        Raises:
            StoreCorrupt: An event does not match its digest; the message has its position, to go on after it.
        """
        statement = sql.EVENTS if customer_id is None else sql.EVENTS_OF
        return self._found_events(statement, after, limit, customer_id, types)

    def newest_events(
        self, limit: int = 100, *, customer_id: str | None = None, types: Iterable[str] | None = None
    ) -> list[Event]:
        """The last `limit` events, oldest first; arguments and errors as in `events`."""
        statement = sql.NEWEST_EVENTS if customer_id is None else sql.NEWEST_EVENTS_OF
        return self._found_events(statement, (0, 0), limit, customer_id, types)[::-1]

    def _found_events(
        self,
        statement: str,
        after: tuple[int, int],
        limit: int,
        customer_id: str | None,
        types: Iterable[str] | None,
    ) -> list[Event]:
        wanted = None if types is None else json.encode(list(types)).decode()
        found = []
        for *row, digest in self.run(statement, (self.environment, wanted, *after, customer_id, limit)):
            if digest != row_digest(self.environment, "", (AUDIT, *row)):
                raise StoreCorrupt(
                    f"event ({row[0]}, {row[1]}) does not match its digest",
                    hint="restore a backup, or go on after it",
                )
            found.append(Event(*row))
        return found

    def event_position(self) -> tuple[int, int]:
        """(seq, ord) of the newest event; (0, 0) for an empty log."""
        rows = self.run(sql.EVENT_POSITION, (self.environment,))
        return rows[0] if rows else (0, 0)

    def verify_events(self) -> None:
        """Check that no event is missing or changed; raises StoreCorrupt."""
        stored = self._stored_event_sum()
        count, total = self._summed_events()
        if stored is None or (stored.count, stored.total) != (count, total):
            raise StoreCorrupt("the event log does not match its digest", hint="restore a backup")

    def has_events_before(self, before_ms: int) -> bool:
        """Whether the log begins with an event from before `before_ms`."""
        return any(row[4] < before_ms for row in self.run(sql.OLDEST_EVENTS, (self.environment, 1)))

    def purge_events(self, before_ms: int, limit: int) -> int:
        """Forget at most `limit` events from the beginning of the log, up to the first that is not so old."""
        purged = 0
        for row in self.run(sql.OLDEST_EVENTS, (self.environment, limit)):
            if row[4] >= before_ms:
                break
            self.event_sum().change(-1, -row_sum(self.environment, "", (AUDIT, *row)))
            self._put(sql.DELETE_EVENT, (self.environment, *row[:2]))
            purged += 1
        return purged

    def event_sum(self) -> EventSum:
        """Count and sum of the log as this transaction has left them; for this package only."""
        if self._events is None:
            # Where the sum itself is damaged it is made anew, for no command may be stopped by that.
            self._events = self._stored_event_sum() or EventSum(*self._summed_events())
        return self._events

    def _stored_event_sum(self) -> EventSum | None:
        """As it is stored; None where that row is damaged."""
        rows = self.run(sql.AUDIT_ROOT, (self.environment,))
        if not rows:
            return EventSum(0, 0)
        count, root, seq, digest = rows[0]
        if digest != row_digest(self.environment, "", (AUDIT_ROOT, count, root, seq)):
            return None
        return EventSum(count, int.from_bytes(root, "little"))

    def _summed_events(self) -> tuple[int, int]:
        count = total = 0
        for row in self._cursor.connection.execute(sql.ALL_EVENTS, (self.environment,)):
            count += 1
            total += row_sum(self.environment, "", (AUDIT, *row))
        return count, total & MASK

    def seal(self) -> None:
        """Write the row that sums up what a command did to the log."""
        events = self._events
        if events is None or not events.is_dirty:
            return
        row = (events.count, sum_bytes(events.total), self.seq)
        self._put(sql.PUT_AUDIT_ROOT, (self.environment, *row, row_digest(self.environment, "", (AUDIT_ROOT, *row))))
        events.is_dirty = False

    def forget(self) -> None:
        """After a rollback to a savepoint: nothing remembered about rows is true any more."""
        self._events = None
