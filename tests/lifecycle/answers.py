"""What the model answers about access: every source in force, the most generous one, usage folded from the log."""

from typing import Any

from tests.lifecycle.course import Course
from tests.lifecycle.record import Person, Sub, period_at, text
from tests.lifecycle.shelf import Item

FOREVER = 1 << 62
RANKS = {"HOUR": 0, "DAY": 1, "WEEK": 2, "MONTH": 3, "YEAR": 4, None: 5}
LENGTHS = {"HOUR": 3_600_000, "DAY": 86_400_000, "WEEK": 604_800_000}


class Offer:
    """One source of a feature: its limit (None: unlimited), its reset period, the anchor and the cut of its usage."""

    def __init__(self, limit: Any, is_soft: bool, reset: str | None, anchor: int, cut: int, rank: int) -> None:
        self.limit, self.is_soft, self.reset = limit, is_soft, reset
        self.anchor, self.cut, self.rank = anchor, cut, rank

    def worth(self) -> tuple[Any, ...]:
        limit = FOREVER if self.limit is None else self.limit
        return (-limit, not self.is_soft, RANKS[self.reset], self.rank)


def subscription_offer(course: Course, sub: Sub, feature: str) -> Offer | None:
    """What a subscription offers of a feature: the plan and its increments, or the largest override."""
    terms = sub.terms
    plan = course.shelf.versions[terms.plan][terms.version]
    stated = [item for item in (*plan.get("entitlements", ()), *plan["inherited"]) if item["featureId"] == feature]
    increments: list[tuple[Item, int]] = [(item, 1) for item in stated[:1]]
    overrides: list[tuple[Item, int]] = []
    for addon, (quantity, version, _) in terms.addons.items():
        for item in course.shelf.versions[addon][version].get("entitlements", ()):
            if item["featureId"] == feature:
                is_override = item.get("behavior") == "Override"
                (overrides if is_override else increments).append((item, quantity))
    if not increments and not overrides:
        return None
    total: Any = 0
    for item, quantity in increments:
        limit = item.get("usageLimit", item.get("value", 0))
        if item in stated and feature in terms.custom:
            limit = terms.custom[feature]
        elif item in stated and feature in terms.units:
            limit = terms.units[feature]
        elif item.get("isUnlimited"):
            limit = None
        total = None if total is None or limit is None else total + quantity * limit
    if overrides:
        is_unlimited = any(item.get("isUnlimited") for item, _ in overrides)
        total = None if is_unlimited else max(item["usageLimit"] * quantity for item, quantity in overrides)
    governing = (overrides or increments)[0][0] if not stated else stated[0]
    is_soft = any(item.get("hasSoftLimit", False) for item, _ in (overrides or increments))
    reset = governing.get("resetPeriod")
    return Offer(total, is_soft, reset, sub.usage_anchor, sub.cut, 1 if sub.is_trial else 0)


def offers(course: Course, person: Person, feature: str, resource: str | None) -> tuple[list[Offer], bool]:
    """Every offer in force for a resource, and whether any subscription runs there."""
    running = [sub for sub in person.subs if sub.runs and sub.resource in (None, resource)]
    found = [offer for sub in running if (offer := subscription_offer(course, sub, feature)) is not None]
    oldest = min((sub.usage_anchor for sub in running), default=None)
    for item in person.promotions:
        if item.feature == feature and item.start <= course.now and (item.end is None or course.now < item.end):
            anchor = item.start if oldest is None else oldest
            found.append(Offer(item.limit, item.is_soft, item.reset, anchor, 0, 2))
    return found, bool(running)


def window_of(offer: Offer, at: int) -> tuple[int, int] | None:
    """The usage window that holds the instant; None without a reset period."""
    if offer.reset is None:
        return None
    length = LENGTHS.get(offer.reset)
    if length is not None:
        start = offer.anchor + (at - offer.anchor) // length * length
        return start, start + length
    return period_at(offer.anchor, 12 if offer.reset == "YEAR" else 1, at)


def usage(person: Person, feature: str, resource: str | None, from_ms: int, to_ms: int) -> Any:
    """The measurements of a window, folded in the order in which they were reported."""
    total = 0
    for where, what, behavior, value, at in person.log:
        if (where, what) == (resource, feature) and from_ms <= at < to_ms:
            total = value if behavior == "SET" else max(0, total + value)
    return total


def answer(
    course: Course, customer: str, feature: str, resource: str | None = None, requested: Any = 0
) -> dict[str, Any]:
    """Whether a customer may use a feature, and why not."""

    def no(reason: str) -> dict[str, Any]:
        return {"hasAccess": False, "accessDeniedReason": reason}

    person = course.people.get(customer)
    if person is None:
        return no("CustomerNotFound")
    if person.is_archived:
        return no("CustomerIsArchived")
    if resource is not None and resource not in person.resources:
        return no("CustomerResourceNotFound")
    shape = course.shelf.features.get(feature)
    if shape is None:
        return no("FeatureNotFound")
    found, is_running = offers(course, person, feature, resource)
    if not found:
        return no("CustomerNotEntitledForFeature" if is_running else "NoActiveSubscription")
    best = min(found, key=Offer.worth)
    if shape["featureType"] == "Boolean":
        return {"hasAccess": True, "accessDeniedReason": None}
    if shape.get("meterType", "None") == "None":
        return {"hasAccess": True, "accessDeniedReason": None, "value": best.limit, "isUnlimited": best.limit is None}
    window = window_of(best, course.now)
    used = usage(person, feature, resource, *(FOREVER * -1, FOREVER))
    if window is not None:
        used = usage(person, feature, resource, max(window[0], best.cut), window[1])
    is_within = best.limit is None or best.is_soft or used + requested <= best.limit
    return {
        "hasAccess": is_within,
        "accessDeniedReason": None if is_within else "RequestedUsageExceedsLimit",
        "usageLimit": best.limit,
        "isUnlimited": best.limit is None,
        "hasSoftLimit": best.is_soft,
        "currentUsage": used,
        "requestedUsage": requested,
        "resetPeriod": best.reset,
        "usagePeriodStart": None if window is None else text(window[0]),
        "usagePeriodEnd": None if window is None else text(window[1]),
    }
