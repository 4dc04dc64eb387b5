"""Events as calls and listeners give them. Source: semantics §14."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from stigg_local.core.event import Event
from stigg_local.core.period import to_datetime
from stigg_local.core.result import Result


class EventResult(Result, frozen=True, kw_only=True):
    """One change of state.

    Attributes:
        id: Its place in the log, to go on from; None where a listener is told before the log is read.
        type: The webhook's name, for example `subscription.created`.
        timestamp: When it changed; the boundary's own instant where time changed it.
        actor: `application`, or `system` for what time did.
        customer_id, subscription_id, feature_id: What it is about; no customer where it is the catalog.
        data: What else tells the change, as text.
    """

    _nulls: ClassVar[tuple[str, ...]] = ("customer_id",)
    _dates: ClassVar[dict[str, str]] = {"at_ms": "timestamp"}

    id: str | None
    type: str
    at_ms: int
    actor: str
    customer_id: str | None
    subscription_id: str | None
    feature_id: str | None
    data: Mapping[str, str]

    @property
    def timestamp(self) -> datetime | None:
        """When it changed."""
        return to_datetime(self.at_ms)

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON can hold it."""
        return super().to_dict() | {"data": dict(self.data)}


def event_result(event: Event, *, actor: str) -> EventResult:
    """An event as listeners get it."""
    return EventResult(
        id=None,
        type=event.type,
        at_ms=event.at_ms,
        actor=event.actor or actor,
        customer_id=event.customer_id or None,
        subscription_id=event.subscription_id,
        feature_id=event.feature_id,
        data=event.data,
    )
