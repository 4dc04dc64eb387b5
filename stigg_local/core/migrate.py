"""Migration of one subscription to the latest version of its plan and add-ons, prices included.

Source: semantics §7.8, §19.3, §19.5.
"""

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from stigg_local.core.catalog import PackageVersion
from stigg_local.core.change import changed, is_latest
from stigg_local.core.customer import Customer, ScheduledUpdate, Subscription, is_trial_at
from stigg_local.core.decided import Decided, find_alive, updated
from stigg_local.core.experiment import settings_at
from stigg_local.core.invoicing import change_invoice
from stigg_local.core.lifecycle import advance, kinds_text
from stigg_local.core.order import check_prices, ordered_units
from stigg_local.core.place import is_paid, is_running
from stigg_local.core.pricing import ZERO
from stigg_local.core.schedule import execution_ms, scheduled, without_waiting
from stigg_local.core.sources import Catalog
from stigg_local.errors import Conflict, NotAllowed


class MigrateToLatest(Struct, frozen=True, kw_only=True):
    """The command: when to move the subscription."""

    subscription_id: str
    migration_time: Literal["END_OF_BILLING_PERIOD", "IMMEDIATE"] = "END_OF_BILLING_PERIOD"


def migrate(
    customer: Customer,
    catalog: Catalog,
    command: MigrateToLatest,
    *,
    now_ms: int,
    charges: bool = False,
    invoice_id: str | None = None,
) -> Decided:
    """Move a subscription to the latest versions, now or at the end of its billing period.

    Raises:
        NotFound: It does not exist (`SubscriptionNotFound`).
        NotAllowed: It has ended, is on the latest versions already (`SubscriptionAlreadyOnLatestPlanError`), or the
            latest version is paid and it is not (`BillingPeriodMissingError`).
        Conflict: A migration waits already (`ScheduledMigrationAlreadyExistsError`).
    """
    advanced = advance(customer, catalog, to_ms=now_ms)
    subscription = find_alive(advanced.customer, command.subscription_id, now_ms)
    if any(item.to_latest and item.status == "Scheduled" for item in subscription.scheduled_updates):
        raise Conflict(
            f"a migration of subscription `{subscription.id[:80]}` waits already",
            code="ScheduledMigrationAlreadyExistsError",
            hint="cancel_subscription_scheduled_updates takes it back",
        )
    if is_latest(subscription, catalog):
        raise NotAllowed(
            f"subscription `{subscription.id[:80]}` is on the latest versions of its plan and add-ons",
            code="SubscriptionAlreadyOnLatestPlanError",
            hint="publish a change of the plan first",
        )
    if subscription.payment_due_ms is not None:
        raise NotAllowed(
            f"subscription `{subscription.id[:80]}` waits for its payment",
            code="InvalidSubscriptionStatus",
            hint="migrate it once it is paid",
        )
    latest = catalog.latest_package(subscription.plan_id)
    if latest is not None:
        _check_latest(subscription, catalog, latest, now_ms)
    change = ScheduledUpdate(kinds=("MigrateToLatest",), created_ms=now_ms, to_latest=True)
    execute_ms = execution_ms(subscription, catalog, command.migration_time, now_ms)
    if execute_ms is not None:
        after = scheduled(subscription, replace(change, execute_ms=execute_ms))
        return updated(advanced, after, now_ms, schedule="Scheduled", kinds=kinds_text(change))
    subscription = without_waiting(subscription)
    settings = settings_at(advanced.customer, catalog, subscription.product_id)
    after = changed(subscription, change, catalog, settings, at_ms=now_ms)
    invoice, credit = None, ZERO
    if is_running(subscription, now_ms):
        invoice, credit = change_invoice(
            advanced.customer,
            subscription,
            after,
            catalog,
            at_ms=now_ms,
            invoice_id=invoice_id or f"invoice-{subscription.id}-{now_ms}",
        )
    if charges and invoice is not None:
        held = replace(change, status="PendingPayment", invoice_id=invoice.id)
        waiting = replace(subscription, scheduled_updates=(held,))
        return replace(
            updated(advanced, waiting, now_ms, schedule="PendingPayment", kinds=kinds_text(change)), charge=invoice
        )
    return replace(updated(advanced, after, now_ms, schedule="Done", kinds=kinds_text(change)), credit=credit)


def _check_latest(subscription: Subscription, catalog: Catalog, latest: PackageVersion, now_ms: int) -> None:
    """A plan that became paid has to be bought: its period and quantities are not known."""
    plan = latest.plan
    if plan is None or plan.pricing_type != "PAID":
        return
    if not is_paid(subscription, catalog):
        raise NotAllowed(
            f"plan `{plan.id}` is paid in its latest version, and subscription `{subscription.id[:80]}` is not",
            code="BillingPeriodMissingError",
            hint="provision_subscription with a billing_period",
        )
    is_trial = is_trial_at(subscription, now_ms)
    check_prices(plan, subscription.billing_period, subscription.billing_country_code, is_trial=is_trial)
    ordered_units(plan, subscription.billing_period, tuple(subscription.units.items()))
