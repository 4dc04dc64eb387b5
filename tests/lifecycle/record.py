"""What the model keeps of a customer: plain mutable records in lists, copied whole before every command."""

from calendar import monthrange
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = 3_600_000
DAY = 24 * HOUR


def ms(text: str) -> int:
    """Epoch milliseconds of an ISO instant."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


def text(at: int | None) -> str | None:
    """The instant as the seed prints it."""
    return None if at is None else f"{EPOCH + timedelta(milliseconds=at):%Y-%m-%dT%H:%M:%S}.{at % 1000:03d}Z"


def months_after(anchor: int, count: int) -> int:
    """The anchor plus so many months, the day clamped to the end of the month."""
    moment = EPOCH + timedelta(milliseconds=anchor)
    year, month = divmod(moment.year * 12 + moment.month - 1 + count, 12)
    day = min(moment.day, monthrange(year, month + 1)[1])
    return (moment.replace(year=year, month=month + 1, day=day) - EPOCH) // timedelta(milliseconds=1)


def period_at(anchor: int, months: int, at: int) -> tuple[int, int]:
    """The window of `months` months from the anchor that holds the instant, found by walking."""
    count = 0
    while months_after(anchor, (count + 1) * months) <= at:
        count += 1
    while months_after(anchor, count * months) > at:
        count -= 1
    return months_after(anchor, count * months), months_after(anchor, (count + 1) * months)


Bought = tuple[int, int, int]


@dataclass
class Terms:
    """What is bought: a plan at a version and the quantities beside it.

    An add-on is (quantity, version, price version).
    """

    plan: str
    version: int
    price_version: int
    period: str | None = None
    country: str | None = None
    units: dict[str, int] = field(default_factory=dict)
    addons: dict[str, Bought] = field(default_factory=dict)
    custom: dict[str, int | None] = field(default_factory=dict)


@dataclass
class Change:
    """An update that waits for its instant (`Scheduled`) or for a payment (`PendingPayment`, no instant)."""

    kind: str
    status: str
    terms: Terms
    at: int | None
    re_anchors: bool = False
    metadata: dict[str, str] | None = None
    coupon: str | None = None


@dataclass
class Sub:
    """One subscription."""

    id: str
    customer: str
    product: str
    terms: Terms
    created: int
    start: int
    anchor: int
    usage_anchor: int
    cut: int
    resource: str | None = None
    trial_end: int | None = None
    behavior: str | None = None
    is_trial: bool = False
    is_started: bool = False
    re_anchors: bool = False
    pending_until: int | None = None
    cancel_at: int | None = None
    action: str = "DEFAULT"
    end: int | None = None
    reason: str | None = None
    waiting: list[Change] = field(default_factory=list)
    metadata: dict[str, str] | None = None
    coupon: str | None = None
    collection: str = "NOT_REQUIRED"
    error: str | None = None
    paid_until: int = 0

    @property
    def is_over(self) -> bool:
        return self.end is not None

    @property
    def runs(self) -> bool:
        """Whether it entitles now."""
        return self.is_started and self.end is None and self.pending_until is None

    @property
    def last(self) -> int | None:
        """When access ends by what is known now."""
        if self.end is not None:
            return self.end
        trial_end = self.trial_end if self.is_trial and self.behavior == "CANCEL_SUBSCRIPTION" else None
        ends = [end for end in (self.cancel_at, trial_end) if end is not None]
        return min(ends, default=None)

    def status(self) -> str:
        if self.end is not None:
            return "EXPIRED" if self.reason in ("TrialEnded", "PendingPaymentExpired", "Expired") else "CANCELED"
        if self.pending_until is not None:
            return "PAYMENT_PENDING"
        if not self.is_started:
            return "NOT_STARTED"
        return "IN_TRIAL" if self.is_trial else "ACTIVE"


@dataclass
class Promotion:
    """One promotional entitlement."""

    feature: str
    start: int
    end: int | None
    limit: int | None
    is_soft: bool
    reset: str | None


@dataclass
class Person:
    """One customer."""

    id: str
    created: int
    updated: int
    name: str | None = None
    email: str | None = None
    coupon: str | None = None
    metadata: dict[str, str] | None = None
    is_archived: bool = False
    resources: list[str] = field(default_factory=list)
    subs: list[Sub] = field(default_factory=list)
    promotions: list[Promotion] = field(default_factory=list)
    log: list[tuple[str | None, str, str, Any, int]] = field(default_factory=list)


@dataclass
class Charge:
    """What a payment provider was asked to collect."""

    amount: Decimal
    currency: str
    reason: str


@dataclass
class Owed:
    """What the next tick collects: a trial that became paid, a start, a renewal."""

    sub: str
    at: int
    reason: str
