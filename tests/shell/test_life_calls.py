"""The calls of the life cycle as a user types them: signatures, shapes, journeys, lists, offline and awaited."""

import asyncio
import inspect
import json
import warnings
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import stigg_local
from stigg_local import (
    BillingPeriod,
    NotAvailableOffline,
    NotFound,
    ScheduleStrategy,
    Stigg,
    SubscriptionBillingCycleAnchor,
    SubscriptionCancellationTime,
    SubscriptionMigrationTime,
    SubscriptionScheduleStatus,
    SubscriptionStatus,
    TrialEndBehavior,
)
from tests.shell.shop import ADMIN, SHOP, Shop

SIGNATURES = {
    "provision_customer": "customer_id * name email coupon_id subscription_params billing_info metadata",
    "update_customer": "customer_id * name email coupon_id billing_info metadata",
    "get_customer": "customer_id",
    "get_customers": "* limit cursor",
    "archive_customer": "customer_id",
    "erase_customer": "customer_id",
    "export_customer": "customer_id",
    "import_customer": "customer_id * name email coupon_id metadata",
    "import_customer_bulk": "customers",
    "provision_subscription": (
        "customer_id plan_id * billing_period resource_id billable_features addons entitlements promotion_code"
        " billing_country_code billing_information checkout_options metadata billing_cycle_anchor start_date"
        " skip_trial trial_override schedule_strategy"
    ),
    "create_subscription": "customer_id plan_id",
    "update_subscription": (
        "subscription_id * billable_features addons promotion_code billing_period metadata billing_information"
        " billing_cycle_anchor trial_end_date cancellation_date"
    ),
    "cancel_subscription": "subscription_id * cancellation_time end_date prorate action",
    "cancel_subscription_scheduled_updates": "subscription_id * status",
    "migrate_subscription_to_latest": "subscription_id * subscription_migration_time",
    "transfer_subscription": "subscription_id resource_id",
    "delegate_subscription": "subscription_id customer_id",
    "get_subscription": "subscription_id",
    "get_subscriptions": "customer_id * statuses limit cursor",
    "get_active_subscriptions_list": "customer_id resource_id",
    "grant_promotional_entitlements": "customer_id entitlements",
    "revoke_promotional_entitlements": "customer_id feature_ids",
    "get_paywall": "product_id customer_id resource_id * billing_country_code include_hidden_plans",
    "get_products": "",
    "get_coupons": "",
    "get_events": "* cursor limit customer_id types wait_seconds",
}
READS = {name for name in SIGNATURES if name.startswith("get_")} | {"export_customer"}


@pytest.mark.parametrize("name", SIGNATURES)
def test_identifiers_may_be_positional_and_all_else_is_named(name: str) -> None:
    parameters = inspect.signature(getattr(Stigg, name)).parameters.values()
    place = {inspect.Parameter.POSITIONAL_OR_KEYWORD: 0, inspect.Parameter.KEYWORD_ONLY: 1}
    found = {item.name: place[item.kind] for item in parameters if item.name != "self" and item.kind in place}
    ids, _, rest = SIGNATURES[name].partition("*")
    expected = dict.fromkeys(ids.split(), 0) | dict.fromkeys(rest.split(), 1)
    assert expected.items() <= found.items()
    assert set(ids.split()) == {key for key, kind in found.items() if kind == 0}
    if name not in READS and name != "create_subscription":
        assert 1 == found["idempotency_key"]


@pytest.mark.parametrize("name", [*SIGNATURES, "tick", "confirm_clock", "payments", "catalog"])
def test_every_call_says_that_it_is_not_there_offline(name: str) -> None:
    arguments: dict[str, Any] = {
        "import_customer_bulk": [[{"customer_id": "c"}]],
        "grant_promotional_entitlements": ["c", [{"feature_id": "f"}]],
        "revoke_promotional_entitlements": ["c", "f"],
    }
    positional = arguments.get(name, ["x"] * len(SIGNATURES.get(name, "").partition("*")[0].split()))
    if name == "get_paywall":
        positional = []
    with Stigg(offline=True, api_key="any") as client, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with pytest.raises(NotAvailableOffline, match=name.replace("create_", "provision_")) as caught:
            getattr(client, name)(*positional)
    assert caught.value.hint


def test_what_applications_with_payments_name_is_exported() -> None:
    for name in ("Coupon", "Invoice", "Page", "PaymentOutcome", "PaymentProvider"):
        assert name in stigg_local.__all__
        assert getattr(stigg_local, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute `Invoce`"):
        stigg_local.Invoce  # noqa: B018
    assert "ScriptedPayments" in stigg_local.testing.__all__


def test_the_twins_are_awaited() -> None:
    async def run(client: Stigg) -> tuple[str, str, str]:
        made = await client.aio.provision_customer("customer-1", subscription_params=None)
        found = await client.aio.provision_subscription("customer-1", "plan-pro", billing_period="MONTHLY")
        paid = await client.aio.payments.settle(found.subscription.id, "PAID")
        applied = await client.aio.catalog.diff(SHOP)
        assert applied is not None
        with pytest.raises(NotFound):
            await client.aio.get_customer("nobody")
        with pytest.raises(AttributeError):
            client.aio.payments.nothing  # noqa: B018
        return made.customer.id, found.subscription.status, paid.status

    with Shop("FAILED") as shop:
        assert ("customer-1", "PAYMENT_PENDING", "ACTIVE") == asyncio.run(run(shop.client))


def test_members_of_enumerations_are_words() -> None:
    """Each call takes the member, the word, and the wire's spelling."""
    with Shop(provider=None) as shop:
        client = shop.client
        shop.customer()
        made = client.provision_subscription(
            "customer-1",
            "plan-later",
            billing_period=BillingPeriod.Monthly,
            billing_cycle_anchor=SubscriptionBillingCycleAnchor.UNCHANGED,
        ).subscription
        assert made is not None
        assert made.status is not None
        assert SubscriptionStatus.ACTIVE == made.status
        client.provision_subscription(
            "customer-1",
            "plan-late",
            billing_period="Monthly",
            schedule_strategy=ScheduleStrategy.EndOfBillingPeriod,
        )
        done = client.cancel_subscription_scheduled_updates(made.id, status=SubscriptionScheduleStatus.Scheduled)
        assert {"subscriptionId": made.id} == done.to_dict()
        client.cancel_subscription(made.id, cancellation_time=SubscriptionCancellationTime.EndOfBillingPeriod)
        with pytest.raises(stigg_local.StiggError) as caught:
            client.migrate_subscription_to_latest(
                made.id, subscription_migration_time=SubscriptionMigrationTime.EndOfBillingPeriod
            )
        assert "SubscriptionAlreadyOnLatestPlanError" == caught.value.code
        trial = client.provision_subscription(
            "customer-1",
            "plan-pro",
            billing_period="MONTHLY",
            trial_override={
                "isTrial": True,
                "trialEndDate": "2025-02-10T00:00:00Z",
                "trialEndBehavior": TrialEndBehavior.CancelSubscription,
            },
        ).subscription
        assert trial is not None
        assert ("IN_TRIAL", "2025-02-10T00:00:00.000Z") == (trial.status, trial.to_dict()["trialEndDate"])


def test_create_subscription_is_deprecated() -> None:
    with Shop(provider=None) as shop:
        shop.customer()
        with pytest.warns(DeprecationWarning, match="provision_subscription"):
            made = shop.client.create_subscription("customer-1", "plan-free")
        assert made is not None
        assert "plan-free" == made.plan_id


# ---------------------------------------------------------------------- shapes

WHOLE = {
    "id",
    "planId",
    "status",
    "addons",
    "addonIds",
    "customerId",
    "metadata",
    "price",
    "pricingType",
    "paymentCollection",
}


def test_a_subscription_has_the_documented_shape() -> None:
    with Shop() as shop:
        shop.customer()
        free = shop.buy("plan-free", billing_period=None).to_dict()
        assert WHOLE <= set(free)
        assert (None, None, "FREE", "NOT_REQUIRED") == tuple(
            free[key] for key in ("price", "metadata", "pricingType", "paymentCollection")
        )
        assert set() == {"resource", "latestInvoice", "experimentInfo", "effectiveEndDate", "billingPeriod"} & set(
            free
        )
        made = shop.buy(
            "plan-starter",
            billing_period="ANNUALLY",
            addons=[{"addonId": "addon-calls", "quantity": 2}],
            metadata={"key": "value"},
        )
        shown = made.to_dict()
        assert ([{"id": "addon-calls", "quantity": 2}], ["addon-calls"]) == (shown["addons"], shown["addonIds"])
        assert (300, {"key": "value"}) == (shown["price"], shown["metadata"])
        assert isinstance(made.price, Decimal)
        assert {"billingId", "status"} == set(shown["latestInvoice"])
        assert shown == json.loads(made.to_json())
        assert "2026-01-31T10:00:00+00:00" == made.current_billing_period_end.isoformat()  # type: ignore[union-attr]
        shop.clock.advance(days=1)
        ended = shop.client.cancel_subscription(made.id, cancellation_time="IMMEDIATE").to_dict()
        assert ("CANCELED", "2025-02-01T10:00:00.000Z", "Immediate") == (
            ended["status"],
            ended["effectiveEndDate"],
            ended["cancelReason"],
        )


def test_the_slim_list_has_the_documented_shape() -> None:
    with Shop(provider=None) as shop:
        client = shop.client
        client.provision_customer("customer-1", email="user@example.com", subscription_params=None)
        shop.buy("plan-late", metadata={"internalTierId": "tier-gold"})
        (slim,) = [item.to_dict() for item in client.get_active_subscriptions_list("customer-1")]
        assert {
            "status": "ACTIVE",
            "startDate": "2025-01-31T10:00:00.000Z",
            "endDate": None,
            "currentBillingPeriodStart": "2025-01-31T10:00:00.000Z",
            "currentBillingPeriodEnd": "2025-02-28T10:00:00.000Z",
            "billingPeriod": "MONTHLY",
            "additionalMetaData": {"internalTierId": "tier-gold"},
            "customer": {"customerId": "customer-1", "email": "user@example.com"},
            "payingCustomer": {"customerId": "customer-1", "email": "user@example.com"},
            "plan": {
                "refId": "plan-late",
                "displayName": "plan-late",
                "description": None,
                "product": {
                    "refId": "product-late",
                    "displayName": "product-late",
                    "downgradePlan": {"refId": "plan-late-free", "displayName": "plan-late-free"},
                },
            },
            "addons": [],
            "totalPrice": {
                "subTotal": {"amount": 20, "currency": "USD"},
                "total": {"amount": 20, "currency": "USD"},
            },
            "trialEndDate": None,
        }.items() <= slim.items()
        (line,) = slim["prices"]
        assert "FLAT_FEE" == line["billingModel"]
        assert {"billingPeriod": "MONTHLY", "price": {"amount": 20, "currency": "USD"}} == line["price"]
        client.cancel_subscription(slim["subscriptionId"])
        (ending,) = [item.to_dict() for item in client.get_active_subscriptions_list("customer-1")]
        assert (None, "2025-02-28T10:00:00.000Z") == (ending["endDate"], ending["effectiveEndDate"])


def test_lists_are_of_what_entitles_and_of_the_resources_that_are_named() -> None:
    with Shop("PAID", "FAILED") as shop:
        client = shop.client
        shop.customer()
        shop.buy("plan-starter")
        shop.buy("plan-trial")
        shop.buy("plan-later", start_date="2025-03-01T00:00:00Z")
        for site in ("site-1", "site-2"):
            client.provision_subscription("customer-1", "plan-site", resource_id=site)

        def plans(*arguments: Any) -> list[str]:
            return sorted(item.plan.ref_id for item in client.get_active_subscriptions_list("customer-1", *arguments))

        assert ["plan-starter", "plan-trial"] == plans()
        assert ["plan-site"] == plans("site-1")
        assert ["plan-site"] * 2 == plans(["site-1", "site-2", "site-3"])
        assert [] == plans("site-3")
        every = client.get_subscriptions("customer-1", limit=2)
        found = list(every)
        while every.next is not None:
            every = client.get_subscriptions("customer-1", limit=2, cursor=every.next)
            found += every
        assert 5 == len({item.id for item in found})
        waiting = client.get_subscriptions("customer-1", statuses=["NOT_STARTED"])
        assert ["plan-later"] == [item.plan_id for item in waiting]
        assert {"items", "next"} == set(waiting.to_dict())


def test_customers_are_listed_in_pages() -> None:
    with Shop(provider=None) as shop:
        shop.client.import_customer_bulk([{"customerId": f"customer-{n}", "name": f"N{n}"} for n in range(23)])
        shop.client.archive_customer("customer-7")
        page = shop.client.get_customers(limit=5)
        found = list(page)
        while page.next is not None:
            page = shop.client.get_customers(limit=5, cursor=page.next)
            found += page
        assert sorted(f"customer-{n}" for n in range(23) if n != 7) == sorted(item.id for item in found)
        assert 5 == len(shop.client.get_customers(limit=5))


def test_a_customer_is_patched_and_shown_whole() -> None:
    with Shop() as shop:
        client = shop.client
        client.provision_customer("customer-1", name="Ann", metadata={"a": "1", "b": "2"}, subscription_params=None)
        client.update_customer("customer-1", email="ann@example.com", metadata={"b": "3"}, coupon_id="coupon-half")
        client.update_customer("customer-1", billing_info={"payment_method_id": "pm_1"})
        shown = client.get_customer("customer-1").to_dict()
        assert {
            "id": "customer-1",
            "name": "Ann",
            "email": "ann@example.com",
            "createdAt": "2025-01-31T10:00:00.000Z",
            "updatedAt": "2025-01-31T10:00:00.000Z",
            "hasPaymentMethod": True,
            "promotionalEntitlements": [],
            "metadata": {"a": "1", "b": "3"},
            "couponId": "coupon-half",
        } == shown
        cleared = client.update_customer("customer-1", name=None, metadata=None, coupon_id=None).to_dict()
        assert (None, None) == (cleared["name"], cleared["metadata"])
        assert "couponId" not in cleared


def test_delegating_lets_the_first_customer_pay() -> None:
    with Shop() as shop:
        client = shop.client
        client.provision_customer("customer-1", email="payer@example.com", subscription_params=None)
        client.provision_customer("customer-2", email="user@example.com", subscription_params=None)
        made = shop.buy("plan-pro")
        moved = client.delegate_subscription(made.id, "customer-2")
        assert ("customer-2", "customer-1") == (moved.customer_id, moved.paying_customer_id)
        (slim,) = client.get_active_subscriptions_list("customer-2")
        assert ("user@example.com", "payer@example.com") == (slim.customer.email, slim.paying_customer.email)
        assert [] == client.get_active_subscriptions_list("customer-1")
        assert (1000, False) == (
            shop.limit("customer-2"),
            client.get_metered_entitlement("customer-1", "feature-calls").has_access,
        )
        shop.clock.set("2025-02-28T10:00:00Z")
        client.tick()
        assert [("customer-1", None), ("customer-2", "customer-1")] == [
            (invoice.customer_id, invoice.paying_customer_id) for invoice in shop.payments.invoices
        ]


def test_usage_that_was_queued_before_a_subscription_goes_away_is_charged_to_who_had_it() -> None:
    charged = deepcopy(SHOP)
    charged["creditCurrencies"] = [{"id": "tokens"}]
    charged["features"].append({"id": "prompts", "featureType": "Numeric", "meterType": "Incremental"})
    rated = {"featureId": "prompts", "isUnlimited": True, "creditRate": {"currencyId": "tokens", "amount": 2}}
    free = next(plan for plan in charged["plans"] if plan["id"] == "plan-free")
    free["entitlements"] = [*free.get("entitlements", []), rated]
    with Shop(catalog=charged, provider=None) as shop:
        client = shop.client
        for customer_id in ("customer-1", "customer-2"):
            client.provision_customer(customer_id, subscription_params=None)
        made = shop.buy("plan-free")
        client.grant_credits("customer-1", "tokens", 100)
        client.report_usage("customer-1", "prompts", 3, durability="queued")
        client.delegate_subscription(made.id, "customer-2")
        assert 94 == client.get_credit_entitlement("customer-1", "tokens").current_balance


def test_the_paywall_shows_a_customers_subscriptions() -> None:
    with Shop(provider=None) as shop:
        shop.customer()
        shop.buy("plan-pro")
        shop.client.provision_subscription("customer-1", "plan-site", resource_id="site-1")
        paywall = shop.client.get_paywall("product-app", "customer-1").to_dict()
        assert ["plan-pro"] == [item["planId"] for item in paywall["activeSubscriptions"]]
        assert {"product-app"} == {plan["product"]["id"] for plan in paywall["plans"]}
        new = shop.client.get_paywall("product-sites", customer_id="customer-1", resource_id="site-new").to_dict()
        assert [] == new["activeSubscriptions"]
        euros = {
            plan["id"]: [(item["amount"], item["currency"]) for item in plan["pricePoints"]]
            for plan in shop.client.get_paywall("product-app", billing_country_code="DE").to_dict()["plans"]
        }
        assert [(45, "EUR"), (500, "USD")] == euros["plan-pro"]
        assert ([], [(10, "USD")]) == (euros["plan-custom"], euros["plan-seats"])
        assert "plan-draft" not in euros


# ---------------------------------------------------------------------- journeys


def journey(**settings: Any) -> dict[str, Any]:
    made = deepcopy(SHOP)
    made["products"][0]["settings"] = settings
    return made


FREE = {"subscriptionStartSetup": "FREE_PLAN", "subscriptionStartPlanId": "plan-free"}


def test_the_journey_overrides_the_plan_and_keeps_what_fits() -> None:
    with Shop(catalog=journey(**FREE), provider=None) as shop:
        made = shop.client.provision_customer(
            "customer-1",
            subscription_params={
                "planId": "plan-starter",
                "billingPeriod": "MONTHLY",
                "addons": [{"addonId": "addon-calls"}],
                "metadata": {"key": "value"},
            },
        )
        assert made.subscription is not None
        assert ("PREDEFINED_FREE_PLAN", "plan-free", {"key": "value"}) == (
            made.subscription_decision_strategy,
            made.subscription.plan_id,
            made.subscription.metadata,
        )
        again = shop.client.provision_customer("customer-1", subscription_params={"planId": "plan-starter"})
        assert ("SKIPPED_SUBSCRIPTION_CREATION", None) == (again.subscription_decision_strategy, again.subscription)


def test_absent_and_none_differ() -> None:
    with Shop(catalog=journey(**FREE), provider=None) as shop:
        absent = shop.client.provision_customer("customer-1")
        none = shop.client.provision_customer("customer-2", subscription_params=None)
        assert ("PREDEFINED_FREE_PLAN", "SKIPPED_SUBSCRIPTION_CREATION") == (
            absent.subscription_decision_strategy,
            none.subscription_decision_strategy,
        )
        assert (True, None) == (absent.subscription is not None, none.subscription)


def test_a_group_of_an_experiment_stays_whatever_becomes_of_it() -> None:
    """Also where the journey of the group gives no subscription."""
    made = SHOP | {
        "experiments": [
            {
                "id": "freemium",
                "name": "should we use freemium?",
                "productId": "product-app",
                "variantPercentage": 50,
                "variantSettings": FREE,
            }
        ]
    }
    with Shop(catalog=made, provider=None) as shop:
        groups = {}
        for number in range(20):
            found = shop.client.provision_customer(f"customer-{number}").to_dict()
            info = found["customer"]["experimentInfo"]
            groups[number] = info["groupType"]
            assert ("subscription" in found) == (info["groupType"] == "VARIANT")
        assert {"CONTROL", "VARIANT"} == set(groups.values())
        moved = deepcopy(made)
        moved["experiments"][0]["variantPercentage"] = 0
        shop.client.catalog.apply(moved)
        after = {
            number: shop.client.get_customer(f"customer-{number}").to_dict()["experimentInfo"]["groupType"]
            for number in groups
        }
        assert groups == after


def test_a_promotion_without_a_number_says_that_it_is_unlimited() -> None:
    """In the result, in the customer's list and in the answer alike; what is no number says nothing of it."""
    with Shop(provider=None) as shop:
        shop.customer()
        made = shop.client.grant_promotional_entitlements("customer-1", [{"feature_id": "feature-calls"}])
        (kept,) = shop.client.get_customer("customer-1").promotional_entitlements
        answer = shop.client.get_metered_entitlement("customer-1", "feature-calls")
        assert [True, True, True] == [item.is_unlimited for item in (made[0], kept, answer)]


def test_a_variant_ends_as_its_product_says() -> None:
    """The variant of this experiment changes the start alone, as in the example catalog."""
    experiment = {"id": "e", "productId": "product-app", "variantPercentage": 100, "variantSettings": FREE}
    made = journey(subscriptionEndSetup="DOWNGRADE_TO_FREE", downgradePlanId="plan-free") | {
        "experiments": [experiment]
    }
    with Shop(catalog=made, provider=None) as shop:
        shop.client.provision_customer("customer-1")
        bought = shop.client.provision_subscription(
            "customer-1", "plan-starter", billing_period="MONTHLY", skip_trial=True
        ).subscription
        assert bought is not None
        shop.client.cancel_subscription(bought.id, cancellation_time="IMMEDIATE")
        (left,) = shop.client.get_active_subscriptions_list("customer-1")
        assert "plan-free" == left.plan.ref_id


# ---------------------------------------------------------------------- export


def test_an_export_holds_everything_that_is_kept(tmp_path: Path) -> None:
    with Shop("CHECKOUT", data_dir=tmp_path) as shop:
        client = shop.client
        client.provision_customer("customer-1", name="Ann", subscription_params={"plan_id": "plan-free"})
        client.report_usage("customer-1", "feature-calls", 2, dimensions={"who": "ann"})
        client.report_event(
            {"customer_id": "customer-1", "event_name": "login", "idempotency_key": "1", "dimensions": {"who": "ann"}}
        )
        client.grant_credits("customer-1", "currency-ai", 5)
        client.grant_promotional_entitlements("customer-1", [{"feature_id": "feature-sso"}])
        client.provision_subscription("customer-1", "plan-pro", billing_period="MONTHLY", checkout_options=ADMIN)
        found = client.export_customer("customer-1")
        assert json.loads(json.dumps(found)) == found
        assert "Ann" == found["customer"]["name"]
        assert ["plan-free"] == [item["planId"] for item in found["subscriptions"]]
        assert [(2, {"who": "ann"})] == [(item["value"], item["dimensions"]) for item in found["measurements"]]
        assert [("login", {"who": "ann"})] == [(item["eventName"], item["dimensions"]) for item in found["rawEvents"]]
        assert ([5], [5]) == (
            [item["amount"] for item in found["creditGrants"]],
            [item["amount"] for item in found["creditLedger"]],
        )
        assert {"customer.created", "subscription.created"} <= {item["type"] for item in found["events"]}


def test_an_export_tells_usage_in_units_with_its_window_and_its_resource() -> None:
    with Shop() as shop:
        client = shop.client
        client.provision_customer("customer-1", subscription_params={"plan_id": "plan-free"})
        client.provision_subscription("customer-1", "plan-site", resource_id="site-1")
        client.report_usage("customer-1", "feature-calls", 2.5)
        login = {"customer_id": "customer-1", "event_name": "login", "dimensions": {"who": "ann"}}
        client.report_event(
            [login | {"idempotency_key": "1"}, login | {"idempotency_key": "2", "resource_id": "site-1"}]
        )
        found = client.export_customer("customer-1")
        assert ["site-1"] == found["customer"]["resourceIds"]
        assert [None, "site-1"] == [item["resourceId"] for item in found["rawEvents"]]
        usage = {(item["featureId"], item["resourceId"]): item for item in found["usage"]}
        calls, logins = usage["feature-calls", None], usage["feature-logins", None]
        assert (2.5, "2025-01-31T10:00:00.000Z", "2025-02-28T10:00:00.000Z") == (
            calls["usage"],
            calls["from"],
            calls["to"],
        )
        assert (1, None) == (logins["usage"], logins["to"])


def test_an_export_is_of_one_customer_as_time_has_left_it() -> None:
    """The other one's events are not in it, and what nobody wrote down yet is."""
    with Shop() as shop:
        for customer_id in ("customer-1", "customer-2"):
            shop.customer(customer_id)
        late = shop.buy("plan-late")
        shop.client.cancel_subscription(late.id, cancellation_time="END_OF_BILLING_PERIOD")
        shop.clock.set("2025-02-28T10:00:00Z")
        found = shop.client.export_customer("customer-1")
        assert {"customer-1"} == {item["customerId"] for item in found["events"]}
        assert [("plan-late", "CANCELED"), ("plan-late-free", "ACTIVE")] == [
            (item["planId"], item["status"]) for item in found["subscriptions"]
        ]


def test_a_coupon_that_cannot_be_applied_any_more_is_not_listed() -> None:
    with Shop() as shop:
        assert ["coupon-half"] == [coupon.id for coupon in shop.client.get_coupons()]


def test_no_two_customers_share_the_id_of_a_subscription(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six digits are few: what is drawn a second time, for anybody, gets longer."""
    drawn = iter(["0123456789"] * 6)
    monkeypatch.setattr("stigg_local.authority.subscriptions.new_short_id", lambda: next(drawn))
    with Stigg(catalog=SHOP) as client:
        ids = []
        for number in range(3):
            client.provision_customer(f"customer-{number}", subscription_params=None)
            made = client.provision_subscription(f"customer-{number}", "plan-free").subscription
            assert made is not None
            ids.append(made.id)
        assert len(set(ids)) == 3
        assert [f"customer-{number}" for number in range(3)] == [
            client.get_subscription(one).customer_id for one in ids
        ]
