"""A customer: the authority's record, and the snapshot that answers are computed from.

The record holds identity and history; the snapshot holds only what entitles, as intervals, future ones too, and
no name, e-mail or metadata. `core.snapshot` makes the second from the first, `core.lifecycle` says what time makes
of the first.
"""

from msgspec import Struct

from stigg_local.core.catalog import Coupon, Metadata, Number, PackageEntitlement
from stigg_local.core.period import FOREVER_MS

SUBSCRIPTION, TRIAL, PROMOTIONAL = 0, 1, 2


class Record(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of what the authority stores of a customer, as JSON."""


class SubscriptionAddon(Record, frozen=True):
    """An add-on on a subscription, at one published version; `price_version` None is that version."""

    addon_id: str
    version: int
    quantity: int = 1
    price_version: int | None = None


class CustomFeature(Record, frozen=True):
    """The value that one subscription gives to an `isCustom` entitlement."""

    usage_limit: Number | None = None
    is_unlimited: bool = False


class CustomCredit(Record, frozen=True):
    """Recurring credits that one subscription was given beside its plan's."""

    currency_id: str
    amount: Number
    cadence: str


class ExperimentInfo(Record, frozen=True):
    """The group of an experiment that a customer was put in; `group_type` is CONTROL or VARIANT."""

    id: str
    product_id: str
    name: str
    group_name: str
    group_type: str


class AppliedCoupon(Record, frozen=True):
    """A coupon as it was when it was applied; `is_used` once an invoice was paid with it."""

    coupon: Coupon
    start_ms: int
    promotion_code: str | None = None
    is_used: bool = False


class LatestInvoice(Record, frozen=True):
    """The last invoice of a subscription, as the payment provider told of it.

    `id` is ours; `status` is PAID, OPEN or FAILED; `reason` is why it was made.
    """

    id: str
    status: str
    reason: str | None = None
    billing_id: str | None = None
    payment_url: str | None = None
    payment_secret: str | None = None
    error_message: str | None = None


class ScheduledUpdate(Record, frozen=True):
    """A change that waits: for `execute_ms` where its status is Scheduled, for payment where it is PendingPayment.

    A field that is None keeps what the subscription has. Versions are looked up when the change is carried out.
    `kinds` are words of SubscriptionScheduleType. `successor_id` is the id of the subscription that a plan change
    makes where it is paid at once; paid later, it changes the one that it waits on.
    """

    kinds: tuple[str, ...]
    created_ms: int
    status: str = "Scheduled"
    execute_ms: int | None = None
    plan_id: str | None = None
    billing_period: str | None = None
    addons: tuple[tuple[str, int], ...] | None = None
    units: dict[str, int] | None = None
    custom_features: dict[str, CustomFeature] | None = None
    custom_credits: tuple[CustomCredit, ...] | None = None
    billing_country_code: str | None = None
    metadata: Metadata | None = None
    coupon: AppliedCoupon | None = None
    to_latest: bool = False
    re_anchors: bool = False
    invoice_id: str | None = None
    successor_id: str | None = None


class Subscription(Record, frozen=True):
    """One subscription; its status follows from its instants and the clock.

    `end_ms` is when it stopped entitling; `usage_anchor_ms` anchors usage windows and recurring credits, and
    resettable windows count nothing from before `usage_cut_ms`.

    What time has still to do is written as what waits: `is_waiting` for the start, `converted_ms` None for a trial's
    end, `cancellation_ms`, `scheduled_updates`, and `payment_due_ms`, by which an unpaid one has to be paid.
    `paid_until_ms` is set only where a payment provider charges: the next charge is due then.
    """

    id: str
    plan_id: str
    plan_version: int
    price_version: int
    product_id: str
    created_ms: int
    start_ms: int
    usage_anchor_ms: int
    usage_cut_ms: int
    billing_anchor_ms: int
    resource_id: str | None = None
    billing_period: str | None = None
    billing_country_code: str | None = None
    is_waiting: bool = False
    re_anchors: bool = False
    end_ms: int | None = None
    cancel_reason: str | None = None
    cancellation_ms: int | None = None
    cancellation_action: str | None = None
    trial_end_ms: int | None = None
    trial_end_behavior: str | None = None
    converted_ms: int | None = None
    addons: tuple[SubscriptionAddon, ...] = ()
    units: dict[str, int] = {}
    custom_features: dict[str, CustomFeature] = {}
    custom_credits: tuple[CustomCredit, ...] = ()
    scheduled_updates: tuple[ScheduledUpdate, ...] = ()
    coupon: AppliedCoupon | None = None
    payment_collection: str = "NOT_REQUIRED"
    payment_due_ms: int | None = None
    paid_until_ms: int | None = None
    latest_invoice: LatestInvoice | None = None
    paying_customer_id: str | None = None
    experiment: ExperimentInfo | None = None
    metadata: Metadata | None = None


class PromotionalEntitlement(Record, frozen=True):
    """What a customer was given by hand; at most one for each feature. `is_over` once its end was told of.

    `group_ids` are the feature groups that gave it; `is_direct` where the feature itself was given, too.
    """

    entitlement: PackageEntitlement
    period: str
    start_ms: int
    end_ms: int | None = None
    is_visible: bool = True
    is_over: bool = False
    is_direct: bool = True
    group_ids: tuple[str, ...] = ()


class Customer(Record, frozen=True):
    """What the authority knows of a customer. `coupon_ms` is when the coupon was given."""

    id: str
    created_ms: int
    updated_ms: int
    name: str | None = None
    email: str | None = None
    coupon_id: str | None = None
    coupon_ms: int | None = None
    is_coupon_used: bool = False
    metadata: Metadata | None = None
    archived_ms: int | None = None
    resource_ids: tuple[str, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    promotional_entitlements: tuple[PromotionalEntitlement, ...] = ()
    experiments: tuple[ExperimentInfo, ...] = ()

    def subscription(self, subscription_id: str) -> Subscription:
        """The subscription of this id, which is one of the customer's."""
        return next(item for item in self.subscriptions if item.id == subscription_id)


PackageRef = tuple[str, int, int]  # id, version, quantity


class SubscriptionSource(Struct, frozen=True, array_like=True, tag=0, gc=False):
    """One interval in which a subscription entitles; `packages` has the plan first."""

    kind: int
    start_ms: int
    end_ms: int
    resource_id: str
    subscription_id: str
    anchor_ms: int
    cut_ms: int
    packages: tuple[PackageRef, ...]
    units: tuple[tuple[str, int], ...] = ()
    custom: tuple[tuple[str, Number | None], ...] = ()
    custom_credits: tuple[tuple[str, Number, str], ...] = ()


class PromotionalSource(Struct, frozen=True, array_like=True, tag=1, gc=False):
    """One promotional entitlement; it holds for every resource."""

    start_ms: int
    end_ms: int
    entitlement: PackageEntitlement


Source = SubscriptionSource | PromotionalSource


class CustomerSnapshot(Struct, frozen=True, array_like=True, gc=False):
    """All that an answer needs of a customer but the moving numbers.

    `as_of_ms` is the authority's time of the last change of the record.
    """

    as_of_ms: int
    is_archived: bool
    resource_ids: tuple[str, ...]
    sources: tuple[Source, ...]


def status_of(subscription: Subscription, now_ms: int) -> str:
    """The status at an instant, computed: no scheduler has to run for it to be right.

    What another subscription of the customer does to this one is in the record only once it was advanced.
    """
    end = subscription.end_ms
    cancellation = subscription.cancellation_ms
    if end is not None and now_ms >= end:
        return "EXPIRED" if subscription.cancel_reason in _EXPIRED_REASONS else "CANCELED"
    if cancellation is not None and now_ms >= cancellation:
        return "CANCELED"
    if subscription.payment_due_ms is not None:
        return "PAYMENT_PENDING" if now_ms < subscription.payment_due_ms else "EXPIRED"
    if now_ms < subscription.start_ms:
        # Cancelled before its start, it does not start.
        return "NOT_STARTED" if end is None or end > subscription.start_ms else "CANCELED"
    if subscription.trial_end_ms is not None:
        if now_ms < subscription.trial_end_ms:
            return "IN_TRIAL"
        if subscription.trial_end_behavior == "CANCEL_SUBSCRIPTION" and subscription.converted_ms is None:
            return "EXPIRED"
    return "ACTIVE"


_EXPIRED_REASONS = ("Expired", "TrialEnded", "PendingPaymentExpired")


def is_trial_at(subscription: Subscription, at_ms: int) -> bool:
    """True where the instant lies before the end of the subscription's trial."""
    return subscription.trial_end_ms is not None and at_ms < subscription.trial_end_ms


def entitled_until(subscription: Subscription) -> int:
    """The instant at which the subscription stops entitling, exclusive."""
    end = FOREVER_MS if subscription.end_ms is None else subscription.end_ms
    if subscription.cancellation_ms is not None:
        end = min(end, subscription.cancellation_ms)
    if (
        subscription.trial_end_ms is not None
        and subscription.trial_end_behavior == "CANCEL_SUBSCRIPTION"
        and subscription.converted_ms is None
    ):
        end = min(end, subscription.trial_end_ms)
    return end


def same_place(one: Subscription, other: Subscription) -> bool:
    """True where only one of the two can be in force, trials apart: the same product and resource."""
    return one.product_id == other.product_id and one.resource_id == other.resource_id
