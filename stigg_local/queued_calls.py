"""Usage reports that return at once: checked against what memory knows, put into the queue, visible at once.

A report like the one before it (one more of the same feature, now) meets a lane: what was checked then holds until
the customer changes or time does. Everything else goes the long way, through the rules.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from stigg_local.authority.events import check_not_folded
from stigg_local.authority.queued import QueuedUsage
from stigg_local.authority.usage import ReportUsage
from stigg_local.authority.usage_check import created_at, entitled_or_refused, metered_feature
from stigg_local.calls import usage_command
from stigg_local.core.command import canonical
from stigg_local.core.entitlement import CustomerView, counting_windows, find_winner
from stigg_local.core.ids import check_id
from stigg_local.core.quantity import POWERS, RAW_MAX, from_raw, to_raw
from stigg_local.core.queued import DimensionedReport, QueuedReport, Subject
from stigg_local.core.result import ReportUsageResult
from stigg_local.core.usage import DELTA, add
from stigg_local.errors import IdempotencyConflict, NotFound
from stigg_local.store.digest import fingerprint
from stigg_local.store.queued import WAIT_DEFAULT_S

if TYPE_CHECKING:
    from stigg_local.embedded import Embedded

_OPERATION = "reportUsage"
_encode = msgspec.msgpack.Encoder().encode
_decode_reply = msgspec.msgpack.Decoder(ReportUsageResult).decode


class Lane:
    """What is known of the next report of a customer, feature and resource, while the slot holds `seen`.

    It holds in [from_ms, until_ms): a wall clock that ran ahead may come back. `usage` is what the current window will
    have counted, all queued reports included; raw.
    """

    __slots__ = (
        "customer_id",
        "end_ms",
        "from_ms",
        "power",
        "scale",
        "seen",
        "slot",
        "start_ms",
        "subject",
        "until_ms",
        "usage",
    )

    customer_id: str
    subject: Subject
    slot: int
    seen: int
    from_ms: int
    until_ms: int
    scale: int
    power: int
    usage: int
    start_ms: int | None
    end_ms: int | None


class Desk:
    """Takes queued reports of one client."""

    def __init__(self, embedded: "Embedded", *, size: int | None, wait_s: float | None) -> None:
        self._store = embedded.store
        self._replica = embedded.replica
        self._wait_s = WAIT_DEFAULT_S if wait_s is None else wait_s
        self._queue = embedded.store.queue_for(QueuedUsage(embedded.authority.runner).store, size=size)
        self._generation = embedded.store.generation
        self._now_ms: Callable[[], int] = embedded.store.now_ms

    def report(
        self,
        customer_id: str,
        feature_id: str,
        value: Any,
        resource_id: str | None,
        behavior: str,
        created_at: Any,
        dimensions: Mapping[str, Any] | None,
        key: str | None,
    ) -> ReportUsageResult:
        """Check one report and queue it.

        Raises:
            UsageQueueFull: The queue stays full; nothing was taken in.
            StiggError: What `report_usage` raises, as far as memory knows it.
        """
        queue = self._queue
        try:
            # A forked child has none of them.
            lane: Lane = queue.lanes[customer_id, feature_id, resource_id]
            if (
                type(value) is int
                and behavior == "DELTA"
                and created_at is None
                and dimensions is None
                and key is None
                and value >= 0
            ):
                now_ms = self._now_ms()
                raw = value * lane.power
                with queue.lock:
                    usage = lane.usage + raw
                    if (
                        self._generation[lane.slot] == lane.seen
                        and lane.from_ms <= now_ms < lane.until_ms
                        and usage <= RAW_MAX
                        and queue.depth < queue.size
                    ):
                        report_id = f"{queue.prefix}{queue.number:012x}"
                        report = QueuedReport(report_id, "DELTA", raw, now_ms)
                        queue.add_locked(lane.customer_id, report, lane.subject)
                        lane.usage = usage
                        return ReportUsageResult(
                            measurement_id=report_id,
                            current_usage=from_raw(usage, lane.scale),
                            usage_period_start_ms=lane.start_ms,
                            usage_period_end_ms=lane.end_ms,
                            durability="queued",
                        )
        except (KeyError, TypeError):
            pass
        command = usage_command(
            customer_id,
            feature_id,
            value,
            resource_id=resource_id,
            behavior=behavior,
            created_at=created_at,
            dimensions=dimensions,
        )
        return self._report(command, None if key is None else check_id(key, "idempotency_key"))

    def _report(self, command: ReportUsage, key: str | None) -> ReportUsageResult:
        queue = self._queue
        body = b"" if key is None else fingerprint(repr(canonical(command)).encode(errors="replace"))
        while True:
            if key is not None:
                known = self._known(key, body)
                if known is not None:
                    return known
            if queue.depth >= queue.size:
                queue.wait_for_room(self._wait_s)
            # In this order: what memory holds may be newer than what was asked for first, and then it is asked again.
            pending = queue.pending(command.customer_id)
            checked = _Checked(self, command)
            with queue.lock:
                queue.check_open_locked()
                is_news = queue.pending_locked(command.customer_id) != pending
                if is_news or queue.depth >= queue.size or (key is not None and key in queue.keys):
                    continue
                return self._accept(command, key, body, checked)

    def _accept(self, command: ReportUsage, key: str | None, body: bytes, checked: "_Checked") -> ReportUsageResult:
        queue, lane = self._queue, checked.lane
        report_id = f"{queue.prefix}{queue.number:012x}"
        result = ReportUsageResult(
            measurement_id=report_id,
            current_usage=from_raw(lane.usage, lane.scale),
            usage_period_start_ms=lane.start_ms,
            usage_period_end_ms=lane.end_ms,
            durability="queued",
        )
        report = QueuedReport(report_id, command.behavior, checked.value, checked.created_ms)
        if command.dimensions:
            dimensions = dict(command.dimensions)
            report = DimensionedReport(report_id, command.behavior, checked.value, checked.created_ms, dimensions)
        subject = lane.subject
        if key is not None:
            subject = Subject(lane.subject.feature_id, lane.subject.resource_id, False, key, body, _encode(result))
            queue.keys[key] = body, result
        elif command.behavior != DELTA or checked.value < 0:
            subject = Subject(lane.subject.feature_id, lane.subject.resource_id, False)
        queue.add_locked(command.customer_id, report, subject)
        queue.add_lane_locked(
            (command.customer_id, command.feature_id, command.resource_id), command.customer_id, lane
        )
        return result

    def _known(self, key: str, body: bytes) -> ReportUsageResult | None:
        """What was returned for the key, from the queue or, stored meanwhile, from the file."""
        result: ReportUsageResult | None
        queued = self._queue.keys.get(key)
        if queued is not None:
            seen, result = queued
        else:
            stored = self._store.read(lambda tx: tx.idempotency(_OPERATION, key))
            if stored is None:
                return None
            seen, result = stored[0], None
            if seen == body:
                result = _decode_reply(stored[1])
        if seen != body or result is None:
            raise IdempotencyConflict(
                f"idempotency_key `{key}` was used for another {_OPERATION}",
                hint="use a new key for a new request, and the same arguments with the same key",
            )
        return result


class _Checked:
    """A report that the rules let pass, as far as memory knows: its raw value and time, and the lane behind it."""

    def __init__(self, desk: Desk, command: ReportUsage) -> None:
        slot, seen, _, _, view, catalog = desk._replica.held(command.customer_id)
        now_ms = desk._now_ms()
        view = _existing(view, command)
        feature = metered_feature(catalog, command.feature_id)
        resource_id = command.resource_id or ""
        self.value = to_raw(command.value, feature.scale, name="value")
        self.created_ms = created_at(command.created_ms, now_ms)
        if command.created_ms is not None:
            check_not_folded(self.created_ms, desk._store.read(lambda tx: tx.usage_from_ms()), "created_at")
        current, _, is_active, until_ms = find_winner(catalog, view.snapshot, feature, resource_id, now_ms)
        current = entitled_or_refused(current, command.customer_id, feature, is_active=is_active)
        window = current.from_ms, current.end_ms
        usage = view.counters.get((resource_id, feature.id, *window), 0)
        for from_ms, to_ms in counting_windows(
            catalog, view.snapshot, feature, resource_id=resource_id, at_ms=self.created_ms, now_ms=now_ms
        ):
            before = view.counters.get((resource_id, feature.id, from_ms, to_ms), 0)
            after = add(feature, before, command.behavior, self.value)
            if (from_ms, to_ms) == window:
                usage = after
        has_period = current.contribution.reset_period is not None
        lane = self.lane = Lane()
        lane.customer_id, lane.subject = command.customer_id, Subject(feature.id, resource_id, True)
        lane.slot, lane.seen = slot, seen
        lane.from_ms, lane.until_ms = now_ms, until_ms
        lane.scale, lane.power = feature.scale, POWERS[feature.scale]
        lane.usage = usage
        lane.start_ms = current.start_ms if has_period else None
        lane.end_ms = current.end_ms if has_period else None


def _existing(view: CustomerView | None, command: ReportUsage) -> CustomerView:
    if view is None or view.snapshot.is_archived:
        raise NotFound(
            f"customer `{command.customer_id}` does not exist",
            code="CustomerNotFound",
            hint="provision_customer makes one",
        )
    if command.resource_id is not None and command.resource_id not in view.snapshot.resource_ids:
        raise NotFound(
            f"customer `{command.customer_id}` has no resource `{command.resource_id}`",
            code="CustomerResourceNotFound",
            hint="a resource is known from its first subscription",
        )
    return view
