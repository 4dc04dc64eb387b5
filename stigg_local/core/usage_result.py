"""What reporting events and asking for the history of usage give."""

from datetime import datetime
from typing import Any, ClassVar

from msgspec import Struct

from stigg_local.core.period import to_datetime, to_text
from stigg_local.core.result import Result
from stigg_local.core.words import UsageMarkerType


class ReportEventsResult(Result, frozen=True):
    """What reporting raw events gives.

    Attributes:
        accepted: Events that are new.
        duplicates: Events that were there already and have been ignored.
        durability: The level at which they were kept when the call returned; "none" of an offline client.
    """

    accepted: int
    duplicates: int
    durability: str


class UsagePoint(Struct, frozen=True):
    """Usage at an instant, in reported units.

    Attributes:
        timestamp_ms: When.
        value: The usage from then on.
        is_reset_point: True where usage began anew.
    """

    timestamp_ms: int
    value: int | float
    is_reset_point: bool = False

    @property
    def timestamp(self) -> datetime:
        """When."""
        at = to_datetime(self.timestamp_ms)
        assert at is not None, "a point has a time"
        return at

    def to_dict(self) -> dict[str, Any]:
        """The wire's shape."""
        return {
            "timestamp": to_text(self.timestamp_ms),
            "value": self.value,
            "isResetPoint": self.is_reset_point,
        }


class UsageMarker(Struct, frozen=True):
    """An instant at which usage began anew, and why."""

    timestamp_ms: int
    type: UsageMarkerType

    @property
    def timestamp(self) -> datetime:
        """When."""
        at = to_datetime(self.timestamp_ms)
        assert at is not None, "a marker has a time"
        return at

    def to_dict(self) -> dict[str, Any]:
        """The wire's shape."""
        return {"timestamp": to_text(self.timestamp_ms), "type": self.type.value}


class UsageHistory(Result, frozen=True, kw_only=True):
    """How usage of a feature went.

    Attributes:
        points: In the order of time; each holds until the next.
        markers: Where usage began anew.
        start_date, end_date: The time that was asked for.
    """

    _dates: ClassVar[dict[str, str]] = {"start_ms": "start_date", "end_ms": "end_date"}

    customer_id: str
    feature_id: str
    resource_id: str | None
    start_ms: int
    end_ms: int
    points: tuple[UsagePoint, ...]
    markers: tuple[UsageMarker, ...]

    @property
    def start_date(self) -> datetime | None:
        """From when on."""
        return to_datetime(self.start_ms)

    @property
    def end_date(self) -> datetime | None:
        """Until when, inclusive."""
        return to_datetime(self.end_ms)
