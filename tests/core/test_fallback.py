"""Fallback values: how they are read, and the answers that they give."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stigg_local.core.fallback import Fallback, fallback_answer, parse_fallback, parse_fallbacks
from stigg_local.core.words import AccessDeniedReason
from stigg_local.errors import InvalidInput

REASON = AccessDeniedReason


def answer(fallback: Fallback | None, kind: str | None = None, **fields: Any) -> dict[str, Any]:
    defaults = {"feature": None, "currency": None, "requested_usage": 0, "requested_values": (), "reason": None}
    return fallback_answer(fallback, kind=kind, **{**defaults, **fields}).to_dict()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"hasAccess": True}, Fallback(True)),
        ({"isGranted": False, "usage_limit": 5.0}, Fallback(False, usage_limit=5)),
        ({"has_access": True, "hasUnlimitedUsage": True, "value": None}, Fallback(True, is_unlimited=True)),
        (
            {"hasAccess": True, "enumValues": ["a"], "remaining": 2},
            Fallback(True, enum_values=("a",), current_balance=2),
        ),
        ({"hasAccess": True, "enumValues": None}, Fallback(True)),
        (Fallback(True), Fallback(True)),
    ],
)
def test_a_fallback_is_read_in_the_seeds_words(value: object, expected: Fallback) -> None:
    """Camel or snake case, and the wire's names."""
    assert expected == parse_fallback(value, where="fallback")


@pytest.mark.parametrize(
    "value",
    [
        True,
        {},
        {"hasAcces": True},
        {7: True},
        {"hasAccess": 1},
        {"hasAccess": True, "usageLimit": "5"},
        {"hasAccess": True, "enumValues": "a"},
        {"hasAccess": True, "enumValues": 7},
        {"hasAccess": True, "enumValues": [7]},
    ],
)
def test_anything_else_is_refused(value: object) -> None:
    """A typing mistake in a fallback shows on the first day, not at the first outage."""
    with pytest.raises(InvalidInput, match="fallback"):
        parse_fallback(value, where="fallback")


def test_fallbacks_are_read_by_id() -> None:
    """None is none."""
    assert ({}, {"f": Fallback(True)}) == (
        parse_fallbacks(None, where="x"),
        parse_fallbacks({"f": {"hasAccess": True}}, where="x"),
    )
    with pytest.raises(InvalidInput, match="x is"):
        parse_fallbacks([1], where="x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fallback", "expected"),
    [
        (None, "BOOLEAN"),
        (Fallback(True), "BOOLEAN"),
        (Fallback(True, value=1), "NUMERIC"),
        (Fallback(True, usage_limit=1), "METERED"),
        (Fallback(True, is_unlimited=True), "METERED"),
        (Fallback(True, enum_values=("a",)), "ENUM"),
        (Fallback(True, current_balance=2.5), "CREDIT"),
        (Fallback(True, total_granted=5, total_consumed=1), "CREDIT"),
    ],
)
def test_the_type_is_inferred_where_nothing_else_knows_it(fallback: Fallback | None, expected: str) -> None:
    """The generic getter without a catalog."""
    assert expected == answer(fallback)["type"]


@pytest.mark.parametrize(
    ("fallback", "kind", "request_given", "expected"),
    [
        (None, "METERED", {}, REASON.Unknown),
        (Fallback(False), "BOOLEAN", {}, REASON.Unknown),
        (Fallback(True), "METERED", {"requested_usage": 10**9}, None),
        (Fallback(True, usage_limit=5), "METERED", {"requested_usage": 5}, None),
        (Fallback(True, value=5), "METERED", {"requested_usage": 6}, REASON.RequestedUsageExceedsLimit),
        (Fallback(True, usage_limit=5, has_soft_limit=True), "METERED", {"requested_usage": 6}, None),
        (Fallback(True, usage_limit=5, is_unlimited=True), "METERED", {"requested_usage": 6}, None),
        (Fallback(True, enum_values=("a",)), "ENUM", {"requested_values": ("a",)}, None),
        (Fallback(True, enum_values=("a",)), "ENUM", {"requested_values": ("b",)}, REASON.RequestedValuesMismatch),
        (Fallback(True), "ENUM", {"requested_values": ("b",)}, None),
        (Fallback(True, current_balance=5), "CREDIT", {"requested_usage": 6}, REASON.InsufficientCredits),
        (Fallback(True, current_balance=0), "CREDIT", {}, REASON.InsufficientCredits),
        (Fallback(True, current_balance=0, has_soft_limit=True), "CREDIT", {}, None),
        (Fallback(True), "CREDIT", {"requested_usage": 6}, None),
    ],
)
def test_a_fallback_decides_like_an_answer(
    fallback: Fallback | None, kind: str, request_given: dict[str, Any], expected: AccessDeniedReason | None
) -> None:
    """With no usage known, and no limit where none was given."""
    found = answer(fallback, kind, **request_given)
    assert (expected is None, True) == (found["hasAccess"], found["isFallback"])
    assert (None if expected is None else expected.value) == found.get("accessDeniedReason")


@pytest.mark.parametrize(
    ("fallback", "expected"),
    [
        (Fallback(True), (0, 0, 0)),
        (Fallback(True, current_balance=5), (5, 5, 0)),
        (Fallback(True, total_granted=9, total_consumed=2), (7, 9, 2)),
        (Fallback(True, current_balance=1, total_granted=9, total_consumed=8), (1, 9, 8)),
    ],
)
def test_a_wallet_adds_up_from_what_is_given(fallback: Fallback, expected: tuple[int, int, int]) -> None:
    """Balance, granted and consumed."""
    found = answer(fallback, "CREDIT")
    assert expected == (found["currentBalance"], found["totalGranted"], found["totalConsumed"])


@pytest.mark.parametrize(
    ("fallback", "expected"),
    [
        (Fallback(True), ("Boolean", "None", False)),
        (Fallback(True, value=1), ("Numeric", "None", False)),
        (Fallback(True, usage_limit=1), ("Numeric", "Incremental", True)),
        (Fallback(True, enum_values=("a",)), ("Enum", "None", False)),
    ],
)
def test_an_unknown_feature_is_named_as_far_as_its_fallback_tells(
    fallback: Fallback, expected: tuple[str, str, bool]
) -> None:
    found = answer(fallback, item_id="f")["feature"]
    assert ("f", *expected) == (found["id"], found["featureType"], found["meterType"], found["isMetered"])


def test_numbers_are_taken_from_either_name() -> None:
    """`value` and `usageLimit` are one thing."""
    assert 5 == answer(Fallback(True, usage_limit=5), "NUMERIC")["value"]
    assert 5 == answer(Fallback(True, value=5), "METERED")["usageLimit"]


@given(st.sampled_from(("BOOLEAN", "NUMERIC", "METERED", "ENUM", "CREDIT")), st.booleans())
def test_an_authoritative_reason_stays(kind: str, has_access: bool) -> None:
    """FeatureNotFound tells why a fallback was asked, also where it grants."""
    found = answer(Fallback(has_access), kind, reason=REASON.FeatureNotFound)
    assert (has_access, "FeatureNotFound", "fallback") == (
        found["hasAccess"],
        found["accessDeniedReason"],
        found["source"],
    )
