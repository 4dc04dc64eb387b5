"""Updates of a subscription in place: a pure decision from a record, a catalog and a command to a record.

Laws: what a command does not name stays; a change that lowers anything is a downgrade as a whole; what is refused
leaves no trace. Source: semantics §7.3, §7.5, §19.7 to §19.13, §19.27.
"""

from typing import Literal, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from stigg_local.core.catalog import Coupon, Plan
from stigg_local.core.change import changed
from stigg_local.core.customer import AppliedCoupon, Customer, ScheduledUpdate, Subscription, is_trial_at
from stigg_local.core.decided import Decided, find_alive, updated
from stigg_local.core.discounts import check_amount, with_code
from stigg_local.core.experiment import settings_at
from stigg_local.core.ids import UNSET, Unset
from stigg_local.core.invoicing import change_invoice
from stigg_local.core.lifecycle import Advanced, advance, kinds_text
from stigg_local.core.order import check_currency, check_prices, ordered_addons, ordered_units
from stigg_local.core.period import to_text
from stigg_local.core.place import billing_period, is_running
from stigg_local.core.pricing import ZERO, is_downgrade, recurring
from stigg_local.core.schedule import execution_ms, scheduled, without_waiting
from stigg_local.core.sources import Catalog
from stigg_local.errors import InvalidInput, NotAllowed, NotFound

T = TypeVar("T")


class UpdateSubscription(Struct, frozen=True, kw_only=True):
    """The command, checked for its shape; what is UNSET stays, what is None is cleared.

    `addons` is the full list, `units` and `metadata` merge. `resolved_coupon` is what the payment provider makes of
    the promotion code, and `redeemed` how often the code was used before.
    """

    subscription_id: str
    addons: tuple[tuple[str, int], ...] | Unset | None = UNSET
    units: tuple[tuple[str, int], ...] | Unset | None = UNSET
    metadata: dict[str, str] | Unset | None = UNSET
    promotion_code: str | Unset | None = UNSET
    billing_period: str | Unset | None = UNSET
    cancellation_ms: int | Unset | None = UNSET
    trial_end_ms: int | Unset | None = UNSET
    billing_cycle_anchor: Literal["UNCHANGED", "NOW"] = "UNCHANGED"
    schedule_strategy: Literal["IMMEDIATE", "END_OF_BILLING_PERIOD", "END_OF_BILLING_MONTH"] | None = None
    resolved_coupon: Coupon | None = None
    redeemed: int = 0


def update(
    customer: Customer,
    catalog: Catalog,
    command: UpdateSubscription,
    *,
    now_ms: int,
    charges: bool = False,
    invoice_id: str | None = None,
) -> Decided:
    """Change a subscription in place: at once, or at the end of a period, or once it is paid for.

    Args:
        customer: The record.
        catalog: The compiled catalog.
        command: What to change.
        now_ms: The instant of the decision.
        charges: True where a payment provider collects what is due.
        invoice_id: The id of the invoice, where there is one; the same for the same command.

    Raises:
        NotFound: The subscription, an add-on or a promotion code does not exist.
        NotAllowed: It has ended, or a rule refuses.
        InvalidInput: A value is out of range: `InvalidQuantity`, `InvalidCancellationDate`, `InvalidMetadataError`.
    """
    advanced = advance(customer, catalog, to_ms=now_ms)
    before = find_alive(advanced.customer, command.subscription_id, now_ms)
    subscription = _with_texts(before, catalog, command, now_ms)
    subscription = _with_trial_end(subscription, command.trial_end_ms, now_ms)
    subscription = _with_cancellation(subscription, command.cancellation_ms, now_ms)
    if not _names_change(command):
        return updated(advanced, subscription, now_ms)
    if subscription.payment_due_ms is not None:
        raise NotAllowed(
            f"subscription `{subscription.id[:80]}` waits for its payment",
            code="InvalidSubscriptionStatus",
            hint="change it once it is paid, or cancel it and provision another",
        )
    change = _change(subscription, catalog, command, now_ms)
    return _changed(
        advanced, subscription, catalog, command, change, now_ms=now_ms, charges=charges, invoice_id=invoice_id
    )


def _names_change(command: UpdateSubscription) -> bool:
    """Whether the command changes what is paid for: only then are waiting changes replaced (semantics §19.11)."""
    named = (command.addons, command.units, command.billing_period)
    return command.billing_cycle_anchor == "NOW" or any(not isinstance(item, Unset) for item in named)


def _change(subscription: Subscription, catalog: Catalog, command: UpdateSubscription, now_ms: int) -> ScheduledUpdate:
    """What the command asks for, checked, as a change of the subscription."""
    plan = _plan(subscription, catalog)
    # A free plan has no cycle, whatever period is named.
    asked_period = UNSET if plan.pricing_type == "FREE" else command.billing_period
    period = _given(asked_period, subscription.billing_period)
    check_prices(
        plan,
        period,
        subscription.billing_country_code,
        is_trial=subscription.trial_end_ms is not None and subscription.converted_ms is None,
    )
    kinds: list[str] = []
    held = tuple((addon.addon_id, addon.quantity) for addon in subscription.addons)
    asked = _given(command.addons, held) or ()
    if not isinstance(command.addons, Unset) or period != subscription.billing_period:
        addons = ordered_addons(catalog, plan, asked, period, held=subscription.addons)
        check_currency(catalog, plan, addons, period, subscription.billing_country_code)
    if asked != held:
        kinds.append("Addon")
    units = subscription.units
    if not isinstance(command.units, Unset):
        # A feature that is given twice is told of by the check, so nothing is merged away before it.
        new = command.units or ()
        kept = {} if command.units is None else {key: value for key, value in units.items() if key not in dict(new)}
        units = ordered_units(plan, period, (*kept.items(), *new))
    elif period != subscription.billing_period:
        units = ordered_units(plan, period, tuple(units.items()))
    if units != subscription.units:
        kinds.append("UnitAmount")
    if period != subscription.billing_period:
        kinds.append("BillingPeriod")
    return ScheduledUpdate(
        kinds=tuple(kinds),
        created_ms=now_ms,
        billing_period=None if period == subscription.billing_period else period,
        addons=None if asked == held else asked,
        units=None if units == subscription.units else units,
        re_anchors=command.billing_cycle_anchor == "NOW",
    )


def _changed(
    advanced: Advanced,
    subscription: Subscription,
    catalog: Catalog,
    command: UpdateSubscription,
    change: ScheduledUpdate,
    *,
    now_ms: int,
    charges: bool,
    invoice_id: str | None,
) -> Decided:
    customer = advanced.customer
    settings = settings_at(customer, catalog, subscription.product_id)
    waits = next((item for item in subscription.scheduled_updates if item.status == "Scheduled"), None)
    only_units = isinstance(command.addons, Unset) and isinstance(command.billing_period, Unset)
    if waits is not None and waits.plan_id is not None and only_units and not isinstance(command.units, Unset):
        # Units bought while a plan change waits: the change carries the new quantity.
        carried = {**(waits.units or {}), **dict(command.units or ())}
        if _lowers(subscription, change):
            return _schedules(advanced, subscription, replace(waits, units=carried), now_ms, downgrades=True)
        subscription = replace(subscription, scheduled_updates=(replace(waits, units=carried),))
    else:
        subscription = without_waiting(subscription)
    if not change.kinds and not change.re_anchors:
        return updated(advanced, subscription, now_ms)
    after = changed(subscription, change, catalog, settings, at_ms=now_ms)
    downgrades = is_downgrade(subscription, after, catalog)
    strategy = command.schedule_strategy or (settings.downgrade_time if downgrades else "IMMEDIATE")
    execute_ms = execution_ms(subscription, catalog, strategy, now_ms)
    if execute_ms is not None:
        kinds = ("Downgrade",) if downgrades and not change.kinds else change.kinds
        change = replace(change, kinds=kinds, execute_ms=execute_ms)
        return _schedules(advanced, subscription, change, now_ms, downgrades=downgrades)
    invoice, credit = None, ZERO
    if is_running(subscription, now_ms):
        invoice, credit = change_invoice(
            customer,
            subscription,
            after,
            catalog,
            at_ms=now_ms,
            invoice_id=invoice_id or f"invoice-{subscription.id}-{now_ms}",
        )
    if charges and invoice is not None and not downgrades:
        held = replace(change, status="PendingPayment", invoice_id=invoice.id)
        kept = tuple(item for item in subscription.scheduled_updates if item.plan_id is not None)
        subscription = replace(subscription, scheduled_updates=(*kept, held))
        return replace(_waiting(advanced, subscription, held, now_ms), charge=invoice)
    period = billing_period(after, catalog, now_ms)
    if after.paid_until_ms is not None and period is not None and not after.is_waiting:
        after = replace(after, paid_until_ms=period[1])
    return replace(updated(advanced, after, now_ms), credit=credit)


def _lowers(subscription: Subscription, change: ScheduledUpdate) -> bool:
    units = subscription.units if change.units is None else change.units
    return any(units.get(key, 0) < quantity for key, quantity in subscription.units.items())


def _schedules(
    advanced: Advanced, subscription: Subscription, change: ScheduledUpdate, now_ms: int, *, downgrades: bool
) -> Decided:
    return _waiting(advanced, scheduled(subscription, change, downgrades=downgrades), change, now_ms)


def _waiting(advanced: Advanced, subscription: Subscription, change: ScheduledUpdate, now_ms: int) -> Decided:
    return updated(advanced, subscription, now_ms, schedule=change.status, kinds=kinds_text(change))


def _with_texts(
    subscription: Subscription, catalog: Catalog, command: UpdateSubscription, now_ms: int
) -> Subscription:
    """Metadata merged, the promotion code replaced."""
    if not isinstance(command.metadata, Unset):
        merged = None if command.metadata is None else {**(subscription.metadata or {}), **command.metadata}
        subscription = replace(subscription, metadata=merged)
    if isinstance(command.promotion_code, Unset):
        return subscription
    coupon: AppliedCoupon | None = None
    if command.promotion_code is not None:
        coupon = with_code(
            catalog,
            command.promotion_code,
            resolved=command.resolved_coupon,
            redeemed=command.redeemed,
            now_ms=now_ms,
        )
        check_amount(coupon, recurring(subscription, catalog).currency)
    return replace(subscription, coupon=coupon)


def _with_trial_end(subscription: Subscription, end_ms: int | Unset | None, now_ms: int) -> Subscription:
    """The trial with another end; a later one takes a planned cancellation back."""
    if isinstance(end_ms, Unset):
        return subscription
    trial_end = subscription.trial_end_ms
    if trial_end is None or not is_trial_at(subscription, now_ms):
        raise NotAllowed(
            f"subscription `{subscription.id[:80]}` is in no trial",
            code="InvalidSubscriptionStatus",
            hint="leave trial_end_date out",
        )
    if end_ms is None or end_ms <= max(now_ms, subscription.start_ms):
        raise InvalidInput(
            f"trial_end_date is `{to_text(end_ms)}`, which is not after now and the start",
            code="InvalidArgumentError",
            hint="pass a trial_end_date in the future; cancel_subscription ends a trial now",
        )
    extends = end_ms > trial_end
    return replace(
        with_trial_until(subscription, end_ms),
        cancellation_ms=None if extends else subscription.cancellation_ms,
        cancellation_action=None if extends else subscription.cancellation_action,
    )


def with_trial_until(subscription: Subscription, end_ms: int) -> Subscription:
    """The trial with another end: its billing, and its first charge, begin then."""
    paid_until = None if subscription.paid_until_ms is None else end_ms
    return replace(subscription, trial_end_ms=end_ms, billing_anchor_ms=end_ms, paid_until_ms=paid_until)


def _with_cancellation(subscription: Subscription, end_ms: int | Unset | None, now_ms: int) -> Subscription:
    if isinstance(end_ms, Unset):
        return subscription
    if end_ms is None:
        return replace(subscription, cancellation_ms=None, cancellation_action=None)
    return with_planned_end(subscription, end_ms, None, now_ms=now_ms)


def with_planned_end(subscription: Subscription, end_ms: int, action: str | None, *, now_ms: int) -> Subscription:
    """The subscription with a cancellation planned; one beyond a trial's end extends the trial to it.

    Raises:
        InvalidInput: It is not in the future, or not after the start (`InvalidCancellationDate`).
    """
    if end_ms <= max(now_ms, subscription.start_ms):
        raise InvalidInput(
            f"the cancellation date is `{to_text(end_ms)}`, which is not after now and the start",
            code="InvalidCancellationDate",
            hint="pass a date in the future, or cancel with cancellation_time=IMMEDIATE",
        )
    trial_end = subscription.trial_end_ms
    if trial_end is not None and is_trial_at(subscription, now_ms) and end_ms > trial_end:
        subscription = with_trial_until(subscription, end_ms)
    return replace(subscription, cancellation_ms=end_ms, cancellation_action=action)


def _plan(subscription: Subscription, catalog: Catalog) -> Plan:
    package = catalog.packages.get((subscription.plan_id, subscription.plan_version))
    if package is None or package.version.plan is None:
        raise NotFound(
            f"plan `{subscription.plan_id}` of subscription `{subscription.id[:80]}` does not exist any more",
            code="PlanNotFound",
            hint="provision_subscription with another plan",
        )
    return package.version.plan


def _given(value: T | Unset, otherwise: T) -> T:
    return otherwise if isinstance(value, Unset) else value
