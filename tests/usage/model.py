"""A slow model of usage: it keeps what was said to it and counts everything again whenever it is asked.

It shares no code with the engine: windows, filters and functions are written out here from the rules, for one customer
with one running subscription whose features reset daily or never.
"""

from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

DAY = 24 * 3600 * 1000


@dataclass
class Said:
    """A report or an event, in the order of arrival."""

    at: int
    resource: str
    feature: str | None = None
    behavior: str = "DELTA"
    value: Decimal = Decimal(0)
    name: str = ""
    dimensions: dict[str, Any] = field(default_factory=dict)


@dataclass
class Model:
    """One customer."""

    catalog: dict[str, Any]
    never_resets: bool
    said: list[Said] = field(default_factory=list)
    keys: list[tuple[str, str, str, int]] = field(default_factory=list)
    plan: str | None = None
    start: int = 0
    anchor: int = 0

    def subscribe(self, plan: str, now: int) -> None:
        """Take a plan, or change to it: usage windows begin anew, or go on where the product says so."""
        if plan == self.plan:
            return
        if self.plan is None or not self.never_resets:
            self.anchor = now
            self.start = now
        self.plan = plan

    def report(self, feature: str, value: Decimal, behavior: str, at: int, resource: str = "") -> None:
        self.said.append(Said(at, resource, feature=feature, behavior=behavior, value=value))

    def event(
        self, name: str, key: str, dimensions: dict[str, Any], stamp: int | None, now: int, resource: str = ""
    ) -> bool:
        """Whether the event is new."""
        at = now if stamp is None else stamp
        for known in self.keys:
            if known[:3] == (resource, name, key) and (stamp is None or known[3] == stamp):
                return False
        self.keys.append((resource, name, key, at))
        self.said.append(Said(min(at, now), resource, name=name, dimensions=dimensions))
        return True

    def usage(self, feature_id: str, now: int, resource: str = "") -> Decimal | None:
        """Usage in the window in force now; None where the plan does not entitle."""
        plan = next(item for item in self.catalog["plans"] if item["id"] == self.plan)
        entitlement = next((item for item in plan["entitlements"] if item["featureId"] == feature_id), None)
        if entitlement is None:
            return None
        begin, end = 0, 1 << 60
        if entitlement.get("resetPeriod") == "DAY":
            begin = self.anchor + (now - self.anchor) // DAY * DAY
            end = begin + DAY
            begin = max(begin, self.start)
        feature = next(item for item in self.catalog["features"] if item["id"] == feature_id)
        mine = [item for item in self.said if item.resource == resource and begin <= item.at < end]
        if "meter" in feature:
            return metered(feature, [item for item in mine if item.feature is None])
        return folded(feature, [item for item in mine if item.feature == feature_id])


def folded(feature: dict[str, Any], said: list[Said]) -> Decimal:
    usage = Decimal(0)
    for item in said:
        usage = item.value if item.behavior == "SET" else usage + item.value
        usage = max(usage, Decimal(0))
    return usage


def metered(feature: dict[str, Any], said: list[Said]) -> Decimal:
    """A meter's function over the events that any of its filters lets in."""
    meter = feature["meter"]
    quantum = Decimal(1).scaleb(-feature.get("scale", 6))
    values: list[Any] = []
    for item in said:
        if not lets_in(meter, item):
            continue
        if meter["function"] == "COUNT":
            values.append(Decimal(1))
            continue
        value = item.dimensions.get(meter["field"])
        if value is None:
            continue
        if meter["function"] == "UNIQUE":
            values.append((type(value) is bool, isinstance(value, str), value))
        elif type(value) in (int, float):
            values.append(Decimal(repr(value)).quantize(quantum, ROUND_HALF_UP))
    if not values:
        return Decimal(0)
    match meter["function"]:
        case "COUNT":
            found = Decimal(len(values))
        case "UNIQUE":
            found = Decimal(len(set(values)))
        case "SUM":
            found = sum(values, Decimal(0))
        case "MAX":
            found = max(values)
        case "MIN":
            found = min(values)
        case _:
            found = (sum(values, Decimal(0)) / len(values)).quantize(quantum, ROUND_HALF_UP)
    return max(found, Decimal(0))


def lets_in(meter: dict[str, Any], said: Said) -> bool:
    filters = meter.get("filters", [])
    return not filters or any(all(holds(condition, said) for condition in item["conditions"]) for item in filters)


def holds(condition: dict[str, Any], said: Said) -> bool:
    """One condition, as the rules have it: a number compares as a number, everything else as text."""
    field_name = condition["field"]
    value = said.name if field_name == "eventName" else said.dimensions.get(field_name)
    operation = condition["operation"]
    if operation == "IS_NULL":
        return bool(value is None)
    if value is None:
        return bool(operation == "NOT_EQUALS")
    if operation == "IS_NOT_NULL":
        return True
    if operation == "IN":
        return any(holds(condition | {"operation": "EQUALS", "value": item}, said) for item in condition["values"])
    wanted = condition["value"]
    if operation in ("CONTAINS", "STARTS_WITH", "ENDS_WITH"):
        text = as_text(value)
        return {
            "CONTAINS": as_text(wanted) in text,
            "STARTS_WITH": text.startswith(as_text(wanted)),
            "ENDS_WITH": text.endswith(as_text(wanted)),
        }[operation]
    one: Any = as_text(value)
    other: Any = as_text(wanted)
    if type(value) in (int, float):
        one = Decimal(repr(value))
        try:
            other = Decimal(as_text(wanted))
        except ArithmeticError:
            return bool(operation == "NOT_EQUALS")
    return bool(
        {
            "EQUALS": one == other,
            "NOT_EQUALS": one != other,
            "GREATER_THAN": one > other,
            "GREATER_THAN_OR_EQUAL": one >= other,
            "LESS_THAN": one < other,
            "LESS_THAN_OR_EQUAL": one <= other,
        }[operation]
    )


def as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)
