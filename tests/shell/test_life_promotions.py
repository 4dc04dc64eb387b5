"""Promotional entitlements through the client: every period, every kind of feature, groups, and their end."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from stigg_local import InvalidInput, NotFound, Stigg
from tests.shell.shop import Shop

CUSTOMER = "customer-1"


def features(client: Stigg) -> list[str]:
    return [item.feature_id for item in client.get_customer(CUSTOMER).promotional_entitlements]


def entitled(client: Stigg) -> set[str]:
    return {item.feature.id for item in client.get_entitlements(CUSTOMER) if item.feature is not None}


@pytest.mark.parametrize(
    ("stated", "end"),
    [
        ({"period": "ONE_WEEK"}, "2025-02-07T10:00:00.000Z"),
        ({"period": "ONE_MONTH"}, "2025-02-28T10:00:00.000Z"),
        ({"period": "SIX_MONTH"}, "2025-07-31T10:00:00.000Z"),
        ({"period": "SIX_MONTHS"}, "2025-07-31T10:00:00.000Z"),
        ({"period": "ONE_YEAR"}, "2026-01-31T10:00:00.000Z"),
        ({"customEndDate": "2025-02-01T00:00:00+02:00"}, "2025-01-31T22:00:00.000Z"),
        ({"period": "LIFETIME"}, None),
        ({}, None),
    ],
)
def test_a_promotion_ends_at_the_very_millisecond(stated: dict[str, Any], end: str | None) -> None:
    with Shop(provider=None) as shop:
        shop.customer()
        (made,) = shop.client.grant_promotional_entitlements(CUSTOMER, [{"feature_id": "feature-sso", **stated}])
        assert end == made.to_dict().get("endDate")
        if end is None:
            shop.clock.advance(days=4000)
            assert ["feature-sso"] == features(shop.client)
            return
        shop.clock.jump(datetime.fromisoformat(end) - timedelta(milliseconds=1))
        assert ({"feature-sso"}, ["feature-sso"]) == (entitled(shop.client), features(shop.client))
        shop.clock.jump(end)
        assert (set(), []) == (entitled(shop.client), features(shop.client))
        with pytest.raises(NotFound):
            shop.client.revoke_promotional_entitlements(CUSTOMER, "feature-sso")


def test_every_kind_of_feature_can_be_given() -> None:
    with Shop(provider=None) as shop:
        shop.customer()
        made = shop.client.grant_promotional_entitlements(
            CUSTOMER,
            [
                {"featureId": "feature-sso"},
                {"featureId": "feature-regions", "enumValues": ["eu"]},
                {"featureId": "feature-seats", "usageLimit": 7, "hasSoftLimit": True, "isVisible": False},
                {"featureId": "feature-calls", "value": 9, "resetPeriod": "MONTH"},
            ],
        )
        assert [None, None, 7, 9] == [item.usage_limit for item in made]
        seats = shop.client.get_metered_entitlement(CUSTOMER, "feature-seats", requested_usage=100)
        assert (True, True, 7) == (seats.has_access, seats.has_soft_limit, seats.usage_limit)
        calls = shop.client.get_metered_entitlement(CUSTOMER, "feature-calls")
        assert (9, "MONTH") == (calls.usage_limit, calls.reset_period)
        assert not shop.client.get_enum_entitlement(CUSTOMER, "feature-regions", requested_values=["us"]).has_access
        shop.client.grant_promotional_entitlements(CUSTOMER, [{"featureId": "feature-calls"}])
        assert shop.client.get_metered_entitlement(CUSTOMER, "feature-calls").is_unlimited


def test_revoking_several_is_all_or_nothing() -> None:
    with Shop(provider=None) as shop:
        shop.customer()
        shop.client.grant_promotional_entitlements(
            CUSTOMER, [{"feature_id": "feature-sso"}, {"feature_id": "feature-audit"}]
        )
        with pytest.raises(NotFound) as caught:
            shop.client.revoke_promotional_entitlements(CUSTOMER, ["feature-sso", "feature-calls"])
        assert "nothing was revoked" in str(caught.value.hint)
        assert {"feature-sso", "feature-audit"} == entitled(shop.client)
        asked = ["feature-audit", "feature-sso"]
        revoked = shop.client.revoke_promotional_entitlements(CUSTOMER, asked, idempotency_key="key-1")
        assert sorted(asked) == sorted(revoked)
        assert revoked == shop.client.revoke_promotional_entitlements(CUSTOMER, asked, idempotency_key="key-1")
        assert set() == entitled(shop.client)


# ---------------------------------------------------------------------- feature groups


def grant(shop: Shop, *items: dict[str, Any]) -> None:
    shop.client.grant_promotional_entitlements(CUSTOMER, list(items))


def revoke_groups(shop: Shop, *ids: str) -> list[str]:
    return shop.client.revoke_promotional_entitlements(CUSTOMER, feature_group_ids=list(ids))


def test_a_group_stands_for_its_features() -> None:
    with Shop(provider=None) as shop:
        shop.customer()
        grant(shop, {"featureGroupId": "group-security", "period": "ONE_WEEK"})
        assert ["feature-sso", "feature-audit"] == features(shop.client)
        shown = [item.to_dict() for item in shop.client.get_customer(CUSTOMER).promotional_entitlements]
        assert [["group-security"]] * 2 == [item["featureGroupIds"] for item in shown]
        assert ["feature-audit", "feature-sso"] == sorted(revoke_groups(shop, "group-security"))
        assert [] == features(shop.client)
        with pytest.raises(NotFound):
            revoke_groups(shop, "group-security")


@pytest.mark.parametrize("at_once", [True, False])
def test_revoking_a_group_keeps_what_another_granted_group_contains(at_once: bool) -> None:
    with Shop(provider=None) as shop:
        shop.customer()
        items = [{"feature_group_id": "group-security"}, {"feature_group_id": "group-all"}]
        if at_once:
            grant(shop, *items)
        else:
            for item in items:
                grant(shop, item)
        assert ["feature-audit"] == revoke_groups(shop, "group-security")
        assert {"feature-sso", "feature-seats"} == entitled(shop.client)
        assert ["promotional_entitlement.revoked", "promotional_entitlement.updated"] == sorted(shop.types()[-2:])
        assert ["feature-seats", "feature-sso"] == sorted(revoke_groups(shop, "group-all"))
        assert set() == entitled(shop.client)


def test_revoking_a_group_keeps_what_was_granted_by_itself() -> None:
    for first in (True, False):
        with Shop(provider=None) as shop:
            shop.customer()
            items = [{"feature_id": "feature-sso"}, {"feature_group_id": "group-security"}]
            for item in items if first else reversed(items):
                grant(shop, item)
            revoke_groups(shop, "group-security")
            assert ["feature-sso"] == features(shop.client)
            assert "featureGroupIds" not in shop.client.get_customer(CUSTOMER).promotional_entitlements[0].to_dict()


def test_a_feature_that_is_revoked_is_gone_whatever_gave_it() -> None:
    with Shop(provider=None) as shop:
        shop.customer()
        grant(shop, {"feature_group_id": "group-security"}, {"feature_group_id": "group-all"})
        assert ["feature-sso"] == shop.client.revoke_promotional_entitlements(CUSTOMER, "feature-sso")
        assert {"feature-audit", "feature-seats"} == entitled(shop.client)
        # Both at once, and one of them holds what the other would keep.
        assert ["feature-audit", "feature-seats"] == sorted(revoke_groups(shop, "group-all", "group-security"))


def test_a_group_whose_promotion_is_over_keeps_nothing() -> None:
    with Shop(provider=None) as shop:
        shop.customer()
        grant(shop, {"feature_group_id": "group-all", "period": "ONE_WEEK"})
        shop.clock.advance(days=8)
        grant(shop, {"feature_group_id": "group-security"})
        with pytest.raises(NotFound):
            revoke_groups(shop, "group-all")
        assert ["feature-audit", "feature-sso"] == sorted(revoke_groups(shop, "group-security"))


def test_the_same_thing_twice_in_one_grant_is_refused() -> None:
    with Shop(provider=None) as shop:
        shop.customer()
        for item in ({"feature_id": "feature-sso"}, {"feature_group_id": "group-security"}):
            with pytest.raises(InvalidInput) as caught:
                grant(shop, item, item)
            assert "DuplicatedEntityNotAllowed" == caught.value.code
        assert [] == features(shop.client)
