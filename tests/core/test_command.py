"""Arguments of calls: the shapes that are taken, and the place that an error names."""

from typing import Any

import msgspec
import pytest

from stigg_local.core.catalog import PackageEntitlement
from stigg_local.core.command import (
    ITEMS_MAX,
    METADATA_MAX,
    camel,
    check_bool,
    check_count,
    check_metadata,
    check_text,
    check_word,
    fields,
    items,
    promotional_grants,
    provision_subscription,
)
from stigg_local.core.customer import CustomCredit, CustomFeature
from stigg_local.core.ids import ID_LENGTH_MAX, TOLD_LENGTH_MAX, UNSET, check_id, is_id, is_text, told
from stigg_local.core.words import BillingPeriod, PromotionalEntitlementPeriod
from stigg_local.errors import InvalidInput
from tests.builders import ms


@pytest.mark.parametrize("value", ["c", "Ünïcode ok", "x" * ID_LENGTH_MAX, "a/b:c"])
def test_an_id_is_printable_text(value: str) -> None:
    """It is not normalised."""
    assert is_id(value)
    assert value == check_id(value, "customer_id")


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("", "empty"),
        ("x" * (ID_LENGTH_MAX + 1), "too long"),
        ("a\nb", "not printable"),
        (7, "not text"),
        (None, "not text"),
    ],
)
def test_anything_else_is_no_id(value: object, what: str) -> None:
    """The message says what is wrong with it."""
    assert not is_id(value)
    with pytest.raises(InvalidInput, match=f"customer_id is .* {what}"):
        check_id(value, "customer_id")


def test_unset_is_false_and_says_so() -> None:
    """It stands for an argument that was not given, where None means to clear."""
    assert (False, "UNSET") == (bool(UNSET), repr(UNSET))


def test_words_are_found_by_name_value_and_alias() -> None:
    """A mistyped one is answered with the nearest."""
    assert ["MONTHLY", "MONTHLY", "SIX_MONTH"] == [
        check_word("Monthly", BillingPeriod, "billing_period"),
        check_word(BillingPeriod.MONTHLY, BillingPeriod, "billing_period"),
        check_word("SIX_MONTHS", PromotionalEntitlementPeriod, "period"),
    ]
    with pytest.raises(InvalidInput) as near:
        check_word("MONTLY", BillingPeriod, "billing_period")
    assert "did you mean `MONTHLY`" == near.value.hint
    with pytest.raises(InvalidInput) as far:
        check_word(7, BillingPeriod, "billing_period")
    assert "one of MONTHLY, ANNUALLY" == far.value.hint


@pytest.mark.parametrize("value", [7, "x" * 10_001, "a\0b", b"a"])
def test_text_is_text(value: object) -> None:
    """Of a length that a name may have."""
    assert (None, "a\nb") == (check_text(None, "name"), check_text("a\nb", "name"))
    with pytest.raises(InvalidInput, match="name is"):
        check_text(value, "name")


@pytest.mark.parametrize("value", [1, "true", None])
def test_a_switch_is_true_or_false(value: object) -> None:
    """1 is a mistake here."""
    assert check_bool(True, "skip_trial")
    with pytest.raises(InvalidInput, match="skip_trial is"):
        check_bool(value, "skip_trial")


@pytest.mark.parametrize(
    "value", [{"a": 1}, {1: "a"}, ["a"], "a", {"a": "\ud800"}, {str(index): "" for index in range(METADATA_MAX + 1)}]
)
def test_metadata_is_text_by_text(value: object) -> None:
    """With a code of its own."""
    assert (None, {"a": "b"}) == (check_metadata(None), check_metadata({"a": "b"}))
    with pytest.raises(InvalidInput) as raised:
        check_metadata(value)
    assert "InvalidMetadataError" == raised.value.code


@pytest.mark.parametrize("value", [True, "1", 1.5, float("nan"), None])
def test_a_count_is_whole(value: object) -> None:
    """2.0 is 2."""
    assert (2, 2) == (check_count(2, "quantity"), check_count(2.0, "quantity"))
    with pytest.raises(InvalidInput) as raised:
        check_count(value, "quantity")
    assert "InvalidQuantity" == raised.value.code


class Shape(msgspec.Struct):
    """A record as a caller's own code may pass it."""

    plan_id: str
    quantity: int = 1


def test_fields_are_found_under_both_spellings() -> None:
    """Of a mapping or a record."""
    known = ("plan_id", "quantity")
    assert {"plan_id": "p", "quantity": 2} == fields({"planId": "p", "quantity": 2}, known, "item")
    assert {"plan_id": "p", "quantity": 1} == fields(Shape("p"), known, "item")
    assert "usageLimitMs" == camel("usage_limit_ms")


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("p", "pass a mapping"),
        ({"planid": "p", "quantty": 1}, "did you mean `quantity`"),
        ({"planId": "p", 7: 1}, "it takes plan_id, quantity"),
        ({"planId": None}, "add `plan_id`"),
    ],
)
def test_other_fields_are_refused_with_the_nearest_known(value: object, hint: str | None) -> None:
    """A silently ignored argument would be a surprise later."""
    value = {"planId": "p", "quantty": 1} if hint == "did you mean `quantity`" else value
    with pytest.raises(InvalidInput) as raised:
        fields(value, ("plan_id", "quantity"), "item", required=("plan_id",))
    assert hint == raised.value.hint


@pytest.mark.parametrize("value", ["a", {"a": 1}, 7, [1] * (ITEMS_MAX + 1)])
def test_a_list_is_a_short_list(value: object) -> None:
    """Text is not a list of letters."""
    assert () == items(None, "addons", lambda item, _: item)
    assert (("addons[0]", 1),) == items(iter([1]), "addons", lambda item, where: (where, item))
    with pytest.raises(InvalidInput, match="addons"):
        items(value, "addons", lambda item, _: item)


def test_a_provisioning_is_read_whole() -> None:
    """In camel or in snake case."""
    found = provision_subscription(
        "c",
        {
            "plan_id": "p",
            "billing_period": "Monthly",
            "resource_id": "s",
            "billable_features": [{"featureId": "seats", "quantity": 2}],
            "addons": [{"addonId": "a"}, {"addon_id": "b", "quantity": 3}],
            "entitlements": [
                {"feature": {"featureId": "f", "usageLimit": 5.0}},
                {"feature": {"feature_id": "g", "hasUnlimitedUsage": True}},
                {"credit": {"customCurrencyId": "ai", "amount": 7, "cadence": "MONTH"}},
                {},
            ],
            "billing_cycle_anchor": "NOW",
            "skip_trial": True,
        },
    )
    assert (("a", 1), ("b", 3)) == found.addons
    assert (("seats", 2),) == found.units
    assert {"f": CustomFeature(usage_limit=5), "g": CustomFeature(is_unlimited=True)} == found.custom_features
    assert (CustomCredit(currency_id="ai", amount=7, cadence="MONTH"),) == found.custom_credits
    assert ("MONTHLY", "s", "NOW", True) == (
        found.billing_period,
        found.resource_id,
        found.billing_cycle_anchor,
        found.skip_trial,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"plan_id": None},
        {"billing_cycle_anchor": "LATER"},
        {"addons": [{"quantity": 1}]},
        {"billable_features": [{"feature_id": "f"}]},
        {"entitlements": [{"feature": {"feature_id": "f"}}]},
        {"entitlements": [{"feature": {"feature_id": "f", "usage_limit": 1, "is_unlimited": True}}]},
        {"entitlements": [{"feature": {"feature_id": "f", "usage_limit": -1}}]},
        {"entitlements": [{"credit": {"currency_id": "ai", "amount": 0, "cadence": "MONTH"}}]},
        {"entitlements": [{"credit": {"currency_id": "ai", "amount": 1, "cadence": "DAY"}}]},
        {"entitlements": [{"credit": {"amount": 1, "cadence": "DAY"}}]},
    ],
)
def test_a_provisioning_of_another_shape_is_refused(arguments: dict[str, Any]) -> None:
    """Before anything is read."""
    with pytest.raises(InvalidInput):
        provision_subscription("c", {"plan_id": "p"} | arguments)


def test_promotions_are_read_whole() -> None:
    """An end of its own makes the period CUSTOM; nothing said is a lifetime."""
    end = "2025-02-01T00:00:00Z"
    found = promotional_grants(
        [
            {"featureId": "a", "value": 5.0},
            {"featureId": "b", "usageLimit": 7, "customEndDate": end, "hasSoftLimit": True},
            {"feature_id": "c", "is_unlimited": True, "period": "SIX_MONTHS", "is_visible": False},
            {
                "feature_id": "d",
                "enum_values": ["x"],
                "reset_period": "WEEK",
                "reset_period_configuration": "EveryMonday",
            },
        ],
        groups={},
    )
    assert [("LIFETIME", None), ("CUSTOM", ms(end)), ("SIX_MONTH", None), ("LIFETIME", None)] == [
        (item.period, item.custom_end_ms) for item in found
    ]
    assert [5, 7, None, None] == [item.entitlement.usage_limit for item in found]
    assert PackageEntitlement(
        feature_id="d", enum_values=("x",), reset_period="WEEK", reset_period_configuration="EveryMonday"
    ) == (found[3].entitlement)


@pytest.mark.parametrize(
    "value",
    [
        [],
        "a",
        [{}],
        [{"feature_id": "a", "enum_values": "x"}],
        [{"feature_id": "a", "enum_values": [1]}],
        [{"feature_id": "a", "period": "ONE_DAY"}],
        [{"feature_id": "a", "period": "ONE_WEEK", "custom_end_date": "2025-02-01T00:00:00Z"}],
        [{"feature_id": "a", "reset_period": "CENTURY"}],
        [{"feature_id": "a", "is_unlimited": "yes"}],
    ],
)
def test_promotions_of_another_shape_are_refused(value: object) -> None:
    """The message names the item."""
    with pytest.raises(InvalidInput, match="entitlements"):
        promotional_grants(value, groups={})


class Unwilling:
    """An argument that cannot be shown."""

    def __str__(self) -> str:
        raise ValueError("no")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        (7, "7"),
        ("a\nb", repr("a\nb")),
        ("x" * (TOLD_LENGTH_MAX + 9), "x" * TOLD_LENGTH_MAX + "…"),
        (Unwilling(), "Unwilling"),
    ],
)
def test_an_error_quotes_what_it_was_given(value: object, expected: str) -> None:
    """Short, on one line, and whatever it is."""
    assert expected == told(value)


def test_half_a_surrogate_pair_is_no_text() -> None:
    """It could not be stored."""
    assert [True, False, False] == [is_text("ä"), is_text("\ud800"), is_text(7)]
