"""Ways to yes over random catalogs: each one works, is the nearest of its kind, and none of a kind is missing."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stigg_local import Stigg, StiggError
from stigg_local.core.explanation import Explanation, Way
from stigg_local.testing import ManualClock
from tests.shell.test_explain import applied, wrong

Catalog = dict[str, Any]
START = "2025-01-31T10:00:00Z"
FEATURES: dict[str, dict[str, Any]] = {
    "flag": {"featureType": "Boolean"},
    "days": {"featureType": "Numeric"},
    "regions": {"featureType": "Enum", "enumValues": ["eu", "us", "ap"]},
    "calls": {"featureType": "Numeric", "meterType": "Incremental", "scale": 1},
    "seats": {"featureType": "Numeric", "meterType": "Fluctuating", "scale": 0},
    "images": {"featureType": "Numeric", "meterType": "Incremental", "scale": 0},
    "bytes": {
        "featureType": "Numeric",
        "meterType": "Incremental",
        "scale": 0,
        "unitTransformation": {"divide": 10, "round": "UP"},
    },
}
SCALES = {"calls": 1, "seats": 0, "images": 0, "bytes": 0, "credits": 2}
RESETS = st.sampled_from((None, "HOUR", "DAY", "WEEK", "MONTH", "YEAR"))
AMOUNTS = st.integers(0, 12)


@st.composite
def entitlements(draw: st.DrawFn, *, is_addon: bool) -> list[dict[str, Any]]:
    """What a package gives of some of the features."""
    stated = []
    for name, feature in FEATURES.items():
        if draw(st.integers(0, 2 if is_addon else 1)):
            continue
        item: dict[str, Any] = {"featureId": name}
        if feature["featureType"] == "Enum":
            item["enumValues"] = draw(st.lists(st.sampled_from(("eu", "us", "ap")), min_size=1, unique=True))
        elif feature["featureType"] == "Numeric":
            if draw(st.integers(0, 6)) == 0:
                item["isUnlimited"] = True
            else:
                item["value" if name == "days" else "usageLimit"] = draw(AMOUNTS)
            if feature.get("meterType") == "Incremental" and not is_addon:
                item["resetPeriod"] = draw(RESETS)
            if feature.get("meterType") and draw(st.integers(0, 7)) == 0:
                item["hasSoftLimit"] = True
            if name == "images" and not is_addon and draw(st.booleans()):
                item["creditRate"] = {"currencyId": "credits", "amount": draw(st.sampled_from((0.25, 1, 3)))}
            if is_addon and draw(st.integers(0, 3)) == 0:
                item["behavior"] = "Override"
        elif not is_addon and draw(st.integers(0, 3)) == 0:
            item["isGranted"] = False
        stated.append({key: value for key, value in item.items() if value is not None})
    return stated


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    """A whole catalog: two products, a few plans, a few add-ons, credits."""
    addon_ids = [f"addon-{number}" for number in range(draw(st.integers(0, 3)))]
    plans: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 4))):
        is_paid = draw(st.booleans())
        plan: dict[str, Any] = {
            "id": f"plan-{number}",
            "productId": "app" if number < 3 else "side",
            "pricingType": "PAID" if is_paid else "FREE",
            "entitlements": draw(entitlements(is_addon=False)),
        }
        if is_paid:
            price = {"billingPeriod": "MONTHLY", "currency": "USD"}
            plan["prices"] = [price | {"billingModel": "FLAT_FEE", "amount": str(draw(st.integers(1, 99)))}]
            if draw(st.booleans()):
                plan["prices"].append(
                    price | {"billingModel": "PER_UNIT", "featureId": "seats", "unitAmount": "1", "maxUnits": 20}
                )
            if plan["productId"] == "app":
                plan["compatibleAddonIds"] = [name for name in addon_ids if draw(st.booleans())]
            if draw(st.integers(0, 3)) == 0:
                behaviour = draw(st.sampled_from(("CONVERT_TO_PAID", "CANCEL_SUBSCRIPTION")))
                plan["defaultTrialConfig"] = {"duration": draw(st.integers(1, 9)), "trialEndBehavior": behaviour}
        if number and draw(st.integers(0, 2)) == 0 and plan["productId"] == "app":
            plan["parentPlanId"] = f"plan-{draw(st.integers(0, number - 1))}"
        if draw(st.integers(0, 2)) == 0:
            plan["creditEntitlements"] = [draw(_recurring())]
        plans.append(plan)
    addons = []
    for place, name in enumerate(addon_ids):
        addon: dict[str, Any] = {"id": name, "productId": "app", "entitlements": draw(entitlements(is_addon=True))}
        if draw(st.booleans()):
            addon["maxQuantity"] = draw(st.integers(1, 9))
        if place and draw(st.integers(0, 2)) == 0:
            addon["dependencies"] = [addon_ids[place - 1]]
        if draw(st.integers(0, 2)) == 0:
            addon["creditEntitlements"] = [draw(_recurring())]
        addons.append(addon)
    return {
        "schema": 1,
        "features": [{"id": name} | feature for name, feature in FEATURES.items()],
        "creditCurrencies": [{"id": "credits", "scale": 2}],
        "products": [
            {
                "id": "app",
                "settings": {
                    "usageResetOnPlanChange": draw(
                        st.sampled_from(("ALWAYS_RESET", "NEVER_RESET", "BILLING_PERIOD_CHANGE"))
                    )
                },
            },
            {"id": "side"},
        ],
        "plans": plans,
        "addons": addons,
    }


def _recurring() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "currencyId": st.just("credits"),
            "amount": st.integers(1, 9),
            "cadence": st.sampled_from(("MONTH", "YEAR")),
        }
    )


REPORTS = st.lists(st.tuples(st.sampled_from(("calls", "seats", "images", "bytes")), st.integers(1, 15)), max_size=4)
HOURS = st.sampled_from((0, 1, 25, 24 * 7 + 1, 24 * 40))
LIVES = st.fixed_dictionaries(
    {
        "plan": st.integers(0, 5),
        "second": st.integers(0, 5),
        "addons": st.lists(
            st.tuples(st.integers(0, 2), st.integers(1, 3)), max_size=2, unique_by=lambda item: item[0]
        ),
        "promotion": st.none()
        | st.tuples(st.sampled_from(("calls", "seats", "images", "flag")), AMOUNTS, st.sampled_from((-3, 5, 60))),
        "grants": st.lists(st.tuples(st.integers(1, 9), st.sampled_from((None, 2, 50))), max_size=2),
        "before": REPORTS,
        "hours": HOURS,
        "after": REPORTS,
    }
)


def live(client: Stigg, clock: ManualClock, life: dict[str, Any]) -> None:
    """Do what a life says; what a rule refuses does not happen."""

    def plan(number: int) -> None:
        addons = [{"addon_id": f"addon-{name}", "quantity": many} for name, many in life["addons"]]
        seats = [{"feature_id": "seats", "quantity": 2}]
        for period in ("MONTHLY", None):
            for extra in ({"addons": addons}, {}):
                for units in ({"billable_features": seats}, {}):
                    arguments = {"billing_period": period, **extra, **units}
                    if tried(client.provision_subscription, "c", f"plan-{number}", **arguments):
                        return

    def report(reports: list[tuple[str, int]]) -> None:
        for feature_id, value in reports:
            tried(client.report_usage, "c", feature_id, value)

    client.provision_customer("c", subscription_params=None)
    plan(life["plan"])
    report(life["before"])
    for amount, days in life["grants"]:
        at = None if days is None else clock_in(clock, days)
        client.grant_credits("c", "credits", amount, effective_at=at)
    if life["promotion"] is not None:
        feature_id, limit, days = life["promotion"]
        item: dict[str, Any] = {"feature_id": feature_id}
        if feature_id != "flag":
            item["usage_limit"] = limit
        item |= {"period": "LIFETIME"} if days < 0 else {"period": "CUSTOM", "custom_end_date": clock_in(clock, days)}
        client.grant_promotional_entitlements("c", [item])
    clock.advance(milliseconds=life["hours"] * 3_600_000 + 7)
    plan(life["second"])
    report(life["after"])


def clock_in(clock: ManualClock, days: int) -> datetime:
    """An instant so many days from now."""
    return datetime.fromtimestamp(clock.time(), UTC) + timedelta(days=days)


def tried(call: Callable[..., object], *arguments: Any, **named: Any) -> bool:
    """Whether a call was accepted."""
    try:
        call(*arguments, **named)
    except StiggError:
        return False
    return True


@contextmanager
def copied(client: Stigg, explanation: Explanation) -> Iterator[tuple[Stigg, ManualClock]]:
    """A client on a copy of the directory, at the same time."""
    assert client._embedded is not None
    client._embedded.store.tick()
    with TemporaryDirectory(prefix="stigg-way-") as directory:
        copy = Path(directory) / "copy"
        shutil.copytree(client._embedded.data_dir, copy)
        clock = ManualClock(explanation.now or "")
        with Stigg(data_dir=copy, clock=clock) as other:
            yield other, clock


def asked(client: Stigg, explanation: Explanation, **request: Any) -> bool:
    """Whether the question of an explanation, or a changed one, is answered with yes."""
    question = explanation.question
    request = {
        "requested_usage": question.requested_usage,
        "requested_values": question.requested_values,
        **request,
    }
    return client.get_entitlement(
        question.customer_id, question.feature_id, question.resource_id, **request
    ).has_access


def smaller(way: Way) -> dict[str, Any] | None:
    """The arguments of a way with one unit less; None where there is nothing less."""
    arguments = dict(way.arguments)
    match way.kind:
        case "CREDITS":
            amount = Decimal(str(way.amount)) - Decimal("0.01")
            return arguments | {"amount": amount} if amount > 0 else None
        case "PROMOTION" if way.limit:
            (item,) = arguments["entitlements"]
            return arguments | {"entitlements": [item | {"usage_limit": way.limit - 1}]}
        case "ADDON":
            assert way.quantity is not None
            addons = [
                item | {"quantity": way.quantity - 1} if item["addon_id"] == way.addon_id else item
                for item in arguments["addons"]
            ]
            return arguments | {"addons": addons} if way.quantity > 1 else None
        case "UNITS" | "PLAN" if way.quantity is not None and way.quantity > 1:
            units = [item | {"quantity": way.quantity - 1} for item in arguments["billable_features"]]
            return arguments | {"billable_features": units}
    return None


def check(client: Stigg, explanation: Explanation, way: Way) -> None:
    """A way works, and a little less than it does not."""
    if way.kind == "LESS":
        assert asked(
            client,
            explanation,
            requested_usage=way.requested_usage or 0,
            requested_values=way.requested_values or (),
        )
        if way.requested_usage is not None:
            step = Decimal(1).scaleb(-SCALES[explanation.question.feature_id])
            assert not asked(client, explanation, requested_usage=Decimal(str(way.requested_usage)) + step)
            total = Decimal(str(way.requested_usage)) + Decimal(str(way.units_less))
            assert total == Decimal(str(explanation.question.requested_usage))
        return
    with copied(client, explanation) as (other, clock):
        if way.at is not None:
            clock.set(way.at - timedelta(milliseconds=1))
            assert not asked(other, explanation)
        assert applied(other, clock, explanation, way)
    less = smaller(way)
    if less is not None:
        with copied(client, explanation) as (other, _):
            tried(getattr(other, str(way.call)), **less)
            assert not asked(other, explanation)


def nothing_is_missing(client: Stigg, catalog: Catalog, explanation: Explanation) -> None:
    """Where brute force finds a yes of a kind, a way of that kind is listed."""
    kinds = {way.kind for way in explanation.ways}
    question = explanation.question
    item = question.feature_id
    if question.requested_usage and "LESS" not in kinds:
        step = Decimal(1).scaleb(-SCALES[item])
        assert not asked(client, explanation, requested_usage=step)
    if "WAIT" not in kinds:
        with copied(client, explanation) as (other, clock):
            for hours in (1, 24, 24 * 7, 24 * 31, 24 * 62, 24 * 370):
                clock.advance(milliseconds=hours * 3_600_000)
                assert not asked(other, explanation), f"yes at {clock}"
    if "PROMOTION" not in kinds and item in FEATURES:
        with copied(client, explanation) as (other, _):
            other.grant_promotional_entitlements("c", [{"feature_id": item, "period": "LIFETIME"}])
            assert not asked(other, explanation)
    if "CREDITS" not in kinds:
        with copied(client, explanation) as (other, _):
            other.grant_credits("c", "credits", 10**6)
            assert not asked(other, explanation)
    if "PLAN" not in kinds:
        for plan in catalog["plans"]:
            with copied(client, explanation) as (other, _):
                running = {item.plan_id for item in explanation.sources if item.state == "IN_FORCE"}
                period = "MONTHLY" if plan["pricingType"] == "PAID" else None
                units = [{"feature_id": "seats", "quantity": 20}] if len(plan.get("prices", ())) == 2 else []
                done = tried(
                    other.provision_subscription,
                    "c",
                    plan["id"],
                    billing_period=period,
                    billable_features=units,
                )
                assert not done or plan["id"] in running or not asked(other, explanation), plan["id"]


def explore(catalog: Catalog, life: dict[str, Any], requested: int, every: int) -> int:
    """Live, ask everything, and try every n-th way there is; returns how many were tried."""
    count = tests = 0
    with TemporaryDirectory(prefix="stigg-ways-") as directory:
        clock = ManualClock(START)
        with Stigg(catalog=catalog, data_dir=Path(directory) / "data", clock=clock) as client:
            live(client, clock, life)
            for item in (*FEATURES, "credits"):
                request: dict[str, Any] = {}
                if item in SCALES:
                    request["requested_usage"] = requested
                if item == "regions":
                    request["requested_values"] = ("eu", "ap")
                explanation = client.explain("c", item, **request)
                assert [] == wrong(client.get_entitlement("c", item, **request), explanation)
                for way in explanation.ways:
                    count += 1
                    if count % every == 0:
                        check(client, explanation, way)
                        tests += 1
                if not explanation.entitlement.has_access and every == 1:
                    nothing_is_missing(client, catalog, explanation)
    return tests


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(catalogs(), LIVES, st.integers(1, 20))
def test_every_way_works_and_is_the_nearest(catalog: Catalog, life: dict[str, Any], requested: int) -> None:
    """One unit less, one millisecond earlier, one credit less is still a no."""
    explore(catalog, life, requested, every=3)


@pytest.mark.stress
@pytest.mark.timeout(3000)
@settings(max_examples=150, deadline=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
@given(catalogs(), LIVES, st.integers(1, 40))
def test_every_way_works_and_none_is_missing(catalog: Catalog, life: dict[str, Any], requested: int) -> None:
    """The same for every way, and brute force finds no yes of a kind that is not listed."""
    explore(catalog, life, requested, every=1)
