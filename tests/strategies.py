"""Hypothesis strategies for instants, records and whole lives of customers; what they make is valid unless it says so.

`WORLDS` are catalogs with every feature type, reset period and product setting in them; `steps` are what can happen
to customers of them, in the shape of a vector's `do`.
"""

from typing import Any

from hypothesis import strategies as st

from stigg_local.core.period import DAY_MS, HOUR_MS, to_ms, to_text

Step = dict[str, Any]

# 1970 to 2200, where every calendar rule is met and nothing saturates.
EPOCH_MS, LAST_MS = 0, to_ms("2200-01-01T00:00:00Z", name="last")
INSTANTS = st.integers(EPOCH_MS, LAST_MS)
RESETS: list[tuple[str | None, str | None]] = [
    (None, None),
    ("HOUR", None),
    ("DAY", None),
    ("WEEK", None),
    ("WEEK", "SubscriptionStart"),
    *(("WEEK", f"Every{day}day") for day in ("Sun", "Mon", "Tues", "Wednes", "Thurs", "Fri", "Satur")),
    ("MONTH", None),
    ("MONTH", "SubscriptionStart"),
    ("MONTH", "StartOfTheMonth"),
    ("YEAR", None),
    ("YEAR", "SubscriptionStart"),
]
RESET = st.sampled_from(RESETS)
IDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20)

CUSTOMERS = ("c-1", "c-2")
SITES = ("s-1", "s-2")
FEATURES = ("flag", "days", "regions", "seats", "calls", "total", "images", "bytes")
CURRENCY = "credits"


def _price(period: str = "MONTHLY", **fields: Any) -> Step:
    return {"billingModel": "FLAT_FEE", "billingPeriod": period, "amount": "10", "currency": "USD"} | fields


def _rated(limit: Step, amount: float) -> Step:
    return {"featureId": "images", **limit, "creditRate": {"currencyId": CURRENCY, "amount": amount}}


def _world(change: str) -> Step:
    is_new = change == "edited"
    return {
        "schema": 1,
        "features": [
            {"id": "flag", "featureType": "Boolean"},
            {"id": "days", "featureType": "Numeric"},
            {"id": "regions", "featureType": "Enum", "enumValues": ["eu", "us", "ap"]},
            {"id": "seats", "featureType": "Numeric", "meterType": "Fluctuating", "scale": 0},
            {"id": "calls", "featureType": "Numeric", "meterType": "Incremental"},
            {"id": "total", "featureType": "Numeric", "meterType": "Incremental"},
            {"id": "images", "featureType": "Numeric", "meterType": "Incremental", "scale": 2},
            {
                "id": "bytes",
                "featureType": "Numeric",
                "meterType": "Incremental",
                "scale": 0,
                "unitTransformation": {"divide": 10, "round": "DOWN" if is_new else "UP"},
            },
        ],
        "creditCurrencies": [{"id": CURRENCY, "scale": 3}],
        "products": [
            {
                "id": "app",
                "settings": {
                    "subscriptionStartSetup": "FREE_PLAN",
                    "subscriptionStartPlanId": "free",
                    "subscriptionEndSetup": "DOWNGRADE_TO_FREE",
                    "downgradePlanId": "free",
                    "usageResetOnPlanChange": "NEVER_RESET" if change == "kept" else "ALWAYS_RESET",
                },
            },
            {"id": "keep", "settings": {"usageResetOnPlanChange": "NEVER_RESET"}},
            {"id": "bill", "settings": {"usageResetOnPlanChange": "BILLING_PERIOD_CHANGE"}},
            {"id": "sites", "multipleSubscriptions": True},
        ],
        "plans": [
            {
                "id": "free",
                "productId": "app",
                "entitlements": [
                    {"featureId": "calls", "usageLimit": 6 if is_new else 5, "resetPeriod": "MONTH"},
                    {"featureId": "seats", "usageLimit": 1},
                    {"featureId": "flag", "isGranted": False},
                    {"featureId": "days", "value": 3},
                ],
            },
            {
                "id": "pro",
                "productId": "app",
                "parentPlanId": "free",
                "pricingType": "PAID",
                "compatibleAddonIds": ["more", "over", "extra"],
                "entitlements": [
                    {"featureId": "flag"},
                    {
                        "featureId": "calls",
                        "usageLimit": 20,
                        "resetPeriod": "DAY" if is_new else "MONTH",
                        **({} if is_new else {"resetPeriodConfiguration": "StartOfTheMonth"}),
                    },
                    {"featureId": "regions", "enumValues": ["eu"]},
                    _rated({"isUnlimited": True}, 1.5),
                ],
                "creditEntitlements": [] if is_new else [{"currencyId": CURRENCY, "amount": 10, "cadence": "MONTH"}],
                "prices": [_price(), _price("ANNUALLY")],
            },
            {
                "id": "try",
                "productId": "app",
                "pricingType": "PAID",
                "defaultTrialConfig": {"duration": 5, "trialEndBehavior": "CANCEL_SUBSCRIPTION"},
                "entitlements": [
                    {
                        "featureId": "calls",
                        "usageLimit": 50,
                        "resetPeriod": "WEEK",
                        "resetPeriodConfiguration": "EveryMonday",
                    },
                    _rated({"usageLimit": 4, "hasSoftLimit": is_new}, 2),
                ],
                "creditEntitlements": [{"currencyId": CURRENCY, "amount": 6, "cadence": "MONTH"}],
                "prices": [_price()],
            },
            {
                "id": "convert",
                "productId": "keep",
                "pricingType": "PAID",
                "defaultTrialConfig": {"duration": 3},
                "entitlements": [
                    {"featureId": "calls", "usageLimit": 30, "resetPeriod": "DAY"},
                    {"featureId": "regions", "enumValues": ["us"]},
                ],
                "prices": [_price(), _price("ANNUALLY")],
            },
            {
                "id": "keep-a",
                "productId": "keep",
                "entitlements": [
                    {"featureId": "calls", "usageLimit": 10, "resetPeriod": "HOUR"},
                    {"featureId": "total", "usageLimit": 7},
                ],
                "creditEntitlements": [{"currencyId": CURRENCY, "amount": 9, "cadence": "YEAR"}],
            },
            {
                "id": "keep-b",
                "productId": "keep",
                "entitlements": [
                    {"featureId": "calls", "usageLimit": 25, "resetPeriod": "WEEK"},
                    _rated({"usageLimit": 3}, 0.5),
                ],
                "creditEntitlements": [{"currencyId": CURRENCY, "amount": 4, "cadence": "YEAR"}],
            },
            {
                "id": "bill-a",
                "productId": "bill",
                "pricingType": "PAID",
                "entitlements": [
                    {"featureId": "calls", "usageLimit": 15, "resetPeriod": "YEAR"},
                    {"featureId": "total", "usageLimit": 9, "hasSoftLimit": is_new},
                    {"featureId": "seats", "usageLimit": 2},
                ],
                "prices": [_price(), _price("ANNUALLY")],
            },
            {
                "id": "bill-b",
                "productId": "bill",
                "pricingType": "PAID",
                "entitlements": [{"featureId": "calls", "usageLimit": 16, "resetPeriod": "MONTH"}],
                "prices": [
                    _price(),
                    {
                        "billingModel": "PER_UNIT",
                        "billingPeriod": "MONTHLY",
                        "featureId": "seats",
                        "unitAmount": "1",
                        "currency": "USD",
                    },
                ],
            },
            {
                "id": "site",
                "productId": "sites",
                "entitlements": [
                    {"featureId": "calls", "usageLimit": 8, "resetPeriod": "DAY"},
                    {"featureId": "bytes", "usageLimit": 2, "resetPeriod": "MONTH"},
                    _rated({"isUnlimited": True}, 1),
                ],
                "creditEntitlements": [
                    {"currencyId": CURRENCY, "amount": 4, "cadence": "MONTH", "hasSoftLimit": change == "kept"}
                ],
            },
        ],
        "addons": [
            {
                "id": "more",
                "productId": "app",
                "entitlements": [{"featureId": "calls", "usageLimit": 11 if is_new else 10}],
            },
            {
                "id": "over",
                "productId": "app",
                "entitlements": [{"featureId": "calls", "usageLimit": 12, "behavior": "Override"}],
            },
            {
                "id": "extra",
                "productId": "app",
                "creditEntitlements": [{"currencyId": CURRENCY, "amount": 5, "cadence": "MONTH"}],
            },
        ],
    }


WORLDS = [_world(change) for change in ("", "edited", "kept")]

_ADDON = st.fixed_dictionaries({"addonId": st.sampled_from(("more", "over", "extra")), "quantity": st.integers(1, 2)})
_PLANS = ("free", "pro", "try", "convert", "keep-a", "keep-b", "bill-a", "bill-b", "site", "unknown")


@st.composite
def provisions(draw: st.DrawFn) -> Step:
    """A subscription; most of them are accepted."""
    plan = draw(st.sampled_from(_PLANS))
    step: Step = {"planId": plan}
    if plan in ("pro", "try", "convert", "bill-a", "bill-b"):
        step["billingPeriod"] = draw(st.sampled_from(("MONTHLY", "MONTHLY", "ANNUALLY")))
    if plan == "site":
        step["resourceId"] = draw(st.sampled_from(SITES))
    if plan == "pro":
        step["addons"] = draw(st.lists(_ADDON, max_size=2, unique_by=lambda item: item["addonId"]))
    if plan == "bill-b":
        step["billableFeatures"] = [{"featureId": "seats", "quantity": draw(st.integers(1, 3))}]
    if draw(st.integers(0, 4)) == 0:
        step["skipTrial"] = True
    if draw(st.integers(0, 4)) == 0:
        step["billingCycleAnchor"] = "NOW"
    return step


_PROMOTION = st.one_of(
    st.just({"featureId": "flag"}),
    st.fixed_dictionaries({"featureId": st.just("days"), "value": st.integers(0, 9)}),
    st.fixed_dictionaries({"featureId": st.just("regions"), "enumValues": st.just(["ap"])}),
    st.fixed_dictionaries({"featureId": st.sampled_from(("seats", "images")), "usageLimit": st.integers(0, 60)}),
    st.fixed_dictionaries(
        {
            "featureId": st.sampled_from(("calls", "total")),
            "usageLimit": st.integers(0, 60),
            "hasSoftLimit": st.booleans(),
            "reset": RESET,
        }
    ),
).flatmap(
    lambda item: st.sampled_from(("LIFETIME", "ONE_WEEK", "ONE_MONTH", "SIX_MONTH")).map(
        lambda period: _with_reset(item) | {"period": period}
    )
)


def _with_reset(item: Step) -> Step:
    rest = {key: value for key, value in item.items() if key != "reset"}
    period, configuration = item.get("reset", (None, None))
    return rest | {"resetPeriod": period, "resetPeriodConfiguration": configuration}


# Most of it happens to one customer, so that it meets itself.
_CUSTOMER = st.sampled_from((*CUSTOMERS[:1] * 5, CUSTOMERS[1]))
_RESOURCE = st.sampled_from((None, None, None, None, *SITES))
_BEHIND = st.sampled_from((None, None, None, 1, HOUR_MS, DAY_MS, 8 * DAY_MS, 40 * DAY_MS))
_AHEAD = st.sampled_from((1, HOUR_MS, 3 * DAY_MS + 7, 35 * DAY_MS + 7))


@st.composite
def reports(draw: st.DrawFn) -> Step:
    """A usage report; `behindMs` says how late it is."""
    return {
        "type": "reportUsage",
        "customerId": draw(_CUSTOMER),
        "featureId": draw(st.sampled_from(("calls", "calls", "total", "seats", "images", "images", "bytes"))),
        "value": draw(st.integers(-3, 15) | st.integers(1, 9) | st.sampled_from((0.5, 2.25, 40))),
        "updateBehavior": draw(st.sampled_from(("DELTA", "DELTA", "DELTA", "SET"))),
        "resourceId": draw(_RESOURCE),
        "behindMs": draw(_BEHIND),
    }


@st.composite
def credit_grants(draw: st.DrawFn) -> Step:
    """Credits; `startMs` and `endMs` count from now."""
    return {
        "type": "grantCredits",
        "customerId": draw(_CUSTOMER),
        "currencyId": CURRENCY,
        "amount": draw(st.integers(0, 30) | st.just(2.5)),
        "grantType": draw(st.sampled_from(("PROMOTIONAL", "PAID"))),
        "priority": draw(st.integers(0, 1)),
        "resourceId": draw(_RESOURCE),
        "startMs": draw(st.sampled_from((None, None, -DAY_MS, HOUR_MS, 2 * DAY_MS))),
        "endMs": draw(st.none() | _AHEAD),
    }


STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(
        lambda customer, ask: {"type": "provisionCustomer", "customerId": customer} | ask,
        _CUSTOMER,
        st.sampled_from(({}, {"subscriptionParams": None}))
        | st.builds(lambda ask: {"subscriptionParams": ask}, provisions()),
    ),
    st.builds(
        lambda customer, ask: {"type": "provisionSubscription", "customerId": customer} | ask,
        _CUSTOMER,
        provisions(),
    ),
    st.builds(
        lambda customer, promotion: {
            "type": "grantPromotionalEntitlements",
            "customerId": customer,
            "entitlements": [promotion],
        },
        _CUSTOMER,
        _PROMOTION,
    ),
    reports(),
    reports(),
    credit_grants(),
    st.builds(
        lambda world, migrate: {"type": "apply", "world": world, "migrate": migrate},
        st.integers(0, len(WORLDS) - 1),
        st.sampled_from(("new", "all")),
    ),
    st.sampled_from(
        (0, 1, HOUR_MS, 9 * HOUR_MS, DAY_MS, 5 * DAY_MS, 5 * DAY_MS + HOUR_MS, 31 * DAY_MS, 100 * DAY_MS, 366 * DAY_MS)
    ).map(lambda passed: {"type": "advance", "ms": passed}),
    st.sampled_from(("preload", "drop", "reopen", "reload")).map(lambda name: {"type": name}),
)
LIVES = st.lists(STEPS, min_size=10, max_size=40)


def dated(step: Step, now_ms: int) -> Step:
    """A step with instants in place of the times that count from now, and without what it does not say."""
    rest = {key: value for key, value in step.items() if value is not None or key == "subscriptionParams"}
    names = {"behindMs": ("createdAt", -1), "startMs": ("effectiveAt", 1), "endMs": ("expireAt", 1)}
    for name, (key, sign) in names.items():
        if name in rest:
            rest[key] = to_text(now_ms + sign * rest.pop(name))
    return rest
