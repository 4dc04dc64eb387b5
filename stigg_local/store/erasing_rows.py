"""Taking what an application wrote of a person out of the usage rows of a customer.

Laws: what was counted stays as it is, and so do sums and digests; a damaged row is emptied and stays damaged.
"""

from __future__ import annotations

from typing import Any

from stigg_local.store.digest import MEASUREMENT, MEASUREMENT_PACK, USAGE_EVENT, row_sum, sum_bytes
from stigg_local.store.event_log_rows import EventLogRows
from stigg_local.store.pack import NOTHING, without_dimensions

_PAGE = 2000
_MEASUREMENTS = (
    "SELECT resource_id, feature_id, seq, ord, measurement_id, behavior, value, created_ms, at_ms, body, digest"
    " FROM measurement WHERE environment = ? AND customer_id = ?"
    f" AND (resource_id, feature_id, seq, ord) > (?, ?, ?, ?) ORDER BY resource_id, feature_id, seq, ord LIMIT {_PAGE}"
)
_EMPTY_MEASUREMENT = (
    "UPDATE measurement SET body = x'', digest = ? WHERE environment = ? AND customer_id = ? AND resource_id = ?"
    " AND feature_id = ? AND seq = ? AND ord = ?"
)
_PACK_PAGE = 50
# The text as bytes: a damaged one may be none any more.
_PACKS = (
    "SELECT resource_id, feature_id, seq, ord, first_ms, last_ms, count, at_ms, CAST(body AS BLOB), digest"
    " FROM measurement_pack WHERE environment = ? AND customer_id = ?"
    " AND (resource_id, feature_id, seq, ord) > (?, ?, ?, ?) ORDER BY resource_id, feature_id, seq, ord"
    f" LIMIT {_PACK_PAGE}"
)
_EMPTY_PACK = (
    "UPDATE measurement_pack SET body = ?, digest = ? WHERE environment = ? AND customer_id = ? AND resource_id = ?"
    " AND feature_id = ? AND seq = ? AND ord = ?"
)
_EVENTS = (
    "SELECT resource_id, created_ms, seq, ord, event_name, idempotency_key, at_ms, body, digest FROM usage_event"
    " WHERE environment = ? AND customer_id = ? AND (resource_id, created_ms, seq, ord) > (?, ?, ?, ?)"
    f" ORDER BY resource_id, created_ms, seq, ord LIMIT {_PAGE}"
)
_DELETE_EVENTS = (
    "DELETE FROM usage_event WHERE environment = ? AND customer_id = ?",
    "DELETE FROM usage_event_key WHERE environment = ? AND customer_id = ?",
    "DELETE FROM usage_threshold WHERE environment = ? AND customer_id = ?",
)


class ErasingRows(EventLogRows):
    """The statements that erase."""

    def scrub_usage(self, customer_id: str) -> int:
        """Empty the dimensions of all measurements, and take out raw events with what meters kept of them.

        For a customer who will never be asked about again: counters stay, and nothing can be counted anew from events.

        Returns:
            How many rows of measurements and of events there were to change.
        """
        changed = self._empty_measurements(customer_id) + self._empty_packs(customer_id)
        changed += self._delete_events(customer_id)
        self.delete_all_meters(customer_id)
        return changed

    def _empty_measurements(self, customer_id: str) -> int:
        environment, changed, total = self.environment, 0, 0
        after: tuple[Any, ...] = ("", "", -1, -1)
        while rows := self.run(_MEASUREMENTS, (environment, customer_id, *after)):
            emptied = []
            for *row, body, digest in rows:
                if not body:
                    continue
                old = row_sum(environment, customer_id, (MEASUREMENT, *row, body))
                new = row_sum(environment, customer_id, (MEASUREMENT, *row, b""))
                is_whole = digest == sum_bytes(old)
                total += new - old if is_whole else 0
                kept = sum_bytes(new) if is_whole else digest
                emptied.append((kept, environment, customer_id, *row[:4]))
            if emptied:
                self._cursor.executemany(_EMPTY_MEASUREMENT, emptied)
            changed += len(emptied)
            after = rows[-1][:4]
        if changed:
            self._touch(customer_id).log += total
        return changed

    def _empty_packs(self, customer_id: str) -> int:
        whole, changed, total = (self.environment, customer_id), 0, 0
        after: tuple[Any, ...] = ("", "", -1, -1)
        while rows := self.run(_PACKS, (*whole, *after)):
            for *row, stored, digest in rows:
                body = stored.decode(errors="replace")
                old = row_sum(*whole, (MEASUREMENT_PACK, *row, body))
                is_whole = digest == sum_bytes(old)
                emptied = without_dimensions(body) if is_whole else NOTHING
                if emptied == body:
                    continue
                new = row_sum(*whole, (MEASUREMENT_PACK, *row, emptied))
                total += new - old if is_whole else 0
                self._put(_EMPTY_PACK, (emptied, sum_bytes(new) if is_whole else digest, *whole, *row[:4]))
                changed += 1
            after = rows[-1][:4]
        if changed:
            self._touch(customer_id).log += total
        return changed

    def _delete_events(self, customer_id: str) -> int:
        environment, deleted, total = self.environment, 0, 0
        after: tuple[Any, ...] = ("", -(1 << 62), 0, 0)
        while rows := self.run(_EVENTS, (environment, customer_id, *after)):
            for *row, digest in rows:
                old = row_sum(environment, customer_id, (USAGE_EVENT, *row))
                if digest == sum_bytes(old):
                    total += old
            deleted += len(rows)
            after = rows[-1][:4]
        if deleted:
            self._touch(customer_id).log -= total
            for statement in _DELETE_EVENTS:
                self._put(statement, (environment, customer_id))
        return deleted
