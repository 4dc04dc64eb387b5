"""Who wins, as a person with the catalog file and the table of rules would say it.

It reads catalog files as they are written and shares no rule with the package; only what a customer has (which
package, which version, how many, from when to when) is taken from the client's own record. Source: semantics §2.
"""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from stigg_local import Stigg
from stigg_local.core.customer import PromotionalSource, Source, SubscriptionSource

RESETS = ("HOUR", "DAY", "WEEK", "MONTH", "YEAR", None)
Item = Mapping[str, Any]


class Given(NamedTuple):
    """What one source gives; compared in this order, the larger wins. `is_soft` and on decide only between equals."""

    is_granted: bool
    is_unlimited: bool
    limit: Decimal
    is_soft: bool
    reset: int


class Claim(NamedTuple):
    """A source in force, what it gives, its values, and the packages that it owes this to."""

    source: Source
    given: Given
    values: frozenset[str]
    owed_to: frozenset[str]


class Shelf:
    """Every catalog file that was published, and from them each version of each package."""

    def __init__(self) -> None:
        self.features: dict[str, Item] = {}
        self.versions: dict[str, list[Item]] = {}

    def publish(self, catalog: Item) -> None:
        """A package gets a new version where anything in it, or in what it inherits, is another."""
        self.features |= {item["id"]: item for item in catalog.get("features", ())}
        groups = {item["id"]: item["featureIds"] for item in catalog.get("featureGroups", ())}
        plans = {plan["id"]: plan for plan in catalog.get("plans", ())}
        for plan in plans.values():
            chain, base = [plan], plan.get("parentPlanId")
            while base:
                chain.append(plans[base])
                base = plans[base].get("parentPlanId")
            stated: dict[str, tuple[Item, str]] = {}
            for member in reversed(chain):
                stated |= self._stated(member, groups)
            self._add(plan, stated)
        for addon in catalog.get("addons", ()):
            self._add(addon, self._stated(addon, groups))

    def _stated(self, package: Item, groups: Mapping[str, Sequence[str]]) -> dict[str, tuple[Item, str]]:
        own = {}
        for item in package.get("entitlements", ()):
            for feature_id in [item["featureId"]] if "featureId" in item else groups[item["featureGroupId"]]:
                own[feature_id] = item, package["id"]
        return own

    def _add(self, package: Item, stated: dict[str, tuple[Item, str]]) -> None:
        # A price of its own entitles where nothing else is stated; it is not inherited.
        for price in (*package.get("prices", ()), *package.get("overagePrices", ())):
            if price.get("featureId"):
                stated.setdefault(price["featureId"], ({}, package["id"]))
        versions = self.versions.setdefault(package["id"], [])
        made = {"package": package, "stated": stated}
        if not versions or json.dumps(versions[-1], sort_keys=True) != json.dumps(made, sort_keys=True):
            versions.append(made)

    def claim(self, source: Source, feature_id: str) -> Claim | None:
        """What a source gives of a feature; None where it does not speak of it."""
        feature = self.features[feature_id]
        if isinstance(source, PromotionalSource):
            item = msgspec.to_builtins(source.entitlement)
            if item["featureId"] != feature_id:
                return None
            limit = number(item)
            given = self._given(feature, item.get("isGranted", True), limit is None, limit or Decimal(0), item, [item])
            return Claim(source, given, values(feature, item), frozenset())
        parts = []
        for place, (package_id, version, quantity) in enumerate(source.packages):
            found = self.versions[package_id][version - 1]
            if feature_id in found["stated"]:
                item, stated_by = found["stated"][feature_id]
                parts.append((place == 0, item, stated_by, quantity, found["package"]))
        return self._combined(source, feature, parts) if parts else None

    def _combined(self, source: SubscriptionSource, feature: Item, parts: list[Any]) -> Claim:
        granted = [part for part in parts if part[1].get("isGranted", True)]
        allowed = frozenset[str]().union(*(values(feature, item) for _, item, _, _, _ in granted))
        owed = frozenset(stated_by for _, _, stated_by, _, _ in parts)
        governing = parts[0][1]
        overrides = [part for part in parts if not part[0] and part[1].get("behavior") == "Override"]
        if overrides:
            best = max(
                overrides,
                key=lambda part: (bool(part[1].get("isUnlimited")), (number(part[1]) or Decimal(0)) * part[3]),
            )
            limit = (number(best[1]) or Decimal(0)) * best[3]
            unlimited = bool(best[1].get("isUnlimited"))
            given = self._given(feature, bool(granted), unlimited, limit, governing, [best[1]])
            return Claim(source, given, allowed, owed)
        units, custom = dict(source.units), dict(source.custom)
        limit, unlimited, soft = Decimal(0), False, []
        for is_plan, item, _, quantity, package in parts:
            soft.append(item)
            if is_plan and any(price["featureId"] == feature["id"] for price in package.get("overagePrices", ())):
                soft.append({"hasSoftLimit": True})
            if not item.get("isGranted", True):
                continue
            if is_plan and feature["id"] in units:
                limit += units[feature["id"]]
            elif is_plan and feature["id"] in custom:
                unlimited |= custom[feature["id"]] is None
                limit += Decimal(str(custom[feature["id"]] or 0))
            else:
                paid_by_use = any(
                    price.get("featureId") == feature["id"] and price["billingModel"] == "USAGE_BASED"
                    for price in (package.get("prices", ()) if is_plan else ())
                )
                unlimited |= bool(item.get("isUnlimited")) or (paid_by_use and number(item) is None)
                limit += (number(item) or Decimal(0)) * quantity
        return Claim(source, self._given(feature, bool(granted), unlimited, limit, governing, soft), allowed, owed)

    def _given(
        self,
        feature: Item,
        is_granted: bool,
        is_unlimited: bool,
        limit: Decimal,
        governing: Item,
        soft: Sequence[Item],
    ) -> Given:
        is_numeric = feature["featureType"] == "Numeric"
        resets = governing.get("resetPeriod") if feature.get("meterType") == "Incremental" else None
        return Given(
            is_granted,
            is_numeric and is_unlimited,
            limit if is_numeric and not is_unlimited else Decimal(0),
            is_numeric and any(item.get("hasSoftLimit") for item in soft),
            -RESETS.index(resets),
        )


def number(item: Item) -> Decimal | None:
    """The stated number, under either of its names."""
    found = item.get("usageLimit", item.get("value"))
    return None if found is None or item.get("isUnlimited") else Decimal(str(found))


def values(feature: Item, item: Item) -> frozenset[str]:
    """The allowed values that an entitlement states; all of the feature's where it names none."""
    if feature["featureType"] != "Enum":
        return frozenset()
    stated = item.get("enumValues")
    return frozenset(feature.get("enumValues", ()) if stated is None else stated)


def order(source: Source) -> int:
    """Between equals: a subscription, then a trial, then a promotion."""
    if isinstance(source, PromotionalSource):
        return 2
    return 1 if source.kind else 0


def claims(
    shelf: Shelf, client: Stigg, customer_id: str, feature_id: str, resource_id: str | None, now_ms: int
) -> list[Claim]:
    """What every source in force says of a feature, the winner first."""
    assert client._embedded is not None
    held = client._embedded.replica.memo[customer_id]
    assert held[4] is not None
    found = []
    for source in held[4].snapshot.sources:
        if not source.start_ms <= now_ms < source.end_ms:
            continue
        if isinstance(source, SubscriptionSource) and source.resource_id not in ("", resource_id or ""):
            continue
        claim = shelf.claim(source, feature_id)
        if claim is not None:
            found.append(claim)
    # Sorting is stable: of equals the first stays first.
    return sorted(found, key=lambda claim: (*(-int(part * 10**9) for part in claim.given), order(claim.source)))


def rule(winner: Claim, other: Claim | None) -> str:
    """The name of the rule that decides between a winner and the next."""
    if not winner.given.is_granted:
        return "EXPLICIT_DENIAL"
    if other is None:
        return "ONLY_SOURCE"
    names = ("GRANTED", "UNLIMITED", "LARGER_LIMIT", "SOFT_LIMIT", "SHORTER_RESET")
    for name, mine, theirs in zip(names, winner.given, other.given, strict=True):
        if mine != theirs:
            return name
    if order(winner.source) == order(other.source):
        return "EARLIER_SOURCE"
    return ("SUBSCRIPTION_FIRST", "TRIAL_FIRST")[order(winner.source)]
