"""Arguments of the calls about events, bulk reports and history, checked for their shape."""

from collections.abc import Mapping, Sequence
from typing import Any

from stigg_local.authority.events import ReportEvent
from stigg_local.authority.history import AskHistory
from stigg_local.authority.usage import ReportUsage
from stigg_local.calls import check_dimensions, stamp, usage_command
from stigg_local.core import command as shape
from stigg_local.core.ids import check_id, optional_id, told
from stigg_local.core.period import to_ms
from stigg_local.core.usage_result import ReportEventsResult
from stigg_local.errors import InvalidInput

EVENTS_MAX = 1000
REPORTS_MAX = 100
EVENT_BYTES_MAX = 1_000_000

EVENT_FIELDS = ("customer_id", "event_name", "idempotency_key", "resource_id", "dimensions", "timestamp")
_EVENT_REQUIRED, _EVENT_KNOWN = frozenset(EVENT_FIELDS[:3]), frozenset(EVENT_FIELDS)
REPORT_FIELDS = (
    "customer_id",
    "feature_id",
    "value",
    "resource_id",
    "update_behavior",
    "created_at",
    "dimensions",
    "idempotency_key",
)


def event_commands(events: object) -> list[ReportEvent]:
    """The commands of `report_event`, of one event or of several.

    Raises:
        InvalidInput: An event has another shape; it names the key.
    """
    if isinstance(events, Mapping):
        return [_event(events, "event")]
    if isinstance(events, str | bytes) or not isinstance(events, Sequence):
        raise InvalidInput(
            f"event is `{told(events)}`", code="InvalidArgumentError", hint="pass one mapping, or a list of them"
        )
    if len(events) > EVENTS_MAX:
        raise InvalidInput(
            f"there are {len(events)} events", code="InvalidArgumentError", hint=f"pass up to {EVENTS_MAX} at once"
        )
    return [_event(item, f"events[{number}]") for number, item in enumerate(events)]


def bulk_commands(usages: object) -> tuple[list[ReportUsage], list[str | None]]:
    """The commands of `report_usage_bulk` and their keys.

    Raises:
        InvalidInput: A report has another shape, or there are too many.
    """
    if isinstance(usages, str | bytes | Mapping) or not isinstance(usages, Sequence):
        raise InvalidInput(f"usages is `{told(usages)}`", code="InvalidArgumentError", hint="pass a list of mappings")
    if len(usages) > REPORTS_MAX:
        raise InvalidInput(
            f"there are {len(usages)} reports", code="InvalidArgumentError", hint=f"pass up to {REPORTS_MAX} at once"
        )
    commands, keys = [], []
    for number, item in enumerate(usages):
        found = shape.fields(item, REPORT_FIELDS, f"usages[{number}]", required=REPORT_FIELDS[:3])
        commands.append(
            usage_command(
                found["customer_id"],
                found["feature_id"],
                found["value"],
                resource_id=found.get("resource_id"),
                behavior=found.get("update_behavior") or "DELTA",
                created_at=found.get("created_at"),
                dimensions=found.get("dimensions"),
            )
        )
        keys.append(optional_id(found.get("idempotency_key"), f"usages[{number}].idempotency_key"))
    return commands, keys


def history_command(
    customer_id: object, feature_id: object, resource_id: object, start_date: object, end_date: object
) -> AskHistory:
    """What `get_usage_history` asks.

    Raises:
        InvalidInput: An argument has another shape.
    """
    start_ms = to_ms(start_date, name="start_date")
    end_ms = None if end_date is None else to_ms(end_date, name="end_date")
    if end_ms is not None and end_ms < start_ms:
        raise InvalidInput(
            f"end_date `{told(end_date)}` is before start_date", code="InvalidArgumentError", hint="swap them"
        )
    return AskHistory(
        customer_id=check_id(customer_id, "customer_id"),
        feature_id=check_id(feature_id, "feature_id"),
        resource_id=optional_id(resource_id, "resource_id"),
        start_ms=max(start_ms, 0),
        end_ms=end_ms,
    )


def unkept() -> ReportEventsResult:
    """What reporting events gives where nothing is kept, as offline."""
    return ReportEventsResult(0, 0, "none")


def _event(item: object, where: str) -> ReportEvent:
    found: Any = item
    if type(item) is not dict or not (item.keys() >= _EVENT_REQUIRED and item.keys() <= _EVENT_KNOWN):
        found = shape.fields(item, EVENT_FIELDS, where, required=EVENT_FIELDS[:3])
    return ReportEvent(
        customer_id=check_id(found["customer_id"], f"{where}.customer_id"),
        event_name=check_id(found["event_name"], f"{where}.event_name"),
        idempotency_key=check_id(found["idempotency_key"], f"{where}.idempotency_key"),
        resource_id=optional_id(found.get("resource_id"), f"{where}.resource_id"),
        created_ms=stamp(found.get("timestamp"), f"{where}.timestamp", "an event"),
        dimensions=check_dimensions(found.get("dimensions"), f"{where}.dimensions", size_max=EVENT_BYTES_MAX) or {},
    )
