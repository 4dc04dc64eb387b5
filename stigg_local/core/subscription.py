"""Provisioning: a pure decision from a record, a catalog and a command to a record.

Laws: at any instant at most one non-trial subscription and one trial per customer, product and resource; a trial
never ends a paid one; one self-service trial per customer and product; what is refused leaves no trace. Source: the
seed's warning box, semantics §5 to §7, §19.
"""

from collections.abc import Callable

from msgspec.structs import replace

from stigg_local.core import event
from stigg_local.core.catalog import Product
from stigg_local.core.customer import Customer, LatestInvoice, ScheduledUpdate, Subscription, is_trial_at, same_place
from stigg_local.core.decided import Decided, ended_events, told
from stigg_local.core.experiment import assigned, settings_of
from stigg_local.core.invoicing import change_invoice
from stigg_local.core.lifecycle import Advanced, advance, kinds_text
from stigg_local.core.payment import PAYMENT_WINDOW_MS
from stigg_local.core.place import Placed, billing_period, is_paid, is_running, running, take_place
from stigg_local.core.pricing import ZERO, is_downgrade
from stigg_local.core.provisioning import Order, ProvisionSubscription, TrialOverride, ordered
from stigg_local.core.schedule import execution_ms, scheduled
from stigg_local.core.sources import Catalog

__all__ = ["ProvisionSubscription", "TrialOverride", "journey", "provision"]


def journey(
    catalog: Catalog, product_id: str | None = None, *, customer: Customer | None = None
) -> tuple[Product, str] | None:
    """The product whose journey applies, and the plan that its customers start on; None where they choose.

    Args:
        catalog: The compiled catalog.
        product_id: The product of the requested plan; None for the first single-subscription product.
        customer: Whose journey it is: the product comes back with the settings that hold for this one.
    """
    for product in catalog.products.values():
        if product.multiple_subscriptions or product_id not in (None, product.id):
            continue
        # Whoever comes now is put in a group by what its journey is asked for; it is stored with what is provisioned.
        grouped = None if customer is None else assigned(customer, catalog, product.id)
        settings = settings_of(grouped, catalog, product)
        if settings.subscription_start_setup == "PLAN_SELECTION" or settings.subscription_start_plan_id is None:
            return None
        return replace(product, settings=settings), settings.subscription_start_plan_id
    return None


def provision(
    customer: Customer,
    catalog: Catalog,
    command: ProvisionSubscription,
    *,
    now_ms: int,
    new_id: Callable[[], str],
    is_taken: Callable[[str], bool] = lambda _: False,
    charges: bool = False,
    invoice_id: str | None = None,
) -> Decided:
    """Give a customer a subscription: now, from an instant in the past, or from one in the future.

    A change that has to wait for the end of a billing period is scheduled on the running subscription, and one whose
    payment is due is held on it; then that one is the answer.

    Args:
        customer: The record.
        catalog: The compiled catalog.
        command: What is asked for.
        now_ms: The instant of the decision.
        new_id: Where the new subscription's id comes from.
        is_taken: Whether an id is somebody's already.
        charges: True where a payment provider collects what is due.
        invoice_id: The id of the invoice, where there is one; the same for the same command.

    Raises:
        NotFound: The plan, an add-on, a coupon or a promotion code does not exist.
        NotAllowed: A rule refuses; the code is the field's own, for example `IncompatibleSubscriptionAddon`.
        InvalidInput: An argument is missing or out of range, for example `BillingPeriodMissingError`.
    """
    advanced = advance(customer, catalog, to_ms=now_ms)
    order = ordered(advanced.customer, catalog, command, now_ms=now_ms, new_id=new_id, is_taken=is_taken)
    subscription = order.subscription
    if subscription.is_waiting:
        return _provisioned(advanced, order, Placed((*order.others, subscription), subscription, ()), charges, catalog)
    if subscription.trial_end_ms is not None:
        placed = _placed(order, catalog)
        return _provisioned(advanced, order, placed, charges, catalog)
    running_one = running(order.others, subscription, now_ms)
    buys_trial = any(
        is_trial_at(item, now_ms)
        and item.plan_id == subscription.plan_id
        and same_place(item, subscription)
        and is_running(item, now_ms)
        for item in order.others
    )
    placed = _placed(order, catalog)
    changes = running_one is not None and not buys_trial and subscription.start_ms == now_ms
    downgrades = changes and running_one is not None and is_downgrade(running_one, placed.subscription, catalog)
    if changes and running_one is not None:
        strategy = command.schedule_strategy or (order.downgrade_time if downgrades else "IMMEDIATE")
        execute_ms = execution_ms(running_one, catalog, strategy, now_ms)
        if execute_ms is not None:
            update = _update(placed.subscription, now_ms, downgrades)
            return _scheduled(advanced, order, running_one, replace(update, execute_ms=execute_ms))
    invoice, credit = None, ZERO
    if subscription.start_ms == now_ms and (charges or running_one is not None):
        invoice, credit = change_invoice(
            order.customer,
            running_one,
            placed.subscription,
            catalog,
            at_ms=now_ms,
            invoice_id=invoice_id or f"invoice-{subscription.id}",
            subscription_id=running_one.id if changes and running_one is not None else None,
        )
    if not charges or invoice is None or downgrades:
        return replace(_provisioned(advanced, order, placed, charges, catalog), credit=credit)
    if changes and running_one is not None:
        update = _update(placed.subscription, now_ms, downgrades)
        held = replace(update, status="PendingPayment", invoice_id=invoice.id, successor_id=subscription.id)
        return replace(_scheduled(advanced, order, running_one, held), charge=invoice)
    unpaid = replace(
        placed.subscription,
        payment_due_ms=now_ms + PAYMENT_WINDOW_MS,
        payment_collection="PROCESSING",
        latest_invoice=LatestInvoice(id=invoice.id, status="OPEN", reason=invoice.reason),
    )
    waiting = Placed((*order.others, unpaid), unpaid, ())
    return replace(_provisioned(advanced, order, waiting, charges, catalog), charge=invoice)


def _placed(order: Order, catalog: Catalog) -> Placed:
    return take_place(
        order.others,
        order.subscription,
        catalog,
        order.product.settings,
        at_ms=order.subscription.start_ms,
    )


def _update(subscription: Subscription, now_ms: int, downgrades: bool) -> ScheduledUpdate:
    """The new subscription as a change of the one that runs."""
    return ScheduledUpdate(
        kinds=("Downgrade",) if downgrades else ("Plan",),
        created_ms=now_ms,
        plan_id=subscription.plan_id,
        billing_period=subscription.billing_period,
        addons=tuple((addon.addon_id, addon.quantity) for addon in subscription.addons),
        units=subscription.units,
        custom_features=subscription.custom_features,
        custom_credits=subscription.custom_credits,
        billing_country_code=subscription.billing_country_code,
        metadata=subscription.metadata,
        coupon=subscription.coupon,
        re_anchors=subscription.re_anchors,
    )


def _scheduled(advanced: Advanced, order: Order, running_one: Subscription, update: ScheduledUpdate) -> Decided:
    changed = scheduled(running_one, update, downgrades="Downgrade" in update.kinds)
    subscriptions = tuple(changed if item.id == changed.id else item for item in order.others)
    return Decided(
        customer=replace(order.customer, subscriptions=subscriptions),
        subscription_id=changed.id,
        events=(
            *advanced.events,
            told(
                order.customer,
                event.SUBSCRIPTION_UPDATED,
                changed,
                order.now_ms,
                schedule=update.status,
                kinds=kinds_text(update),
            ),
        ),
    )


def _provisioned(advanced: Advanced, order: Order, placed: Placed, charges: bool, catalog: Catalog) -> Decided:
    subscription = placed.subscription
    if charges and subscription.payment_due_ms is None:
        subscription = replace(subscription, paid_until_ms=_first_charge(subscription, catalog, order.now_ms))
    customer = replace(
        order.customer,
        subscriptions=tuple(subscription if item.id == subscription.id else item for item in placed.subscriptions),
    )
    made = [
        *ended_events(customer, placed.ended, order.now_ms),
        told(customer, event.SUBSCRIPTION_CREATED, subscription, order.now_ms, planId=subscription.plan_id),
    ]
    if is_trial_at(subscription, order.now_ms) and not subscription.is_waiting:
        made.append(told(customer, event.TRIAL_STARTED, subscription, order.now_ms))
    return Decided(
        customer=customer,
        subscription_id=subscription.id,
        ended=placed.ended,
        events=(*advanced.events, *made),
    )


def _first_charge(subscription: Subscription, catalog: Catalog, now_ms: int) -> int | None:
    """When a payment provider is to be asked for the first time without a command; None for what is not paid for."""
    if not is_paid(subscription, catalog):
        return None
    if subscription.trial_end_ms is not None:
        return subscription.trial_end_ms if subscription.trial_end_behavior == "CONVERT_TO_PAID" else None
    if subscription.is_waiting:
        return subscription.start_ms
    period = billing_period(subscription, catalog, now_ms)
    return None if period is None else period[1]
