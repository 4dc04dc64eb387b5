"""What the host application brings along decides nothing: its decimal context, its text and number types."""

import decimal
from collections.abc import Iterator
from enum import Enum
from typing import Any

import apsw
import pytest

from stigg_local import InvalidInput, Stigg
from stigg_local.store.facade import migrate
from stigg_local.testing import ManualClock

CATALOG: dict[str, Any] = {
    "schema": 1,
    "environment": "test",
    "features": [
        {"id": "calls", "featureType": "Numeric", "meterType": "Incremental"},
        {"id": "images", "featureType": "Numeric", "meterType": "Incremental"},
        {"id": "regions", "featureType": "Enum", "enumValues": ["eu", "us"]},
    ],
    "creditCurrencies": [{"id": "credits"}],
    "products": [{"id": "product"}],
    "plans": [
        {
            "id": "plan",
            "productId": "product",
            "entitlements": [
                {"featureId": "calls", "usageLimit": 5},
                {
                    "featureId": "images",
                    "isUnlimited": True,
                    "creditRate": {"currencyId": "credits", "amount": 10},
                },
                {"featureId": "regions", "enumValues": ["eu"]},
            ],
            "creditEntitlements": [{"currencyId": "credits", "amount": 1234.567891, "cadence": "MONTH"}],
        }
    ],
}


class Name(str, Enum):  # noqa: UP042
    """Names as many applications keep them: `str(Name.CALLS)` is not `calls`."""

    ACME = "acme"
    CALLS = "calls"
    CREDITS = "credits"
    EU = "eu"
    PLAN = "plan"
    REGIONS = "regions"


class Text(str):
    """Text of a subclass, as template engines and NumPy have."""


class Float(float):
    """A float that prints itself in its own way, as NumPy's does."""

    def __repr__(self) -> str:
        return f"Float({float.__repr__(self)})"


class Whole(int):
    """An int of a subclass."""


@pytest.fixture
def client() -> Iterator[Stigg]:
    with Stigg(catalog=CATALOG, clock=ManualClock("2025-01-31T10:00:00Z")) as client:
        client.provision_customer("acme", subscription_params={"plan_id": "plan"})
        yield client


def test_the_callers_decimal_precision_rounds_nothing(client: Stigg) -> None:
    with decimal.localcontext() as context:
        context.prec = 3
        assert client.report_usage("acme", "calls", 3.12345).current_usage == 3.12345
        assert not client.get_metered_entitlement("acme", "calls", requested_usage=1.87656).has_access
        client.report_usage("acme", "images", 12.3456)
        credits = client.get_credit_entitlement("acme", "credits")
    assert (credits.total_granted, credits.total_consumed) == (1234.567891, 123.456)


def test_a_trap_of_the_callers_decimal_context_is_not_sprung(client: Stigg) -> None:
    with decimal.localcontext() as context:
        context.traps[decimal.Inexact] = True
        assert client.report_usage("acme", "calls", 0.0000055).current_usage == 0.000006


def test_an_enumeration_member_counts_as_its_value_in_writes_and_reads(client: Stigg) -> None:
    provisioned = client.provision_customer(Name.ACME, subscription_params={"plan_id": Name.PLAN})
    assert provisioned.customer.id == "acme"
    client.report_usage(Name.ACME, Name.CALLS, 1, idempotency_key=Name.CALLS, dimensions={Name.EU: Name.EU})
    assert client.get_metered_entitlement("acme", "calls").current_usage == 1
    client.reload_entitlements(Name.ACME)
    assert client.get_metered_entitlement(Name.ACME, Name.CALLS).current_usage == 1
    client.grant_credits(Name.ACME, Name.CREDITS, 1)
    assert client.get_enum_entitlement(Name.ACME, Name.REGIONS, requested_values=[Name.EU]).has_access


@pytest.mark.parametrize("kind", [Text, Name])
def test_text_of_a_subclass_is_text(client: Stigg, kind: type[str]) -> None:
    client.reload_entitlements("acme")
    answers = [
        client.get_metered_entitlement(kind("acme"), kind("calls")),
        client.get_credit_entitlement(kind("acme"), kind("credits")),
        client.get_enum_entitlement("acme", "regions", requested_values=[kind("eu")]),
    ]
    assert all(answer.has_access and answer.to_json() for answer in answers)
    client.provision_customer("acme", name=kind("eu"), metadata={kind("eu"): kind("eu")}, subscription_params=None)
    client.report_usage(
        kind("acme"), kind("calls"), 1, idempotency_key=kind("eu"), dimensions={kind("eu"): kind("eu")}
    )
    assert client.get_metered_entitlement("acme", "calls", kind("eu")).access_denied_reason is not None


def test_fallback_keys_of_an_enumeration_count_as_their_values() -> None:
    fallback = {"hasAccess": True, "enumValues": [Name.EU]}
    with Stigg(offline=True, entitlements_fallback={Name.CALLS: fallback}) as offline:
        assert offline.get_enum_entitlement("acme", "calls", requested_values=["eu"]).has_access


def test_numbers_of_a_subclass_are_numbers(client: Stigg) -> None:
    assert client.report_usage("acme", "calls", Float(1.5)).current_usage == 1.5
    answer = client.get_metered_entitlement("acme", "calls", requested_usage=Whole(3))
    assert answer.has_access
    assert answer.to_dict()["requestedUsage"] == 3
    assert '"requestedUsage":3' in answer.to_json()


def test_a_word_of_any_size_or_type_is_refused_as_input(client: Stigg) -> None:
    nested: dict[str, Any] = {}
    inner = nested
    for _ in range(3000):
        inner["a"] = inner = {}
    words: tuple[Any, ...] = (10**5000, [], b"DELTA", nested)
    for value in words:
        with pytest.raises(InvalidInput):
            client.report_usage("acme", "calls", 1, update_behavior=value)
        with pytest.raises(InvalidInput):
            client.add_listener(value, print)


@pytest.mark.parametrize("resource", [0, b"", [], 1.5])
def test_a_resource_that_is_not_text_is_refused_as_input(client: Stigg, resource: Any) -> None:
    with pytest.raises(InvalidInput, match="resource_id"):
        client.get_metered_entitlement("acme", "calls", resource)


def test_one_customer_does_not_outgrow_the_memory_limit() -> None:
    limit = 1_000_000
    with Stigg(catalog=CATALOG, memory_limit_bytes=limit) as client:
        client.provision_customer("acme", subscription_params={"plan_id": "plan"})
        client.report_usage("acme", "calls", 4)
        for number in range(3000):
            client.get_metered_entitlement("acme", "calls", f"resource-{number}")
            assert client.status().memory_bytes <= limit
        assert client.get_metered_entitlement("acme", "calls").current_usage == 4


def test_a_fallback_of_credits_limits_what_may_be_spent_however_it_is_stated() -> None:
    values: list[dict[str, Any]] = [
        {"hasAccess": True, "usageLimit": 5},
        {"hasAccess": True, "currentBalance": 5},
        {"hasAccess": True, "totalGranted": 8, "totalConsumed": 3},
    ]
    for value in values:
        with Stigg(offline=True, credit_entitlements_fallback={"credits": value}) as offline:
            access = [
                offline.get_credit_entitlement("acme", "credits", requested_usage=requested).has_access
                for requested in (0, 5, 6)
            ]
            assert access == [True, True, False]
            assert offline.get_credit_entitlement("acme", "credits").remaining == 5


def test_fallback_answers_name_what_they_are_about() -> None:
    values: dict[str, Any] = {"sso": {"hasAccess": True}, "calls": {"hasAccess": True, "usageLimit": 5}}
    credits = {"credits": {"hasAccess": True}}
    with Stigg(offline=True, entitlements_fallback=values, credit_entitlements_fallback=credits) as offline:
        listed = [item.to_dict()["feature"] for item in offline.get_entitlements("acme")]
        wallet = offline.get_credit_entitlement("acme", "credits").to_dict()["currency"]
    assert [(item["id"], item["featureType"], item["isMetered"]) for item in listed] == [
        ("sso", "Boolean", False),
        ("calls", "Numeric", True),
    ]
    assert wallet["id"] == "credits"


def test_the_last_error_is_gone_after_a_write_that_went_well(client: Stigg) -> None:
    assert client._embedded is not None
    client._embedded.store.upkeep.note_sqlite(apsw.FullError("database or disk is full"))
    assert "full" in (client.status().last_error or "")
    client.report_usage("acme", "calls", 1)
    assert client.status().last_error is None


def test_a_disk_that_fails_a_migration_is_told_in_the_words_of_apsw() -> None:
    def refuse(action: int, *_: Any) -> int:
        raise apsw.FullError("database or disk is full")

    connection = apsw.Connection(":memory:")
    connection.authorizer = refuse
    with pytest.raises(apsw.FullError):
        migrate(connection)
