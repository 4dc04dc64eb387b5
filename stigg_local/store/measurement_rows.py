"""The rows of measurements in a transaction: single ones, and packs of those that were stored together.

Laws: who reads cannot tell the two apart; both are part of the customer's log, so a missing or changed one shows in
its sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from stigg_local.core.queued import QueuedReport
from stigg_local.store import statements as sql
from stigg_local.store.digest import MEASUREMENT, MEASUREMENT_PACK, row_digest, row_sum, sum_bytes
from stigg_local.store.hold_rows import HoldRows
from stigg_local.store.pack import Measurement, alone, measurements, packs, unpacked
from stigg_local.store.seals import customer_corrupt, undecodable

Place = tuple[str, str, str, str]
"""(environment, customer id, resource id, feature id): whose measurements of what."""


class MeasurementRows(HoldRows):
    """The statements of measurements."""

    # ------------------------------------------------------------------ writing

    def append_measurement(
        self,
        customer_id: str,
        resource_id: str,
        feature_id: str,
        measurement_id: str,
        behavior: str,
        value: int,
        created_ms: int,
        body: bytes = b"",
    ) -> None:
        """Add one measurement to the customer's log."""
        row = (self.seq, self.next_ord(), measurement_id, behavior, value, created_ms, self.now_ms, body)
        self._put_single((self.environment, customer_id, resource_id, feature_id), row)

    def append_measurements(
        self, customer_id: str, resource_id: str, feature_id: str, reports: Sequence[QueuedReport]
    ) -> None:
        """Add measurements of one feature to the customer's log, in order of arrival: several are packed."""
        place = self.environment, customer_id, resource_id, feature_id
        self._put_reports(place, self.seq, self.take_ords(len(reports)), self.now_ms, reports)

    def _put_single(self, place: Place, row: tuple[Any, ...]) -> None:
        environment, customer_id, resource_id, feature_id = place
        digest = row_digest(environment, customer_id, (MEASUREMENT, resource_id, feature_id, *row))
        self._touch(customer_id).log += int.from_bytes(digest, "little")
        self._put(sql.PUT_MEASUREMENT, (environment, customer_id, resource_id, feature_id, *row, digest))

    def _put_reports(self, place: Place, seq: int, ord_: int, at_ms: int, reports: Sequence[QueuedReport]) -> None:
        """Put reports whose numbers go on from `ord_`."""
        seal = self._touch(place[1])
        done = 0
        for pack in packs(reports):
            if pack.size == 1:
                self._put_single(place, alone(reports[done], seq, ord_ + done, at_ms))
            else:
                packed = (seq, ord_ + done, pack.first_ms, pack.last_ms, pack.size, at_ms, pack.body)
                new = row_sum(*place[:2], (MEASUREMENT_PACK, *place[2:], *packed))
                seal.log += new
                self._put(sql.PUT_PACK, (*place, *packed, sum_bytes(new)))
            done += pack.size

    # ------------------------------------------------------------------ reading

    def measurements(
        self, customer_id: str, resource_id: str, feature_id: str, from_ms: int, to_ms: int
    ) -> list[Measurement]:
        """The measurements created in [from_ms, to_ms), in the order in which they arrived."""
        place = self.environment, customer_id, resource_id, feature_id
        rows = self.run(sql.MEASUREMENTS_IN, (*place, from_ms, to_ms))
        return [row for row in measurements(_verified(place, rows)) if from_ms <= row.created_ms < to_ms]

    def has_measurements(self, customer_id: str) -> set[tuple[str, str]]:
        """The (resource_id, feature_id) pairs that were ever measured."""
        found: set[tuple[str, str]] = set()
        for statement in sql.NEXT_MEASURED:
            last = ("", "")
            while rows := self.run(statement, (self.environment, customer_id, *last)):
                last = rows[0]
                found.add(last)
        return found

    # ------------------------------------------------------------------ compaction

    def old_measurements(
        self, customer_id: str, resource_id: str, feature_id: str, before_ms: int, limit: int
    ) -> list[Measurement]:
        """At most so many of the oldest measurements, up to the first from `before_ms` or later."""
        place = self.environment, customer_id, resource_id, feature_id
        found: list[Measurement] = []
        # Of its own, and one row after another: there may be very many.
        cursor = self._cursor.connection.cursor()
        try:
            for row in islice(measurements(_verified(place, cursor.execute(sql.MEASUREMENTS, place))), limit):
                if max(row.created_ms, row.at_ms) >= before_ms:
                    break
                found.append(row)
        except UnicodeDecodeError as error:
            raise undecodable() from error
        finally:
            cursor.close(True)
        return found

    def replace_measurements(
        self, customer_id: str, resource_id: str, feature_id: str, last: Measurement, value: int
    ) -> None:
        """Put one measurement that sets the usage in the place of the oldest ones; it belongs to no later window.

        Args:
            customer_id, resource_id, feature_id: Whose of what.
            last: The newest of those that go; what was stored together with it and is newer stays.
            value: The usage, raw.
        """
        place = self.environment, customer_id, resource_id, feature_id
        up_to = *place, last.seq, last.ord
        stored = self.run(sql.MEASUREMENTS_UP_TO, up_to)
        # Each was right when `last` was read.
        self._touch(customer_id).log -= sum(int.from_bytes(row[-1], "little") for row in stored)
        for statement in sql.DELETE_MEASUREMENTS_UP_TO:
            self._put(statement, up_to)
        self._put_single(place, Measurement(last.seq, last.ord, "", "SET", value, 0, last.at_ms, b""))
        tag, _, first, *_, body, _, _ = stored[-1]
        if tag == MEASUREMENT_PACK:
            self._put_reports(place, last.seq, last.ord + 1, last.at_ms, unpacked(body)[last.ord + 1 - first :])


def _verified(place: Place, rows: Iterable[Any]) -> Iterator[Any]:
    """Rows as `statements.MEASUREMENTS` gives them, without their digests, which were right."""
    for tag, *row, digest in rows:
        whole = (tag, *place[2:], *(row if tag == MEASUREMENT else row[:-1]))
        if digest != row_digest(*place[:2], whole):
            raise customer_corrupt(place[1], "a measurement")
        yield (tag, *row)
