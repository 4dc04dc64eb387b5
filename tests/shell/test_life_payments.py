"""Payment as a port: every outcome at every occasion, what a webhook tells later, crashes, what is kept nowhere."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stigg_local import (
    AuthorityUnavailable,
    IdempotencyConflict,
    InvalidInput,
    NotAllowed,
    NotFound,
    PaymentOutcome,
    Stigg,
)
from stigg_local.authority.collection import invoice_id_of
from stigg_local.testing import ManualClock, ScriptedPayments
from tests.shell.clients import start
from tests.shell.shop import ADMIN, SHOP, T0, Asking, Shop

OPEN = ("PROCESSING", "ACTION_REQUIRED", "FAILED")


# ---------------------------------------------------------------------- a new subscription


def test_a_paid_subscription_is_active_at_once() -> None:
    with Shop() as shop:
        shop.customer()
        made = shop.buy(billing_information={"tax_percentage": 17}, checkout_options=ADMIN)
        assert ("ACTIVE", "NOT_REQUIRED", 1000) == (made.status, made.payment_collection, shop.limit())
        assert made.latest_invoice is not None
        assert "PAID" == made.latest_invoice.status
        (invoice,) = shop.payments.invoices
        assert (made.id, "customer-1", "NEW", "USD", "50") == (
            invoice.subscription_id,
            invoice.customer_id,
            invoice.reason,
            invoice.currency,
            f"{invoice.amount:.0f}",
        )
        assert {"tax_percentage": 17} == invoice.billing_information
        assert [ADMIN] == shop.payments.options


@pytest.mark.parametrize("outcome", OPEN)
def test_an_unpaid_subscription_entitles_to_nothing(outcome: str) -> None:
    with Shop(outcome) as shop:
        shop.customer()
        made = shop.buy()
        shown = made.to_dict()
        assert ("PAYMENT_PENDING", outcome) == (made.status, shown["paymentCollection"])
        assert not shop.client.get_metered_entitlement("customer-1", "feature-calls").has_access
        expected = {
            "PROCESSING": {"billingId", "status"},
            "ACTION_REQUIRED": {"billingId", "status", "paymentUrl", "paymentSecret"},
            "FAILED": {"billingId", "status", "paymentUrl", "errorMessage"},
        }
        assert expected[outcome] == set(shown["latestInvoice"])


@pytest.mark.parametrize("outcome", OPEN)
def test_a_later_payment_starts_it(outcome: str) -> None:
    with Shop(outcome) as shop:
        shop.customer()
        made = shop.buy()
        shop.clock.advance(hours=2)
        paid = shop.client.payments.settle(made.id, "PAID")
        assert paid is not None
        assert ("ACTIVE", "NOT_REQUIRED", 1000) == (paid.status, paid.payment_collection, shop.limit())
        assert "2025-01-31T12:00:00.000Z" == paid.to_dict()["startDate"]


def test_a_later_failure_leaves_it_unpaid_until_it_expires() -> None:
    with Shop("PROCESSING") as shop:
        shop.customer()
        made = shop.buy()
        failed = shop.client.payments.settle(made.id, "FAILED", error_message="no sufficient funds")
        assert failed is not None
        assert "no sufficient funds" == failed.to_dict()["latestInvoice"]["errorMessage"]
        shop.clock.advance(hours=23, milliseconds=-1)
        assert "PAYMENT_PENDING" == shop.subscription(made.id).status
        shop.clock.advance(milliseconds=1)
        expired = shop.subscription(made.id)
        assert ("EXPIRED", "PendingPaymentExpired") == (expired.status, expired.cancel_reason)
        with pytest.raises(NotAllowed) as caught:
            shop.client.payments.settle(made.id, "PAID")
        assert "SubscriptionAlreadyCanceledOrExpired" == caught.value.code


def test_a_checkout_has_no_subscription_until_it_is_paid() -> None:
    with Shop("CHECKOUT") as shop:
        shop.customer()
        asked: Any = {"billing_period": "MONTHLY", "checkout_options": ADMIN, "idempotency_key": "key-1"}
        found = shop.client.provision_subscription("customer-1", "plan-pro", **asked)
        assert {"status": "PaymentRequired", "checkoutUrl": found.checkout_url} == found.to_dict()
        assert [ADMIN] == shop.payments.options
        assert [] == list(shop.client.get_subscriptions("customer-1"))
        assert ["customer.created"] == shop.types()
        assert found == shop.client.provision_subscription("customer-1", "plan-pro", **asked)
        assert 1 == len(shop.payments.invoices)
        paid = shop.client.payments.settle(str(found.checkout_url), "PAID", idempotency_key="webhook-1")
        assert paid is not None
        assert ("ACTIVE", 1000) == (paid.status, shop.limit())
        assert ["customer.created", "subscription.created"] == shop.types()
        assert paid == shop.client.payments.settle(str(found.checkout_url), "PAID", idempotency_key="webhook-1")


def test_a_checkout_that_is_given_up_leaves_nothing() -> None:
    with Shop("CHECKOUT") as shop:
        found = shop.client.provision_customer(
            "customer-1", subscription_params={"plan_id": "plan-pro", "billing_period": "MONTHLY"}
        )
        assert found.checkout_url is not None
        assert (None, "REQUESTED_PLAN") == (found.subscription, found.subscription_decision_strategy)
        assert shop.client.payments.settle(found.checkout_url, "FAILED") is None
        assert "customer.payment_failed" == shop.types()[-1]
        assert [] == list(shop.client.get_subscriptions("customer-1"))
        with pytest.raises(NotFound, match="neither a subscription nor a pending checkout"):
            shop.client.payments.settle(found.checkout_url, "PAID")


@pytest.mark.parametrize("outcome", ["PAID", *OPEN, "CHECKOUT"])
def test_a_repeat_of_provision_customer_gives_the_final_reply(outcome: str) -> None:
    """Its stored reply follows the outcome, too."""
    with Shop(outcome) as shop:
        params = {"plan_id": "plan-pro", "billing_period": "MONTHLY", "checkout_options": ADMIN}
        made = [
            shop.client.provision_customer(
                "customer-1", name="Ann", subscription_params=params, idempotency_key="key-1"
            )
            for _ in range(2)
        ]
        assert made[0] == made[1]
        assert 1 == len(shop.payments.invoices)


@pytest.mark.parametrize("plan_id", ["plan-free", "plan-custom"])
def test_nothing_is_collected_where_nothing_is_due(plan_id: str) -> None:
    with Shop("FAILED") as shop:
        shop.customer()
        custom = [{"feature": {"feature_id": "feature-seats", "usage_limit": 3}}] if plan_id == "plan-custom" else []
        assert "ACTIVE" == shop.buy(plan_id, billing_period=None, entitlements=custom).status
        assert [] == shop.payments.invoices


# ---------------------------------------------------------------------- a change


@pytest.mark.parametrize("outcome", OPEN)
def test_an_upgrade_that_is_not_paid_leaves_what_was(outcome: str) -> None:
    with Shop("PAID", outcome) as shop:
        shop.customer()
        old = shop.buy("plan-starter")
        held = shop.buy("plan-pro")
        assert (old.id, "plan-starter", 100) == (held.id, held.plan_id, shop.limit())
        assert ["PendingPayment"] == [item.schedule_status for item in held.scheduled_updates]
        shop.client.payments.settle(old.id, "PAID")
        after = shop.subscription(old.id)
        assert ("plan-pro", (), 1000) == (after.plan_id, after.scheduled_updates, shop.limit())


def test_an_upgrade_that_failed_can_be_taken_back() -> None:
    with Shop("PAID", "FAILED") as shop:
        shop.customer()
        old = shop.buy("plan-starter")
        shop.buy("plan-pro")
        shop.client.cancel_subscription_scheduled_updates(old.id, status="PendingPayment")
        assert () == shop.subscription(old.id).scheduled_updates
        assert 100 == shop.limit()


def test_an_upgrade_at_a_checkout_page_waits_for_it() -> None:
    with Shop("PAID", "CHECKOUT") as shop:
        shop.customer()
        old = shop.buy("plan-starter")
        found = shop.client.provision_subscription("customer-1", "plan-pro", billing_period="MONTHLY")
        assert ("PaymentRequired", None) == (found.status, found.subscription)
        assert (("plan-starter", ()), 100) == (
            (shop.subscription(old.id).plan_id, shop.subscription(old.id).scheduled_updates),
            shop.limit(),
        )
        paid = shop.client.payments.settle(str(found.checkout_url), "PAID")
        assert paid is not None
        assert ("plan-pro", 1000) == (paid.plan_id, shop.limit())
        assert "CANCELED" == shop.subscription(old.id).status


def test_an_update_at_a_checkout_page_shows_the_page_and_is_settled_by_it() -> None:
    """`update_subscription` returns a subscription, so the page stands in its invoice."""
    for by_page in (True, False):
        with Shop("PAID", "CHECKOUT") as shop:
            shop.customer()
            made = shop.buy("plan-starter")
            held = shop.client.update_subscription(made.id, addons=[{"addon_id": "addon-calls", "quantity": 2}])
            assert ("ACTION_REQUIRED", ()) == (held.payment_collection, held.addons)
            assert held.latest_invoice is not None
            page = held.latest_invoice.payment_url
            assert page is not None
            paid = shop.client.payments.settle(page if by_page else made.id, "PAID")
            assert paid is not None
            assert (made.id, 200) == (paid.id, shop.limit())
            with pytest.raises(NotFound):
                shop.client.payments.settle(page, "PAID")


def test_what_is_paid_at_once_is_told_once() -> None:
    with Shop() as shop:
        shop.customer()
        made = shop.buy("plan-starter")
        shop.client.update_subscription(made.id, addons=[{"addon_id": "addon-calls"}])
        shop.buy("plan-pro")
        events = list(shop.client.get_events(customer_id="customer-1"))[1:]
        assert [
            ("subscription.created", "PAID"),
            ("subscription.updated", "PAID"),
            ("subscription.canceled", None),
            ("subscription.created", "PAID"),
        ] == [(event.type, event.data.get("payment")) for event in events]


def test_more_units_cost_the_difference_and_fewer_cost_nothing() -> None:
    with Shop() as shop:
        shop.customer()
        made = shop.buy("plan-seats", billable_features=[{"feature_id": "feature-seats", "quantity": 5}])
        shop.clock.advance(days=14)
        shop.client.update_subscription(made.id, billable_features=[{"feature_id": "feature-seats", "quantity": 7}])
        shop.client.update_subscription(made.id, billable_features=[{"feature_id": "feature-seats", "quantity": 6}])
        assert [("NEW", "50.00"), ("UPDATE", "10.00")] == [
            (invoice.reason, f"{invoice.amount:.2f}") for invoice in shop.payments.invoices
        ]
        assert 6 == shop.limit(feature_id="feature-seats")


# ---------------------------------------------------------------------- charges of time


def test_renewals_are_collected_once_each_by_the_tick() -> None:
    with Shop() as shop:
        shop.customer()
        made = shop.buy()
        for month, end in ((2, "2025-02-28"), (3, "2025-03-31"), (4, "2025-04-30")):
            shop.clock.set(f"{end}T09:59:59.999Z")
            shop.client.tick()
            assert month - 1 == len(shop.payments.invoices)
            shop.clock.set(f"{end}T10:00:00Z")
            shop.client.tick()
            shop.client.tick()
            assert month == len(shop.payments.invoices)
        assert {"RENEWAL"} == {invoice.reason for invoice in shop.payments.invoices[1:]}
        assert 4 == len({invoice.id for invoice in shop.payments.invoices})
        assert "ACTIVE" == shop.subscription(made.id).status


def test_whoever_had_it_before_goes_on_paying_the_renewals() -> None:
    with Shop() as shop:
        shop.customer("customer-1")
        shop.customer("customer-2")
        made = shop.buy()
        shop.client.delegate_subscription(made.id, "customer-2")
        shop.clock.advance(days=28)
        shop.client.tick()
        first, second = [(item.customer_id, item.paying_customer_id) for item in shop.payments.invoices]
        assert [("customer-1", None), ("customer-2", "customer-1")] == [first, second]


def test_what_the_tick_collected_is_told_of_the_system() -> None:
    with Shop("PAID", "FAILED") as shop:
        shop.customer()
        shop.buy()
        shop.clock.set("2025-02-28T10:00:00Z")
        seen = len(shop.client.get_events(limit=1000).items)
        shop.client.tick()
        told = shop.client.get_events(limit=1000).items[seen:]
        assert "customer.payment_failed" in [event.type for event in told]
        assert {"system"} == {event.actor for event in told}


@pytest.mark.parametrize("outcome", [*OPEN, "CHECKOUT"])
def test_a_renewal_that_is_not_paid_leaves_access(outcome: str) -> None:
    with Shop("PAID", outcome) as shop:
        shop.customer()
        made = shop.buy()
        shop.clock.set("2025-03-01T00:00:00Z")
        shop.client.tick()
        after = shop.subscription(made.id)
        shown = "ACTION_REQUIRED" if outcome == "CHECKOUT" else outcome
        assert ("ACTIVE", shown, 1000) == (after.status, after.payment_collection, shop.limit())
        assert after.latest_invoice is not None
        page = after.latest_invoice.payment_url if outcome == "CHECKOUT" else made.id
        paid = shop.client.payments.settle(str(page), "PAID")
        assert paid is not None
        assert "NOT_REQUIRED" == paid.payment_collection
        shop.clock.advance(days=3)
        shop.client.tick()
        assert 2 == len(shop.payments.invoices)


def test_a_trial_is_charged_at_its_end_and_not_before() -> None:
    with Shop() as shop:
        shop.customer()
        made = shop.buy("plan-trial")
        assert ("IN_TRIAL", []) == (made.status, shop.payments.invoices)
        shop.clock.set("2025-02-14T10:00:00Z")
        shop.client.tick()
        assert [("TRIAL_END", "30.00")] == [
            (invoice.reason, f"{invoice.amount:.2f}") for invoice in shop.payments.invoices
        ]
        after = shop.subscription(made.id)
        assert ("ACTIVE", "2025-02-14T10:00:00.000Z") == (
            after.status,
            after.to_dict()["currentBillingPeriodStart"],
        )


@pytest.mark.parametrize("outcome", ["FAILED", "ACTION_REQUIRED"])
def test_a_trial_whose_charge_fails_waits_23_hours(outcome: str) -> None:
    with Shop(outcome) as shop:
        shop.customer()
        made = shop.buy("plan-trial")
        shop.clock.set("2025-02-14T10:00:00Z")
        shop.client.tick()
        assert ("PAYMENT_PENDING", False) == (
            shop.subscription(made.id).status,
            shop.client.get_metered_entitlement("customer-1", "feature-calls").has_access,
        )
        shop.clock.advance(hours=3)
        shop.client.payments.settle(made.id, "PAID")
        after = shop.subscription(made.id)
        # The cycle stays anchored at the trial's end.
        assert ("ACTIVE", "2025-03-14T10:00:00.000Z") == (after.status, after.to_dict()["currentBillingPeriodEnd"])


def test_a_future_start_is_charged_when_it_comes() -> None:
    with Shop("FAILED") as shop:
        shop.customer()
        made = shop.buy("plan-pro", start_date="2025-03-01T00:00:00Z")
        assert ("NOT_STARTED", []) == (made.status, shop.payments.invoices)
        shop.clock.set("2025-03-01T00:00:00Z")
        shop.client.tick()
        assert ["START"] == [invoice.reason for invoice in shop.payments.invoices]
        assert "PAYMENT_PENDING" == shop.subscription(made.id).status
        shop.clock.advance(hours=23)
        assert "EXPIRED" == shop.subscription(made.id).status


def test_a_long_sleep_charges_the_period_that_runs() -> None:
    """Periods that nobody collected in time are the provider's and the operator's to settle, not charged in a heap."""
    with Shop() as shop:
        shop.customer()
        shop.buy()
        shop.clock.set("2025-06-15T00:00:00Z")
        shop.client.tick()
        shop.client.tick()
        assert ["NEW", "RENEWAL"] == [invoice.reason for invoice in shop.payments.invoices]


# ---------------------------------------------------------------------- a provider that fails


class Raising(ScriptedPayments):
    """A provider that fails a number of times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.asked: list[str] = []

    def collect(self, invoice: Any, checkout_options: Any = None) -> PaymentOutcome:
        self.asked.append(invoice.id)
        if self.times:
            self.times -= 1
            raise ConnectionError("the canary is in the provider's own words")
        return super().collect(invoice, checkout_options)


def test_a_provider_that_raises_is_asked_again_by_a_repeat() -> None:
    provider = Raising(1)
    with Shop(provider=provider) as shop:
        shop.customer()
        with pytest.raises(AuthorityUnavailable) as caught:
            shop.buy(idempotency_key="key-1")
        assert caught.value.retryable
        assert "canary" not in str(caught.value)
        assert "PAYMENT_PENDING" == next(iter(shop.client.get_subscriptions("customer-1"))).status
        assert "ACTIVE" == shop.buy(idempotency_key="key-1").status
        assert 1 == len(set(provider.asked))
        assert 1 == len(provider.invoices)
        assert ["customer.created", "subscription.created"] == shop.types()


def test_a_provider_that_raises_in_the_tick_is_asked_again_a_minute_later(
    capsys: pytest.CaptureFixture[str],
) -> None:
    provider = Raising(0)
    with Shop(provider=provider) as shop:
        for number in range(3):
            shop.customer(f"customer-{number}")
            shop.buy(customer_id=f"customer-{number}")
        provider.times = 1
        shop.clock.set("2025-02-28T10:00:00Z")
        shop.client.tick()
        # One that fails holds up no other.
        assert 5 == len(provider.invoices)
        shop.client.tick()
        assert 5 == len(provider.invoices)
        shop.clock.advance(seconds=60)
        shop.client.tick()
        assert 6 == len(provider.invoices)
    captured = capsys.readouterr()
    assert "canary" not in captured.out + captured.err


@pytest.mark.parametrize("answer", ["PAID", None, PaymentOutcome(outcome="LATER"), PaymentOutcome(outcome="CHECKOUT")])
def test_an_answer_that_is_none_is_refused(answer: Any) -> None:
    class Odd(ScriptedPayments):
        def collect(self, invoice: Any, checkout_options: Any = None) -> Any:
            return answer

    with Shop(provider=Odd()) as shop:
        shop.customer()
        with pytest.raises(Exception, match="the payment provider answered") as caught:
            shop.buy()
        assert caught.value.hint  # type: ignore[attr-defined]


def test_an_update_that_nobody_repeats_is_told_in_the_end() -> None:
    provider = Raising(0)
    with Shop(provider=provider) as shop:
        shop.customer()
        made = shop.buy("plan-starter")
        provider.times = 1
        with pytest.raises(AuthorityUnavailable):
            shop.client.update_subscription(made.id, addons=[{"addon_id": "addon-calls"}])
        before = shop.types()
        shop.clock.advance(hours=23)
        shop.client.tick()
        assert [*before, "subscription.updated"] == shop.types()
        assert ["PendingPayment"] == [item.schedule_status for item in shop.subscription(made.id).scheduled_updates]
        shop.client.payments.settle(made.id, "PAID")
        assert 150 == shop.limit()


def test_a_customer_is_read_while_the_provider_fails() -> None:
    class Down(ScriptedPayments):
        def has_payment_method(self, customer_id: str) -> bool:
            raise ConnectionError

    with Shop(provider=Down()) as shop:
        shop.customer()
        assert not shop.client.get_customer("customer-1").has_payment_method


def test_a_provider_may_call_the_client() -> None:
    """It is asked outside of any transaction."""
    seen: list[Any] = []

    def act(invoice: Any) -> None:
        found = shop.client.get_subscription(invoice.subscription_id)
        shop.client.update_customer(invoice.customer_id, metadata={"asked": "yes"})
        seen.append(found.status)

    with Shop(provider=Asking(act)) as shop:
        shop.customer()
        shop.buy()
        shop.clock.set("2025-02-28T10:00:00Z")
        shop.client.tick()
        assert ["PAYMENT_PENDING", "ACTIVE"] == seen
        assert {"asked": "yes"} == shop.client.get_customer("customer-1").metadata


def test_what_somebody_collects_is_not_collected_by_the_next_tick() -> None:
    """Who was asked may take a minute, and meanwhile something else of the customer may be due."""
    asked: list[str] = []

    def act(invoice: Any) -> None:
        asked.append(invoice.reason)
        if asked == ["NEW", "RENEWAL"]:
            shop.clock.advance(seconds=10)
            shop.client.tick()

    with Shop(provider=Asking(act)) as shop:
        shop.customer()
        made = shop.buy()
        shop.client.grant_promotional_entitlements(
            "customer-1",
            [{"feature_id": "feature-audit", "period": "CUSTOM", "custom_end_date": "2025-02-28T10:00:05Z"}],
        )
        shop.clock.set("2025-02-28T10:00:00Z")
        shop.client.tick()
        assert ["NEW", "RENEWAL"] == asked
        assert "promotional_entitlement.expired" in shop.types()
        latest = shop.subscription(made.id).latest_invoice
        assert ("PAID", "NOT_REQUIRED") == (
            None if latest is None else latest.status,
            shop.subscription(made.id).payment_collection,
        )


def test_what_is_asked_for_again_after_a_while_is_collected_after_all() -> None:
    """Something else of the customer that is due in between gives nothing up."""
    down = [ConnectionError("no network")]

    def act(invoice: Any) -> None:
        if down:
            raise down.pop()

    with Shop(provider=Asking(act)) as shop:
        shop.customer()
        shop.client.grant_promotional_entitlements(
            "customer-1",
            [{"feature_id": "feature-audit", "period": "CUSTOM", "custom_end_date": "2025-01-31T11:00:00Z"}],
        )
        with pytest.raises(AuthorityUnavailable):
            shop.buy(idempotency_key="key-1")
        shop.clock.advance(hours=2)
        shop.client.tick()
        assert "promotional_entitlement.expired" in shop.types()
        assert "ACTIVE" == shop.buy(idempotency_key="key-1").status


def test_what_is_cancelled_while_it_is_collected_stays_cancelled() -> None:
    def act(invoice: Any) -> None:
        shop.client.cancel_subscription(invoice.subscription_id, cancellation_time="IMMEDIATE")

    with Shop(provider=Asking(act)) as shop:
        shop.customer()
        made = shop.client.provision_subscription("customer-1", "plan-pro", billing_period="MONTHLY").subscription
        assert made is not None
        assert "CANCELED" == shop.subscription(made.id).status
        assert not shop.client.get_metered_entitlement("customer-1", "feature-calls").has_access


def test_what_cannot_collect_is_no_provider() -> None:
    with pytest.raises(InvalidInput, match="payment_provider has no method `collect`") as caught:
        Stigg(catalog=SHOP, payment_provider=type("Half", (), {"sync_customer": print})())
    assert caught.value.hint


def test_other_arguments_that_are_passed_on_are_another_command() -> None:
    with Shop() as shop:
        shop.customer()
        shop.buy(billing_information={"metadata": {"a": "1"}}, idempotency_key="key-1")
        with pytest.raises(IdempotencyConflict):
            shop.buy(billing_information={"metadata": {"a": "2"}}, idempotency_key="key-1")
        shop.client.update_customer("customer-1", billing_info={"language": "en"}, idempotency_key="key-2")
        with pytest.raises(IdempotencyConflict):
            shop.client.update_customer("customer-1", billing_info={"language": "de"}, idempotency_key="key-2")


# ---------------------------------------------------------------------- crashes and several processes

LEDGER = """
from pathlib import Path
from stigg_local.testing import ScriptedPayments
from tests.shell.shop import *

class Bank(ScriptedPayments):
    '''A provider that writes down what it collects, and takes one invoice id once.'''
    def __init__(self, path, dies=False):
        super().__init__()
        self.path, self.dies = Path(path), dies
    def collect(self, invoice, checkout_options=None):
        with open(self.path, "a") as file:
            file.write(f"{invoice.id} {invoice.reason}\\n")
        if self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().collect(invoice, checkout_options)
"""


@pytest.mark.parametrize("first", ["provision_subscription", "provision_customer"])
def test_a_crash_before_the_outcome_is_finished_by_a_repeat(tmp_path: Path, first: str) -> None:
    """The same key asks for the same invoice, which a provider collects once."""
    data, book = tmp_path / "data", tmp_path / "book"
    call = {
        "provision_subscription": "client.provision_subscription('customer-1', 'plan-pro', billing_period='MONTHLY',"
        " idempotency_key='key-1')",
        "provision_customer": "client.provision_customer('customer-1', idempotency_key='key-1',"
        " subscription_params={'plan_id': 'plan-pro', 'billing_period': 'MONTHLY'})",
    }[first]
    with Stigg(catalog=SHOP, data_dir=data) as client:
        if first == "provision_subscription":
            client.provision_customer("customer-1", subscription_params=None)
    killed = start(
        LEDGER + f"client = Stigg(data_dir=args[0], payment_provider=Bank(args[1], dies=True))\n{call}\n", data, book
    )
    killed.communicate(timeout=60)
    assert -signal.SIGKILL == killed.returncode
    with Stigg(data_dir=data) as client:
        (pending,) = client.get_subscriptions("customer-1")
        assert ("PAYMENT_PENDING", False) == (
            pending.status,
            client.get_metered_entitlement("customer-1", "feature-calls").has_access,
        )
    repeat = LEDGER + (
        f"client = Stigg(data_dir=args[0], payment_provider=Bank(args[1]))\nmade = {call}\nprint(made.to_json())\n"
        f"print({call}.to_json())\nclient.close()\n"
    )
    process = start(repeat, data, book)
    shown = [json.loads(line) for line in process.communicate(timeout=60)[0].splitlines()]
    assert ("ACTIVE", pending.id) == (shown[0]["subscription"]["status"], shown[0]["subscription"]["id"])
    assert shown[0]["subscription"] == shown[1]["subscription"]
    collected = book.read_text().split("\n")[:-1]
    assert (2, 1) == (len(collected), len(set(collected)))
    with Stigg(data_dir=data) as client:
        types = [event.type for event in client.get_events(customer_id="customer-1")]
        assert ["customer.created", "subscription.created"] == types


def test_a_crash_that_nobody_repeats_expires(tmp_path: Path) -> None:
    """And the log tells of what was there."""
    clock = ManualClock(T0)
    with Shop(data_dir=tmp_path, provider=Raising(9), clock=clock) as shop:
        shop.customer()
        with pytest.raises(AuthorityUnavailable):
            shop.buy()
        clock.advance(hours=23)
        assert ["customer.created"] == shop.types()
        shop.client.tick()
        (made,) = shop.client.get_subscriptions("customer-1")
        assert "EXPIRED" == made.status
        assert ["customer.created", "subscription.created", "subscription.expired"] == shop.types()


def test_a_crash_of_the_tick_is_finished_a_minute_later(tmp_path: Path) -> None:
    """Also where a command wrote the customer in between."""
    data, book = tmp_path / "data", tmp_path / "book"
    with Shop(data_dir=data) as shop:
        shop.customer()
        made = shop.buy("plan-trial")
    code = LEDGER + (
        "client = Stigg(data_dir=args[0], payment_provider=Bank(args[1], dies=True), clock=ManualClock(T0))\n"
        "client._clock.set('2025-02-14T10:00:00Z')\nclient.confirm_clock()\nclient.tick()\n"
    )
    killed = start(code, data, book)
    killed.communicate(timeout=60)
    assert -signal.SIGKILL == killed.returncode
    with Shop(data_dir=data, clock=ManualClock("2025-02-14T10:00:00Z")) as shop:
        shop.client.confirm_clock()
        assert ("ACTIVE", "PROCESSING") == (
            shop.subscription(made.id).status,
            shop.subscription(made.id).payment_collection,
        )
        shop.client.update_customer("customer-1", name="Ann")
        shop.client.tick()
        assert [] == shop.payments.invoices
        shop.clock.advance(seconds=60)
        shop.client.tick()
        assert [f"{invoice.id} {invoice.reason}" for invoice in shop.payments.invoices] == book.read_text().split(
            "\n"
        )[:-1]
        assert "NOT_REQUIRED" == shop.subscription(made.id).payment_collection


@pytest.mark.stress
def test_two_processes_that_tick_collect_once(tmp_path: Path) -> None:
    data, book = tmp_path / "data", tmp_path / "book"
    with Shop(data_dir=data) as shop:
        for number in range(120):
            shop.customer(f"customer-{number}")
            shop.buy(customer_id=f"customer-{number}")
    code = LEDGER + (
        "client = Stigg(data_dir=args[0], payment_provider=Bank(args[1]), clock=ManualClock('2025-03-01T00:00:00Z'))\n"
        "client.confirm_clock()\nprint('ready', flush=True)\nsys.stdin.readline()\n"
        "for _ in range(5): client.tick()\nclient.close()\n"
    )
    workers = [start(code, data, book) for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate(timeout=120)
        assert 0 == worker.returncode
    collected = book.read_text().split("\n")[:-1]
    assert (120, 120) == (len(collected), len(set(collected)))
    with Shop(data_dir=data, clock=ManualClock("2025-03-01T00:00:00Z")) as shop:
        paid = [event for event in shop.client.get_events(limit=1000) if event.data.get("payment") == "PAID"]
        assert 240 == len(paid)


# ---------------------------------------------------------------------- what is kept nowhere

CANARY = "canary-7f3a"
BILLING: dict[str, Any] = {
    "language": CANARY,
    "timezone": CANARY,
    "customer_name": CANARY,
    "billing_address": {"country": "US", "city": CANARY, "state": CANARY, "address_line1": CANARY},
    "shipping_address": {"country": "DE", "address_line2": CANARY, "phone_number": CANARY, "postal_code": CANARY},
    "tax_ids": [{"type": CANARY, "value": CANARY}],
    "invoice_custom_fields": {CANARY: CANARY},
    "payment_method_id": CANARY,
    "currency": CANARY,
    "metadata": {CANARY: CANARY},
}
INFORMATION: dict[str, Any] = {"tax_rate_ids": [CANARY], "tax_percentage": 17, "metadata": {CANARY: CANARY}}
OPTIONS: dict[str, Any] = ADMIN | {"reference_id": CANARY, "allow_promo_codes": True}


def contents(place: Path) -> Iterator[tuple[Path, bytes]]:
    return ((path, path.read_bytes()) for path in sorted(place.rglob("*")) if path.is_file())


@pytest.mark.parametrize("outcome", ["PAID", "CHECKOUT", "FAILED"])
def test_billing_information_is_passed_on_whole_and_kept_nowhere(
    tmp_path: Path, outcome: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Shop(outcome, outcome, data_dir=tmp_path) as shop:
        shown = [
            shop.client.provision_customer(
                "customer-1",
                billing_info=BILLING,
                subscription_params={
                    "plan_id": "plan-pro",
                    "billing_period": "MONTHLY",
                    "billing_information": INFORMATION,
                    "checkout_options": OPTIONS,
                },
                idempotency_key="key-1",
            )
        ]
        assert BILLING == shop.payments.billing["customer-1"]
        assert [INFORMATION] == [invoice.billing_information for invoice in shop.payments.invoices]
        assert [OPTIONS] == shop.payments.options
        shop.client.update_customer("customer-1", billing_info={"language": "de"})
        assert {"language": "de"} == shop.payments.billing["customer-1"]
        texts = [repr(item) + item.to_json() for item in shown]
        texts += [repr(shop.client), repr(list(shop.client.get_events())), repr(shop.client.status())]
        texts += [json.dumps(shop.client.export_customer("customer-1")), repr(shop.client.get_customer("customer-1"))]
        kept = dict(contents(tmp_path))
    kept |= dict(contents(tmp_path))
    captured = capsys.readouterr()
    assert [] == [text for text in (*texts, captured.out, captured.err) if CANARY in text]
    assert [] == [path for path, body in kept.items() if CANARY.encode() in body]


def test_a_provider_that_fails_on_billing_information_leaks_none_of_it() -> None:
    class Strict(ScriptedPayments):
        def sync_customer(self, customer_id: str, billing_info: Any) -> None:
            raise ValueError(f"cannot take {billing_info}")

    with Shop(provider=Strict()) as shop, pytest.raises(AuthorityUnavailable) as caught:
        shop.client.provision_customer("customer-1", billing_info=BILLING, subscription_params=None)
    assert CANARY not in str(caught.value) + repr(caught.value) + str(caught.value.hint)


def test_wrong_billing_information_is_told_without_its_values() -> None:
    with Shop() as shop:
        for wrong in ({"billing_address": {"country": "XX"}}, {"languge": CANARY}, {"tax_ids": [{"type": "a"}]}):
            with pytest.raises(Exception, match="billing_info"):
                shop.client.provision_customer("customer-1", billing_info=wrong)
        assert {} == shop.payments.billing


def test_each_command_has_an_invoice_of_its_own() -> None:
    """The same for a repeat; another operation under the same key is another command."""
    found = [invoice_id_of(*command) for command in (("provisionSubscription", "k"), ("updateSubscription", "k"))]
    assert 2 == len(set(found))
    assert found[0] == invoice_id_of("provisionSubscription", "k") != invoice_id_of("provisionSubscription", "k2")


def test_a_code_is_counted_each_time_it_is_used() -> None:
    """Twice it may be, so the third is refused, and the refused one is no use of it."""
    twice = SHOP | {"promotionCodes": [{"code": "TWICE", "couponId": "coupon-half", "maxRedemptions": 2}]}
    with Shop(catalog=twice) as shop:
        for number in range(4):
            customer_id = shop.customer(f"customer-{number}")
            if number < 2:
                shop.buy(customer_id=customer_id, promotion_code="TWICE")
                continue
            with pytest.raises(NotAllowed) as refused:
                shop.buy(customer_id=customer_id, promotion_code="TWICE")
            assert "PromotionCodeMaxRedemptionsReached" == refused.value.code
        assert ["25.00", "25.00"] == [f"{item.amount:.2f}" for item in shop.payments.invoices]
