"""The shapes of subscriptions as calls return them: whole, and slim as a customer's list holds them.

Source: the seed's provisioning, listing and getting of subscriptions; beyond it, api.md's further fields.
"""

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from stigg_local.core.catalog import Plan, Price
from stigg_local.core.customer import (
    Customer,
    ExperimentInfo,
    LatestInvoice,
    ScheduledUpdate,
    Subscription,
    entitled_until,
    status_of,
)
from stigg_local.core.invoicing import coupon_of
from stigg_local.core.period import FOREVER_MS, to_datetime
from stigg_local.core.place import billing_period
from stigg_local.core.pricing import coupon_holds, discount, paid_packages, recurring
from stigg_local.core.result import Result
from stigg_local.core.sources import Catalog


class Resource(Result, frozen=True):
    """The resource of a subscription."""

    id: str


class AddonResult(Result, frozen=True):
    """An add-on of a subscription."""

    id: str
    quantity: int


class Money(Result, frozen=True):
    """An amount in full currency units."""

    amount: Decimal
    currency: str


class TotalPrice(Result, frozen=True, kw_only=True):
    """What each billing period costs: before and after the discount."""

    sub_total: Money
    total: Money


class SubscriptionPriceAmount(Result, frozen=True, kw_only=True):
    """The price behind a line."""

    billing_period: str | None
    price: Money


class SubscriptionPrice(Result, frozen=True, kw_only=True):
    """One price of a subscription, and what it makes of its units."""

    billing_model: str
    price: SubscriptionPriceAmount
    feature_id: str | None = None
    package_id: str | None = None
    quantity: int | None = None


class InvoiceResult(Result, frozen=True, kw_only=True):
    """The last invoice of a subscription, as the payment provider told of it."""

    billing_id: str | None
    status: str
    payment_url: str | None
    payment_secret: str | None
    error_message: str | None


class ExperimentResult(Result, frozen=True, kw_only=True):
    """The group of an experiment; `group_type` is CONTROL or VARIANT."""

    name: str
    id: str
    group_name: str
    group_type: str


class ScheduledUpdateResult(Result, frozen=True, kw_only=True):
    """A change that waits for its time or for its payment; what it leaves alone is None."""

    _dates: ClassVar[dict[str, str]] = {"execution_ms": "scheduled_execution_time"}

    subscription_schedule_type: str
    schedule_status: str
    execution_ms: int | None
    plan_id: str | None
    billing_period: str | None
    addons: tuple[AddonResult, ...] | None
    billable_features: tuple["BillableFeature", ...] | None

    @property
    def scheduled_execution_time(self) -> datetime | None:
        """When it is carried out; None where it waits for a payment."""
        return to_datetime(self.execution_ms)


class BillableFeature(Result, frozen=True):
    """Units of a feature that a subscription is committed to."""

    feature_id: str
    quantity: int


class _Dated:
    """The instants of a subscription as dates, whichever shape it has."""

    __slots__ = ()

    start_ms: int
    trial_end_ms: int | None
    cancellation_ms: int | None
    effective_end_ms: int | None
    period_start_ms: int | None
    period_end_ms: int | None

    @property
    def start_date(self) -> datetime | None:
        """When it starts to entitle."""
        return to_datetime(self.start_ms)

    @property
    def trial_end_date(self) -> datetime | None:
        """When its trial ends."""
        return to_datetime(self.trial_end_ms)

    @property
    def cancellation_date(self) -> datetime | None:
        """When it will be cancelled; None where no end is planned."""
        return to_datetime(self.cancellation_ms)

    @property
    def effective_end_date(self) -> datetime | None:
        """When it stops to entitle."""
        return to_datetime(self.effective_end_ms)

    @property
    def current_billing_period_start(self) -> datetime | None:
        """Where the billing period that runs begins; None where none does, as for free, trial and custom."""
        return to_datetime(self.period_start_ms)

    @property
    def current_billing_period_end(self) -> datetime | None:
        """Where the billing period that runs ends."""
        return to_datetime(self.period_end_ms)


class SubscriptionResult(_Dated, Result, frozen=True, kw_only=True):
    """A subscription as calls return it; dates are aware, ends exclusive."""

    _nulls: ClassVar[tuple[str, ...]] = ("metadata", "price")
    _dates: ClassVar[dict[str, str]] = {
        "start_ms": "start_date",
        "trial_end_ms": "trial_end_date",
        "cancellation_ms": "cancellation_date",
        "effective_end_ms": "effective_end_date",
        "period_start_ms": "current_billing_period_start",
        "period_end_ms": "current_billing_period_end",
    }

    id: str
    plan_id: str
    status: str
    addons: tuple[AddonResult, ...]
    addon_ids: tuple[str, ...]
    customer_id: str
    resource: Resource | None
    metadata: dict[str, str] | None
    price: Decimal | None
    pricing_type: str
    payment_collection: str
    latest_invoice: InvoiceResult | None
    experiment_info: ExperimentResult | None
    billing_period: str | None
    billable_features: tuple[BillableFeature, ...] | None
    start_ms: int
    trial_end_ms: int | None
    cancellation_ms: int | None
    effective_end_ms: int | None
    period_start_ms: int | None
    period_end_ms: int | None
    cancel_reason: str | None
    scheduled_updates: tuple[ScheduledUpdateResult, ...]
    prices: tuple[SubscriptionPrice, ...]
    total_price: TotalPrice | None
    coupon_id: str | None
    promotion_code: str | None
    paying_customer_id: str | None
    plan_version: int


class ProvisionSubscriptionResult(Result, frozen=True, kw_only=True):
    """What provisioning a subscription gives: `Success`, or `PaymentRequired` with a checkout page and nothing yet."""

    status: str
    checkout_url: str | None = None
    subscription: SubscriptionResult | None = None


class ScheduledUpdatesCancelled(Result, frozen=True):
    """What cancelling scheduled updates gives."""

    subscription_id: str


class CustomerRef(Result, frozen=True):
    """A customer by id and e-mail."""

    _nulls: ClassVar[tuple[str, ...]] = ("email",)

    customer_id: str
    email: str | None


class PlanName(Result, frozen=True):
    """A plan by id and name."""

    ref_id: str
    display_name: str


class SlimProduct(Result, frozen=True, kw_only=True):
    """The product of a slim subscription's plan."""

    _nulls: ClassVar[tuple[str, ...]] = ("downgrade_plan",)

    ref_id: str
    display_name: str
    downgrade_plan: PlanName | None


class SlimPlan(Result, frozen=True, kw_only=True):
    """The plan of a slim subscription."""

    _nulls: ClassVar[tuple[str, ...]] = ("description",)

    ref_id: str
    display_name: str
    description: str | None
    product: SlimProduct


class AddonRef(Result, frozen=True):
    """An add-on by its id."""

    addon_id: str


class SlimAddon(Result, frozen=True, kw_only=True):
    """An add-on of a slim subscription."""

    quantity: int
    addon: AddonRef


class SlimResource(Result, frozen=True):
    """The resource of a slim subscription."""

    resource_id: str


class SlimSubscription(_Dated, Result, frozen=True, kw_only=True):
    """A subscription as `get_active_subscriptions_list` holds it; dates are aware, ends exclusive."""

    _nulls: ClassVar[tuple[str, ...]] = ("end_date", "trial_end_date", "additional_meta_data")
    _dates: ClassVar[dict[str, str]] = {
        "start_ms": "start_date",
        "end_ms": "end_date",
        "effective_end_ms": "effective_end_date",
        "cancellation_ms": "cancellation_date",
        "period_start_ms": "current_billing_period_start",
        "period_end_ms": "current_billing_period_end",
        "trial_end_ms": "trial_end_date",
    }

    subscription_id: str
    status: str
    pricing_type: str
    start_ms: int
    end_ms: int | None
    cancellation_ms: int | None
    effective_end_ms: int | None
    period_start_ms: int | None
    period_end_ms: int | None
    billing_period: str | None
    additional_meta_data: dict[str, str] | None
    customer: CustomerRef
    paying_customer: CustomerRef
    resource: SlimResource | None
    plan: SlimPlan
    addons: tuple[SlimAddon, ...]
    prices: tuple[SubscriptionPrice, ...]
    total_price: TotalPrice | None
    trial_end_ms: int | None

    @property
    def end_date(self) -> datetime | None:
        """The end of a fixed term; None where it renews by itself."""
        return to_datetime(self.end_ms)


def subscription_result(
    customer: Customer, subscription_id: str, catalog: Catalog, *, now_ms: int
) -> SubscriptionResult:
    """A subscription of a record that was advanced to `now_ms`."""
    subscription = customer.subscription(subscription_id)
    end = entitled_until(subscription)
    package = catalog.packages.get((subscription.plan_id, subscription.plan_version))
    period = _period(subscription, catalog, now_ms)
    total = _total(customer, subscription, catalog, now_ms)
    coupon = subscription.coupon
    return SubscriptionResult(
        id=subscription.id,
        plan_id=subscription.plan_id,
        status=status_of(subscription, now_ms),
        addons=tuple(AddonResult(addon.addon_id, addon.quantity) for addon in subscription.addons),
        addon_ids=tuple(addon.addon_id for addon in subscription.addons),
        customer_id=customer.id,
        resource=None if subscription.resource_id is None else Resource(subscription.resource_id),
        metadata=subscription.metadata,
        price=None if total is None else total.sub_total.amount,
        pricing_type="FREE" if package is None else package.version.package.pricing_type,
        payment_collection=subscription.payment_collection,
        latest_invoice=_invoice(subscription.latest_invoice),
        experiment_info=experiment_result(subscription.experiment),
        billing_period=subscription.billing_period,
        billable_features=_units(subscription.units) or None,
        start_ms=subscription.start_ms,
        trial_end_ms=subscription.trial_end_ms,
        cancellation_ms=subscription.cancellation_ms,
        effective_end_ms=None if end == FOREVER_MS else end,
        period_start_ms=None if period is None else period[0],
        period_end_ms=None if period is None else period[1],
        cancel_reason=subscription.cancel_reason,
        scheduled_updates=tuple(
            _scheduled(kind, update) for update in subscription.scheduled_updates for kind in update.kinds
        ),
        prices=_prices(subscription, catalog),
        total_price=total,
        coupon_id=None if coupon is None else coupon.coupon.id,
        promotion_code=None if coupon is None else coupon.promotion_code,
        paying_customer_id=subscription.paying_customer_id,
        plan_version=subscription.plan_version,
    )


def slim_subscription(
    customer: Customer, subscription: Subscription, catalog: Catalog, *, payer: Customer | None, now_ms: int
) -> SlimSubscription:
    """A subscription of an advanced record as a list holds it; `payer` is None where the customer pays."""
    end = entitled_until(subscription)
    period = _period(subscription, catalog, now_ms)
    package = catalog.packages.get((subscription.plan_id, subscription.plan_version))
    plan = None if package is None else package.version.plan
    me = CustomerRef(customer.id, customer.email)
    return SlimSubscription(
        subscription_id=subscription.id,
        status=status_of(subscription, now_ms),
        pricing_type="FREE" if plan is None else plan.pricing_type,
        start_ms=subscription.start_ms,
        end_ms=None,
        cancellation_ms=subscription.cancellation_ms,
        effective_end_ms=None if end == FOREVER_MS else end,
        period_start_ms=None if period is None else period[0],
        period_end_ms=None if period is None else period[1],
        billing_period=subscription.billing_period,
        additional_meta_data=subscription.metadata,
        customer=me,
        paying_customer=me if payer is None else CustomerRef(payer.id, payer.email),
        resource=None if subscription.resource_id is None else SlimResource(subscription.resource_id),
        plan=_slim_plan(subscription, plan, catalog),
        addons=tuple(
            SlimAddon(quantity=addon.quantity, addon=AddonRef(addon.addon_id)) for addon in subscription.addons
        ),
        prices=_prices(subscription, catalog),
        total_price=_total(customer, subscription, catalog, now_ms),
        trial_end_ms=subscription.trial_end_ms,
    )


def experiment_result(info: ExperimentInfo | None) -> ExperimentResult | None:
    """The group as calls return it; None for no experiment."""
    if info is None:
        return None
    return ExperimentResult(name=info.name, id=info.id, group_name=info.group_name, group_type=info.group_type)


def _slim_plan(subscription: Subscription, plan: Plan | None, catalog: Catalog) -> SlimPlan:
    product = catalog.products.get(subscription.product_id)
    downgrade_id = None if product is None else product.settings.downgrade_plan_id
    downgrade = None if downgrade_id is None else catalog.latest_package(downgrade_id)
    return SlimPlan(
        ref_id=subscription.plan_id,
        display_name=subscription.plan_id if plan is None else plan.display_name or plan.id,
        description=None if plan is None else plan.description,
        product=SlimProduct(
            ref_id=subscription.product_id,
            display_name=subscription.product_id if product is None else product.display_name or product.id,
            downgrade_plan=None
            if downgrade is None
            else PlanName(downgrade.id, downgrade.package.display_name or downgrade.id),
        ),
    )


def _period(subscription: Subscription, catalog: Catalog, now_ms: int) -> tuple[int, int] | None:
    is_there = status_of(subscription, now_ms) == "ACTIVE"
    return billing_period(subscription, catalog, now_ms) if is_there else None


def _prices(subscription: Subscription, catalog: Catalog) -> tuple[SubscriptionPrice, ...]:
    """The recurring prices of the plan and the add-ons, each for one unit, at the versions that are paid for."""
    return tuple(
        _price(price, subscription, package_id, times)
        for package_id, times, prices in paid_packages(subscription, catalog)
        for price in prices
    )


def _price(price: Price, subscription: Subscription, package_id: str, times: int) -> SubscriptionPrice:
    amount = price.unit_amount if price.amount is None else price.amount
    is_per_unit = price.billing_model == "PER_UNIT" and price.feature_id is not None
    return SubscriptionPrice(
        billing_model=price.billing_model,
        price=SubscriptionPriceAmount(
            billing_period=price.billing_period, price=Money(Decimal(0) if amount is None else amount, price.currency)
        ),
        feature_id=price.feature_id if is_per_unit else None,
        package_id=package_id,
        quantity=subscription.units.get(price.feature_id or "", 0) if is_per_unit else times,
    )


def _total(customer: Customer, subscription: Subscription, catalog: Catalog, now_ms: int) -> TotalPrice | None:
    price = recurring(subscription, catalog)
    if price.currency is None:
        return None
    off = Decimal(0)
    applied = coupon_of(customer, subscription, catalog)
    if applied is not None and coupon_holds(applied, now_ms):
        off = discount(applied.coupon, price.subtotal, price.currency)
    return TotalPrice(
        sub_total=Money(price.subtotal, price.currency), total=Money(price.subtotal - off, price.currency)
    )


def _invoice(invoice: LatestInvoice | None) -> InvoiceResult | None:
    if invoice is None:
        return None
    return InvoiceResult(
        billing_id=invoice.billing_id,
        status=invoice.status,
        payment_url=invoice.payment_url,
        payment_secret=invoice.payment_secret,
        error_message=invoice.error_message,
    )


def _scheduled(kind: str, update: ScheduledUpdate) -> ScheduledUpdateResult:
    addons = update.addons
    return ScheduledUpdateResult(
        subscription_schedule_type=kind,
        schedule_status=update.status,
        execution_ms=update.execute_ms,
        plan_id=update.plan_id,
        billing_period=update.billing_period,
        addons=None if addons is None else tuple(AddonResult(addon_id, quantity) for addon_id, quantity in addons),
        billable_features=None if update.units is None else _units(update.units),
    )


def _units(units: dict[str, int]) -> tuple[BillableFeature, ...]:
    return tuple(BillableFeature(feature_id, quantity) for feature_id, quantity in sorted(units.items()))
