"""Reading the log of events: pages with a cursor, and waiting for what comes next."""

from collections.abc import Sequence

import msgspec

from stigg_local.authority.run import EventBody, Runner
from stigg_local.clock import SystemClock
from stigg_local.core.event_result import EventResult
from stigg_local.core.ids import told
from stigg_local.core.page import Page
from stigg_local.errors import InvalidInput
from stigg_local.store.tx import Tx

_decode = msgspec.json.Decoder(EventBody).decode
# How long a caller waits is real time, whatever clock the store was given.
_elapsed = SystemClock()


class Audit:
    """The log of events of one store."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def page(
        self, *, after: str | None, limit: int, customer_id: str | None, types: Sequence[str] | None, wait_s: float
    ) -> Page[EventResult]:
        """Events in the order in which they were written, from the beginning or strictly after a cursor.

        Args:
            after: The id of an event, or the `.next` of a page.
            limit: How many at most.
            customer_id: Only this customer's.
            types: Only of these types.
            wait_s: How long to wait for one where there is none yet.

        Returns:
            `.items`, and `.next`, from where to go on; it is set as soon as there is any event at all.
        """
        place = _place(after)
        until_s = _elapsed.monotonic() + wait_s
        while True:
            page = self._read(place, limit, customer_id, types)
            left_s = until_s - _elapsed.monotonic()
            if page.items or left_s <= 0:
                return page
            # Past what was looked at and is not asked for, to wait for what comes next.
            place = _place(page.next)
            self._runner.store.wait_for_events(place, left_s)

    def _read(
        self, place: tuple[int, int], limit: int, customer_id: str | None, types: Sequence[str] | None
    ) -> Page[EventResult]:
        def work(tx: Tx) -> Page[EventResult]:
            found = tx.events(place, limit, customer_id=customer_id, types=types)
            items = tuple(
                EventResult(
                    id=f"{row.seq}.{row.ord}",
                    type=row.type,
                    at_ms=row.at_ms,
                    actor=row.actor,
                    customer_id=row.customer_id or None,
                    subscription_id=body.subscription_id,
                    feature_id=body.feature_id,
                    data=body.data,
                )
                for row in found
                for body in (_decode(row.body or b"{}"),)
            )
            # Where the page is not full, everything that is there was looked at.
            last = (found[-1].seq, found[-1].ord) if len(found) == limit else max(place, tx.event_position())
            return Page(items=items, next=None if last == (0, 0) else f"{last[0]}.{last[1]}")

        return self._runner.store.read(work)

    def newest(self, *, limit: int, customer_id: str | None, types: Sequence[str] | None) -> str | None:
        """The cursor before the newest `limit` events; None where that is the beginning."""

        def work(tx: Tx) -> str | None:
            found = tx.newest_events(limit + 1, customer_id=customer_id, types=types)
            return f"{found[0].seq}.{found[0].ord}" if len(found) > limit else None

        return self._runner.store.read(work)


def _place(cursor: str | None) -> tuple[int, int]:
    if cursor is None:
        return 0, 0
    seq, _, order = cursor.partition(".")
    if not (seq.isdecimal() and order.isdecimal()) or len(cursor) > 40:
        raise InvalidInput(
            f"the cursor is `{told(cursor)}`", code="InvalidArgumentError", hint="pass an event's id, like `12.0`"
        )
    return int(seq), int(order)
