"""What `explain` gives: frozen records with attributes, `to_dict()` in camel case and a tree for people."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from stigg_local.core.answer import Entitlement
from stigg_local.core.catalog import Number
from stigg_local.core.command import camel
from stigg_local.core.explain_text import RULES, Branch, branch_of, lines, way_text
from stigg_local.core.period import to_datetime, to_text
from stigg_local.core.quantity import json_number

IN_FORCE, FUTURE, ENDED, OTHER_RESOURCE = "IN_FORCE", "FUTURE", "ENDED", "OTHER_RESOURCE"


# Instants are `*_ms` attributes, and text in `to_dict` under these names; the others lose the unit alone.
_INSTANTS = {"start_ms": "startAt", "end_ms": "endAt", "effective_ms": "effectiveAt", "expire_ms": "expireAt"}


class Shown(Struct, frozen=True, kw_only=True):
    """Base of what an explanation holds: attributes, and the same in camel case from `to_dict`."""

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON can hold it; instants are text, and what is unset is left out."""
        result: dict[str, Any] = {}
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is None:
                continue
            if name.endswith("_ms"):
                result[_INSTANTS.get(name) or camel(name.removesuffix("_ms"))] = to_text(value)
            else:
                result[camel(name)] = _plain(value)
        return result

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return msgspec.json.encode(self.to_dict()).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Shown | Entitlement):
        return value.to_dict()
    if isinstance(value, dict):
        # What stands in metadata is the application's own, and its keys stay as they are.
        return {camel(key): item if key == "metadata" else _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        # An id that is no valid text is a question like any other, and JSON cannot hold it.
        return value.encode(errors="backslashreplace").decode()
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return json_number(value) if is_number else value


class Question(Shown, frozen=True, kw_only=True):
    """What was asked; `type` is None for the generic getter."""

    customer_id: str
    feature_id: str
    resource_id: str | None = None
    requested_usage: Any = 0
    requested_values: tuple[str, ...] = ()
    type: str | None = None


class Gives(Shown, frozen=True, kw_only=True):
    """What a source or a package gives of the feature, or of the credit currency.

    Attributes:
        limit: The number of a numeric or metered feature; None with `is_unlimited`, and where there is none.
        credit_currency_id, credit_rate: What one unit of the feature costs.
        credit_amount, credit_cadence: Of a currency: how many credits, and how often (MONTH, YEAR, None for once).
    """

    is_granted: bool
    is_unlimited: bool = False
    limit: int | float | None = None
    has_soft_limit: bool = False
    enum_values: tuple[str, ...] | None = None
    reset_period: str | None = None
    reset_period_configuration: str | None = None
    credit_currency_id: str | None = None
    credit_rate: Decimal | None = None
    credit_amount: Number | Decimal | None = None
    credit_cadence: str | None = None


class PackageLine(Shown, frozen=True, kw_only=True):
    """One package of a subscription and what becomes of its statement.

    Attributes:
        kind: PLAN or ADDON.
        package_id, version, quantity: The package on the subscription.
        base_plan_id: The plan that the statement is inherited from.
        behavior: Increment or Override; None for the plan.
        gives: What it states, for one unit of quantity.
        units: The quantity committed to a per-unit price; it takes the place of the plan's limit.
        custom_value: The subscription's own value of a custom entitlement; None is unlimited with `is_custom`.
        counts: Whether it is part of what the source gives.
        adds: What it brings to the source's number, quantity and committed or own value included; None where it is
            unlimited, does not count, or there is no number.
        rule: BASE, ADDS, OVERRIDES, OVERRIDDEN, SMALLER_OVERRIDE, NOT_GRANTED, COMMITTED_UNITS, CUSTOM_VALUE.
    """

    kind: str
    package_id: str
    version: int
    quantity: int
    base_plan_id: str | None = None
    behavior: str | None = None
    gives: Gives
    units: Number | None = None
    is_custom: bool = False
    custom_value: Number | None = None
    counts: bool
    adds: Number | None = None
    rule: str


class SourceLine(Shown, frozen=True, kw_only=True):
    """One source of the feature, or of the credits of a currency.

    Attributes:
        kind: SUBSCRIPTION, TRIAL, PROMOTION, CREDIT_GRANT or FALLBACK.
        state: IN_FORCE, FUTURE, ENDED or OTHER_RESOURCE; what is not in force is listed and does not count.
        start_ms, end_ms: When it is in force, the end exclusive; None for ever.
        subscription_id, plan_id, plan_version, resource_id: Of a subscription or trial.
        origin: Of a fallback: call, file or dictionary; of a credit grant its type.
        grant_id: Of a credit grant, and of the credits of a subscription.
        gives: What it gives; None where it says nothing about the feature.
        packages: What its plan and add-ons state.
        wins: Whether the answer is this source's; of credits: whether the next credit is taken from it.
        counts: Whether it is part of the answer: it wins, it adds its values to those of an enum feature, or its
            credits to a balance.
        rule: Why it wins, or what the winner has before it: ONLY_SOURCE, GRANTED, UNLIMITED, LARGER_LIMIT, SOFT_LIMIT,
            SHORTER_RESET, SUBSCRIPTION_FIRST, TRIAL_FIRST, EARLIER_SOURCE, EXPLICIT_DENIAL, ADDS_VALUES, SAYS_NOTHING,
            NOT_IN_FORCE; of credits PRIORITY, EARLIER_EXPIRY, PROMOTIONAL_FIRST, EARLIER_START, EARLIER_GRANT,
            USED_UP; of fallbacks CALL_FIRST, FILE_FIRST, AUTHORITY_FIRST.
    """

    kind: str
    state: str = IN_FORCE
    start_ms: int | None = None
    end_ms: int | None = None
    subscription_id: str | None = None
    plan_id: str | None = None
    plan_version: int | None = None
    resource_id: str | None = None
    origin: str | None = None
    grant_id: str | None = None
    gives: Gives | None = None
    packages: tuple[PackageLine, ...] = ()
    wins: bool = False
    counts: bool = False
    rule: str = "SAYS_NOTHING"

    @property
    def rule_text(self) -> str:
        """The rule as a sentence."""
        return RULES[self.rule]

    def to_dict(self) -> dict[str, Any]:
        """As for every part, with `ruleText`."""
        return super().to_dict() | {"ruleText": self.rule_text}

    @property
    def start_at(self) -> datetime | None:
        """When it comes into force."""
        return to_datetime(self.start_ms)

    @property
    def end_at(self) -> datetime | None:
        """When it ends, exclusive."""
        return to_datetime(self.end_ms)


class CounterLine(Shown, frozen=True, kw_only=True):
    """The counter that the answer looked at; `counted_from_ms` is later than the window's start after a plan change.

    `remaining` is what is left below a hard limit, in reported units; `reserved` is what reservations hold of it, None
    where none do.
    """

    usage: int | float
    limit: int | float | None
    remaining: int | float | None
    reserved: int | float | None = None
    transformed_usage: int | None
    reset_period: str | None
    reset_period_configuration: str | None = None
    anchor_ms: int | None
    window_start_ms: int | None
    window_end_ms: int | None
    counted_from_ms: int | None

    @property
    def anchor(self) -> datetime | None:
        """The instant that windows are counted from."""
        return to_datetime(self.anchor_ms)

    @property
    def window_start(self) -> datetime | None:
        """When the window began."""
        return to_datetime(self.window_start_ms)

    @property
    def window_end(self) -> datetime | None:
        """When the window ends and the counter is reset, exclusive."""
        return to_datetime(self.window_end_ms)

    @property
    def counted_from(self) -> datetime | None:
        """From when on usage counts."""
        return to_datetime(self.counted_from_ms)

    def to_dict(self) -> dict[str, Any]:
        """As for every part, with `resetAt`: the window's end under the name that says what happens then."""
        told = super().to_dict()
        return told | ({"resetAt": told["windowEnd"]} if self.window_end_ms is not None else {})


class GrantLine(Shown, frozen=True, kw_only=True):
    """One credit grant; the list is in burn order, what cannot be spent now at its end."""

    id: str
    grant_type: str
    state: str
    amount: int | float
    consumed: int | float
    remaining: int | float
    priority: int
    effective_ms: int
    expire_ms: int | None
    subscription_id: str | None = None
    plan_id: str | None = None

    @property
    def effective_at(self) -> datetime | None:
        """From when on it can be spent."""
        return to_datetime(self.effective_ms)

    @property
    def expire_at(self) -> datetime | None:
        """When it expires, exclusive; None for never."""
        return to_datetime(self.expire_ms)


class CreditLine(Shown, frozen=True, kw_only=True):
    """The wallet that the answer looked at; `rate` is what one unit of the feature costs."""

    currency_id: str
    rate: Decimal | None
    remaining: int | float
    has_soft_limit: bool
    grants: tuple[GrantLine, ...]


class Way(Shown, frozen=True, kw_only=True):
    """One thing that turns the answer into yes, with the answer that it was seen to give.

    Attributes:
        kind: WAIT, LESS, UNITS, CUSTOM, ADDON, PLAN, CREDITS or PROMOTION.
        call, arguments: The client's call that does it, or that asks for less; None for waiting.
        entitlement: The answer afterwards.
        at_ms: Of WAIT: the first such instant.
        requested_usage, requested_values: Of LESS: the largest request of something that is granted now.
        units_less: Of LESS: by how much that is less than what was asked for.
        addon_id, quantity: Of ADDON: the smallest quantity. Of UNITS and PLAN: the smallest committed units; of CUSTOM
            and PLAN: the smallest value of a custom entitlement.
        plan_id: Of PLAN, UNITS, CUSTOM and ADDON.
        amount: Of CREDITS: the smallest grant.
        limit: Of PROMOTION: the smallest whole limit; None where it has none.
        resulting_limit: The limit or value afterwards; None where there is none, and where it is unlimited.
    """

    kind: str
    call: str | None = None
    arguments: dict[str, Any] = {}
    entitlement: Entitlement
    at_ms: int | None = None
    requested_usage: Any = None
    requested_values: tuple[str, ...] | None = None
    units_less: Any = None
    addon_id: str | None = None
    quantity: int | None = None
    plan_id: str | None = None
    amount: Any = None
    limit: int | None = None

    @property
    def resulting_limit(self) -> int | float | None:
        """The limit or value afterwards."""
        limit: int | float | None = getattr(self.entitlement, "usage_limit", getattr(self.entitlement, "value", None))
        return limit

    def __str__(self) -> str:
        return way_text(self)

    def to_dict(self) -> dict[str, Any]:
        """As for every part, with `resultingLimit` and `text`, the way as a sentence for people."""
        told = super().to_dict() | {"text": _plain(str(self))}
        return told if self.resulting_limit is None else told | {"resultingLimit": self.resulting_limit}

    @property
    def at(self) -> datetime | None:
        """The instant to wait for."""
        return to_datetime(self.at_ms)


class Explanation(Shown, frozen=True, kw_only=True):
    """Why an answer came out, and what would turn a no into a yes.

    Attributes:
        question: What was asked.
        entitlement: The answer itself, as the getter gives it.
        now_ms: The time for which everything here holds.
        sources: Everything that says something about the feature, in the order in which it was looked at.
        counter: Of a metered feature with a winner.
        credits: Of a credit currency, or of a feature that costs credits.
        ways: The nearest ways to yes, of each kind; empty where access is given.
        hint: What an id was probably meant to be, or which getter to ask; None where there is nothing to say.
        error: Why not everything could be looked at; None where it could.
    """

    question: Question
    entitlement: Entitlement
    now_ms: int
    sources: tuple[SourceLine, ...] = ()
    counter: CounterLine | None = None
    credits: CreditLine | None = None
    ways: tuple[Way, ...] = ()
    hint: str | None = None
    error: str | None = None

    @property
    def now(self) -> datetime | None:
        """The time for which everything here holds."""
        return to_datetime(self.now_ms)

    @property
    def winner(self) -> SourceLine | None:
        """The source that the answer is from."""
        return next((source for source in self.sources if source.wins), None)

    def tree(self) -> Branch:
        """The explanation for people: a text and the branches below it, as `str()` prints them."""
        return branch_of(self)

    def __str__(self) -> str:
        return "\n".join(lines(self.tree()))
