"""The catalog of the usage tests, and what hypothesis draws: events, reports and instants."""

from copy import deepcopy
from typing import Any

from hypothesis import strategies as st


def _is(name: str) -> dict[str, Any]:
    return {"conditions": [{"field": "eventName", "operation": "EQUALS", "value": name}]}


_METERS: dict[str, dict[str, Any]] = {
    "count": {"function": "COUNT", "filters": [_is("login")]},
    "unique": {"function": "UNIQUE", "field": "user", "filters": [_is("login"), _is("visit")]},
    "sum": {"function": "SUM", "field": "d"},
    "max": {"function": "MAX", "field": "d", "filters": [_is("login")]},
    "min": {"function": "MIN", "field": "d", "filters": [_is("login")]},
    "avg": {"function": "AVG", "field": "d"},
    "big": {
        "function": "COUNT",
        "filters": [
            {
                "conditions": [
                    {"field": "d", "operation": "GREATER_THAN", "value": "2.5"},
                    {"field": "user", "operation": "NOT_EQUALS", "value": "u1"},
                ]
            },
            {"conditions": [{"field": "flag", "operation": "IN", "values": ["true", "yes"]}]},
        ],
    },
}
FEATURES = (*_METERS, "calls", "seats")


def catalog(rule: str) -> dict[str, Any]:
    """Plans that reset daily and never, under one rule for plan changes."""

    def plan(plan_id: str, reset: str | None, features: tuple[str, ...]) -> dict[str, Any]:
        return {
            "id": plan_id,
            "productId": "product",
            "pricingType": "CUSTOM",
            "entitlements": [
                {"featureId": item, "usageLimit": 10} | ({"resetPeriod": reset} if reset and item != "seats" else {})
                for item in features
            ],
        }

    return {
        "schema": 1,
        "features": [
            {"id": item, "featureType": "Numeric", "meterType": "Incremental", "scale": 2, "meter": deepcopy(meter)}
            for item, meter in _METERS.items()
        ]
        + [
            {"id": "calls", "featureType": "Numeric", "meterType": "Incremental", "scale": 2},
            {"id": "seats", "featureType": "Numeric", "meterType": "Fluctuating", "scale": 2},
        ],
        "products": [{"id": "product", "settings": {"usageResetOnPlanChange": rule}}],
        "plans": [
            plan("daily", "DAY", FEATURES),
            plan("forever", None, FEATURES),
            plan("small", "DAY", ("unique", "calls", "seats")),
        ],
    }


dimensions = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from(["u1", "u2", "u3", "u4", 1, 1.5, True]),
        "d": st.one_of(
            st.integers(-3, 9), st.sampled_from([0.5, 2.5, 1.005, 7.25, 0.01]), st.sampled_from(["7", "text", False])
        ),
        "flag": st.sampled_from([True, False, "yes", "no"]),
    },
)
events = st.fixed_dictionaries(
    {
        "event_name": st.sampled_from(["login", "visit", "logout"]),
        "idempotency_key": st.sampled_from([f"k{number}" for number in range(40)]),
        "dimensions": dimensions,
    }
)
# How long ago something happened, in hours; None: now, and not stamped.
ages = st.one_of(st.none(), st.sampled_from([0, 1, 3, 12, 23, 24, 25, 47, 60]))
