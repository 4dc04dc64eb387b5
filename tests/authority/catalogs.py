"""Catalogs that tests share: the documented example, generated ones, and a writer of TOML."""

import json
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[2] / "fixtures" / "catalogs"
INVALID = FIXTURES / "invalid"
EXAMPLE = FIXTURES / "example.toml"

Table = dict[str, Any]


def example() -> Table:
    """The example catalog as a mapping that a test may change."""
    return tomllib.loads(EXAMPLE.read_text("utf-8"), parse_float=Decimal)


def toml_value(value: object) -> str:
    """A value in TOML; tables are written inline."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        inner = ", ".join(f"{toml_value(str(key))} = {toml_value(item)}" for key, item in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    return str(value)


def toml_text(source: Table) -> str:
    """A catalog as TOML, one `[[section]]` for each item."""
    lines = [f"{key} = {toml_value(value)}" for key, value in source.items() if not isinstance(value, list)]
    for section, items in source.items():
        for item in items if isinstance(items, list) else ():
            lines += ["", f"[[{section}]]", *(f"{key} = {toml_value(value)}" for key, value in item.items())]
    return "\n".join(lines) + "\n"


# Generated catalogs: valid by construction. ----------------------------------------

TEXTS = st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=12)
AMOUNTS = st.decimals(0, 10**6, places=2).map(str)
LIMITS = st.integers(0, 10**6) | st.integers(0, 10**6).map(lambda number: number / 8)
METADATA = st.dictionaries(TEXTS, TEXTS, max_size=2)
FEATURES: list[Table] = [
    {"id": "flag", "featureType": "Boolean"},
    {"id": "days", "featureType": "Numeric", "units": "day"},
    {"id": "regions", "featureType": "Enum", "enumValues": ["eu", "us", "ap"]},
    {"id": "seats", "featureType": "Numeric", "meterType": "Fluctuating"},
    {"id": "calls", "featureType": "Numeric", "meterType": "Incremental", "scale": 3},
    {
        "id": "storage",
        "featureType": "Numeric",
        "meterType": "Incremental",
        "unitTransformation": {"divide": 1000, "round": "DOWN"},
    },
]


@st.composite
def entitlements(draw: st.DrawFn, *, may_override: bool) -> list[Table]:
    """Entitlements of some of the features."""
    made = []
    for feature in draw(st.lists(st.sampled_from(FEATURES), unique_by=lambda item: item["id"])):
        entitlement: Table = {"featureId": feature["id"]}
        if feature["featureType"] == "Numeric":
            name = draw(st.sampled_from(["value", "usageLimit", "isUnlimited"]))
            entitlement[name] = True if name == "isUnlimited" else draw(LIMITS)
        if feature["featureType"] == "Enum" and draw(st.booleans()):
            entitlement["enumValues"] = draw(st.lists(st.sampled_from(feature["enumValues"]), unique=True))
        if feature.get("meterType") == "Incremental" and draw(st.booleans()):
            entitlement["resetPeriod"] = "MONTH"
            entitlement["hasSoftLimit"] = draw(st.booleans())
            entitlement["creditRate"] = {"currencyId": "credits", "amount": draw(st.integers(1, 9))}
        if may_override:
            entitlement["behavior"] = draw(st.sampled_from(["Increment", "Override"]))
        made.append(entitlement)
    return made


@st.composite
def contents(draw: st.DrawFn, *, may_override: bool) -> Table:
    """What plans and add-ons have in common."""
    made: Table = {"entitlements": draw(entitlements(may_override=may_override))}
    if draw(st.booleans()):
        made["creditEntitlements"] = [
            {"currencyId": "credits", "amount": draw(st.integers(1, 99)), "cadence": cadence}
            for cadence in draw(st.lists(st.sampled_from(["MONTH", "YEAR"]), unique=True))
        ]
    if draw(st.booleans()):
        made["metadata"] = draw(METADATA)
        made["displayName"] = draw(TEXTS)
    return made


@st.composite
def catalogs(draw: st.DrawFn) -> Table:
    """A valid catalog: a chain of plans, some add-ons, everything else around them."""
    names = [f"plan-{index}" for index in range(draw(st.integers(0, 5)))]
    addons = [f"addon-{index}" for index in range(draw(st.integers(0, 3)))]
    plans = []
    for index, name in enumerate(names):
        plan: Table = {"id": name, "productId": "product", "pricingType": "PAID", "order": index}
        plan |= draw(contents(may_override=False))
        if index and draw(st.booleans()):
            plan["parentPlanId"] = draw(st.sampled_from(names[:index]))
        plan["compatibleAddonIds"] = draw(st.lists(st.sampled_from(addons), unique=True)) if addons else []
        periods = draw(st.lists(st.sampled_from(["MONTHLY", "ANNUALLY"]), unique=True))
        plan["prices"] = [{"billingPeriod": period, "amount": draw(AMOUNTS), "currency": "USD"} for period in periods]
        plans.append(plan)
    made: Table = {
        "schema": 1,
        "features": FEATURES,
        "creditCurrencies": [{"id": "credits", "scale": draw(st.integers(0, 9))}],
        "products": [{"id": "product", "metadata": draw(METADATA)}],
        "plans": plans,
        "addons": [
            {"id": name, "productId": "product", "maxQuantity": 3} | draw(contents(may_override=True))
            for name in addons
        ],
    }
    if draw(st.booleans()):
        made["coupons"] = [{"id": "half", "type": "PERCENTAGE", "percentOff": draw(st.integers(1, 100))}]
        made["promotionCodes"] = [{"code": "HALF", "couponId": "half"}]
    return made
