"""Answers as applications see them: dates when asked for, the seed's words in `to_dict`."""

import json

from stigg_local.core.answer import (
    ANSWERS,
    CreditEntitlement,
    EntitlementsState,
    EnumEntitlement,
    MeteredEntitlement,
)
from stigg_local.core.period import FOREVER_MS, to_datetime
from stigg_local.core.sources import CurrencyRef, FeatureRef
from stigg_local.core.words import AccessDeniedReason
from tests.builders import ms

FEATURE = FeatureRef("calls", "Numeric", "Incremental", "call", "calls", True)
START, END = ms("2025-01-01T00:00:00Z"), ms("2025-02-01T00:00:00Z")
METERED = MeteredEntitlement(
    False,
    AccessDeniedReason.RequestedUsageExceedsLimit,
    False,
    FEATURE,
    "snapshot",
    START,
    END,
    10,
    False,
    False,
    2.5,
    "MONTH",
    START,
    START,
    END,
)
CREDIT = CreditEntitlement(
    True,
    None,
    False,
    None,
    "snapshot",
    START,
    FOREVER_MS,
    4750,
    5000,
    250,
    False,
    CurrencyRef("ai", "AI", "AIC"),
    END,
)


def test_instants_read_as_dates() -> None:
    """They are integers inside, because most answers are never asked for them."""
    assert [to_datetime(START)] * 3 == [METERED.as_of, METERED.usage_period_anchor, METERED.usage_period_start]
    assert [to_datetime(END)] * 3 == [METERED.valid_until, METERED.usage_period_end, METERED.next_reset_date]
    assert (to_datetime(END), None) == (CREDIT.next_reset_date, CREDIT.valid_until)


def test_an_answer_prints_the_seeds_keys() -> None:
    """What is not set is absent."""
    assert {
        "type": "METERED",
        "isFallback": False,
        "hasAccess": False,
        "accessDeniedReason": "RequestedUsageExceedsLimit",
        "isUnlimited": False,
        "hasSoftLimit": False,
        "usageLimit": 10,
        "currentUsage": 2.5,
        "requestedUsage": 0,
        "reservedUsage": 0,
        "resetPeriod": "MONTH",
        "usagePeriodAnchor": "2025-01-01T00:00:00.000Z",
        "usagePeriodStart": "2025-01-01T00:00:00.000Z",
        "usagePeriodEnd": "2025-02-01T00:00:00.000Z",
        "nextResetDate": "2025-02-01T00:00:00.000Z",
        "feature": {
            "id": "calls",
            "featureType": "Numeric",
            "meterType": "Incremental",
            "units": "call",
            "unitsPlural": "calls",
            "isMetered": True,
        },
        "source": "snapshot",
        "asOf": "2025-01-01T00:00:00.000Z",
        "validUntil": "2025-02-01T00:00:00.000Z",
    } == METERED.to_dict()
    assert METERED.to_dict() == json.loads(METERED.to_json())


def test_a_wallet_prints_its_currency() -> None:
    """The balance has two names, and for ever is no date."""
    found = CREDIT.to_dict()
    assert (4750, 4750, 4750) == (found["currentBalance"], found["remaining"], CREDIT.remaining)
    assert {"id": "ai", "displayName": "AI", "symbol": "AIC"} == found["currency"]
    assert "validUntil" not in found
    endless = MeteredEntitlement(True, None, False, None, "s", None, None, usage_period_end_ms=FOREVER_MS)
    assert "usagePeriodEnd" not in endless.to_dict()


def test_values_print_as_a_list() -> None:
    """JSON has no tuples."""
    answer = EnumEntitlement(True, None, False, None, "snapshot", None, None, ("NY",), ("NY",))
    assert (["NY"], ["NY"]) == (answer.to_dict()["enumValues"], answer.to_dict()["requestedValues"])


def test_a_state_prints_its_answers() -> None:
    """And why there are none."""
    assert {"entitlements": [METERED.to_dict()]} == EntitlementsState((METERED,), None).to_dict()
    nothing = EntitlementsState((), AccessDeniedReason.CustomerNotFound)
    assert {"entitlements": [], "accessDeniedReason": "CustomerNotFound"} == json.loads(nothing.to_json())


def test_every_type_has_its_answer() -> None:
    """By the name that the answer itself says."""
    assert {"BOOLEAN", "NUMERIC", "METERED", "ENUM", "CREDIT"} == set(ANSWERS)
    assert list(ANSWERS) == [answer.type for answer in ANSWERS.values()]
