"""Random catalogs for random lives: two products with any settings, and later editions of their plans."""

from typing import Any

from hypothesis import strategies as st

FEATURES = ("api", "total", "sso")
RESETS = ("ALWAYS_RESET", "NEVER_RESET", "BILLING_PERIOD_CHANGE")
TIMES = ("IMMEDIATE", "END_OF_BILLING_PERIOD")
ENDS = ("CANCEL_SUBSCRIPTION", "DOWNGRADE_TO_FREE")
PLANS = ("free", "basic", "pro", "team", "tried", "custom", "site-free", "site-basic", "site-tried")
ADDONS = ("calls", "badge")


def _settings(free: str, starts: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    journeys = st.sampled_from(
        [
            {"subscriptionStartSetup": "PLAN_SELECTION"},
            *({"subscriptionStartSetup": "FREE_PLAN", "subscriptionStartPlanId": start} for start in starts[:1]),
            *({"subscriptionStartSetup": "TRIAL_PERIOD", "subscriptionStartPlanId": start} for start in starts[1:]),
        ]
    )
    settings = st.fixed_dictionaries(
        {
            "subscriptionEndSetup": st.sampled_from(ENDS),
            "downgradePlanId": st.just(free),
            "subscriptionCancellationTime": st.sampled_from(TIMES),
            "downgradeTime": st.sampled_from(TIMES),
            "usageResetOnPlanChange": st.sampled_from(RESETS),
        }
    )
    return st.tuples(settings, journeys).map(lambda pair: pair[0] | pair[1])


def _flat(month: int, year: int | None = None) -> list[dict[str, Any]]:
    amounts = {"MONTHLY": month, **({} if year is None else {"ANNUALLY": year})}
    return [
        {"billingModel": "FLAT_FEE", "billingPeriod": period, "amount": str(amount), "currency": "USD"}
        for period, amount in amounts.items()
    ]


def _units(price: str) -> dict[str, Any]:
    return {
        "billingModel": "PER_UNIT",
        "featureId": "seats",
        "billingPeriod": "MONTHLY",
        "unitAmount": price,
        "currency": "USD",
        "minUnits": 1,
        "maxUnits": 9,
    }


@st.composite
def worlds(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Three editions of one catalog; what never changes is the same in all."""
    app = draw(_settings("free", ("free", "tried")))
    site = draw(_settings("site-free", ()))
    trial = {
        "duration": draw(st.sampled_from((1, 3, 14))),
        "units": draw(st.sampled_from(("DAY", "MONTH"))),
        "trialEndBehavior": draw(st.sampled_from(("CONVERT_TO_PAID", "CANCEL_SUBSCRIPTION"))),
    }
    return [_edition(app, site, trial, number) for number in range(3)]


def _edition(app: dict[str, Any], site: dict[str, Any], trial: dict[str, Any], number: int) -> dict[str, Any]:
    def entitlements(limit: int, *more: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"featureId": "api", "usageLimit": limit + 7 * number, "resetPeriod": "MONTH"},
            {"featureId": "total", "usageLimit": 3 * limit},
            *more,
        ]

    sso = {"featureId": "sso"}
    plans: list[dict[str, Any]] = [
        {"id": "free", "productId": "app", "pricingType": "FREE", "entitlements": entitlements(5)},
        {
            "id": "basic",
            "productId": "app",
            "pricingType": "PAID",
            "entitlements": entitlements(20),
            "prices": _flat(10 + number, 90),
            "compatibleAddonIds": list(ADDONS),
        },
        {
            "id": "pro",
            "productId": "app",
            "pricingType": "PAID",
            "entitlements": entitlements(60, sso),
            "prices": _flat(30, 300 + number),
            "compatibleAddonIds": ["calls"],
        },
        {
            "id": "team",
            "productId": "app",
            "pricingType": "PAID",
            "entitlements": entitlements(30, {"featureId": "seats"}),
            "prices": [*_flat(5), _units("4")],
        },
        {
            "id": "tried",
            "productId": "app",
            "pricingType": "PAID",
            "defaultTrialConfig": trial,
            "entitlements": entitlements(90),
            "prices": _flat(50, 500),
            "compatibleAddonIds": ["calls"],
        },
        {"id": "custom", "productId": "app", "pricingType": "CUSTOM", "entitlements": entitlements(70)},
        {"id": "site-free", "productId": "site", "pricingType": "FREE", "entitlements": entitlements(4)},
        {
            "id": "site-basic",
            "productId": "site",
            "pricingType": "PAID",
            "entitlements": entitlements(15),
            "prices": _flat(8, 80 + number),
        },
        {
            "id": "site-tried",
            "productId": "site",
            "pricingType": "PAID",
            "defaultTrialConfig": trial,
            "entitlements": entitlements(45, sso),
            "prices": _flat(25),
        },
    ]
    calls = {"featureId": "api", "usageLimit": 11 + number}
    return {
        "schema": 1,
        "features": [
            {"id": "api", "featureType": "Numeric", "meterType": "Incremental"},
            {"id": "total", "featureType": "Numeric", "meterType": "Incremental"},
            {"id": "seats", "featureType": "Numeric", "meterType": "Fluctuating"},
            {"id": "sso", "featureType": "Boolean"},
        ],
        "products": [
            {"id": "app", "settings": app},
            {"id": "site", "multipleSubscriptions": True, "settings": site},
        ],
        "plans": plans,
        "addons": [
            {
                "id": "calls",
                "productId": "app",
                "maxQuantity": 4,
                "entitlements": [calls],
                "prices": _flat(3 + number, 30),
            },
            {"id": "badge", "productId": "app", "entitlements": [sso], "prices": _flat(2)},
        ],
    }
