"""A customer: the authority's record, and the snapshot that answers are computed from.

The record holds identity and history; the snapshot holds only what entitles, as intervals, future ones too, and
no name, e-mail or metadata. `derive_snapshot` makes the second from the first; it is made again whenever the
record or the catalog changes.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

from stigg_local.core.catalog import Metadata, Number, PackageEntitlement, Product
from stigg_local.core.period import FOREVER_MS

SUBSCRIPTION, TRIAL, PROMOTIONAL = 0, 1, 2


class Record(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of what the authority stores of a customer, as JSON."""


class SubscriptionAddon(Record, frozen=True):
    """An add-on on a subscription, at one published version."""

    addon_id: str
    version: int
    quantity: int = 1


class CustomFeature(Record, frozen=True):
    """The value that one subscription gives to an `isCustom` entitlement."""

    usage_limit: Number | None = None
    is_unlimited: bool = False


class CustomCredit(Record, frozen=True):
    """Recurring credits that one subscription was given beside its plan's."""

    currency_id: str
    amount: Number
    cadence: str


class Subscription(Record, frozen=True):
    """One subscription; its status follows from its instants and the clock.

    `end_ms` is when it stops entitling; `usage_anchor_ms` anchors usage windows and recurring credits, and
    resettable windows count nothing from before `usage_cut_ms`.
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
    end_ms: int | None = None
    cancel_reason: str | None = None
    cancellation_ms: int | None = None
    trial_end_ms: int | None = None
    trial_end_behavior: str | None = None
    addons: tuple[SubscriptionAddon, ...] = ()
    units: dict[str, int] = {}
    custom_features: dict[str, CustomFeature] = {}
    custom_credits: tuple[CustomCredit, ...] = ()
    payment_collection: str = "NOT_REQUIRED"
    metadata: Metadata | None = None


class PromotionalEntitlement(Record, frozen=True):
    """What a customer was given by hand; at most one for each feature."""

    entitlement: PackageEntitlement
    period: str
    start_ms: int
    end_ms: int | None = None
    is_visible: bool = True


class Customer(Record, frozen=True):
    """What the authority knows of a customer."""

    id: str
    created_ms: int
    updated_ms: int
    name: str | None = None
    email: str | None = None
    coupon_id: str | None = None
    metadata: Metadata | None = None
    archived_ms: int | None = None
    resource_ids: tuple[str, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    promotional_entitlements: tuple[PromotionalEntitlement, ...] = ()


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
    """The status at an instant, computed: no scheduler has to run for it to be right."""
    end = subscription.end_ms
    trial_end = subscription.trial_end_ms
    cancels_at_trial_end = subscription.trial_end_behavior == "CANCEL_SUBSCRIPTION"
    if end is not None and now_ms >= end:
        return "EXPIRED" if subscription.cancel_reason in ("Expired", "TrialEnded") else "CANCELED"
    if now_ms < subscription.start_ms:
        return "NOT_STARTED"
    if trial_end is not None:
        if now_ms < trial_end:
            return "IN_TRIAL"
        if cancels_at_trial_end:
            return "EXPIRED"
    return "ACTIVE"


def is_trial_at(subscription: Subscription, at_ms: int) -> bool:
    """True where the instant lies before the end of the subscription's trial."""
    return subscription.trial_end_ms is not None and at_ms < subscription.trial_end_ms


def entitled_until(subscription: Subscription) -> int:
    """The instant at which the subscription stops entitling, exclusive."""
    end = FOREVER_MS if subscription.end_ms is None else subscription.end_ms
    if subscription.trial_end_ms is not None and subscription.trial_end_behavior == "CANCEL_SUBSCRIPTION":
        end = min(end, subscription.trial_end_ms)
    return end


def ends_at(subscription: Subscription, all_of_them: Sequence[Subscription]) -> int:
    """When it stops entitling among the customer's others: a trial that converts beside it takes its place then."""
    end = entitled_until(subscription)
    for other in all_of_them:
        converts = other.trial_end_ms
        if (
            converts is not None
            and other.id != subscription.id
            and same_place(other, subscription)
            and subscription.start_ms < converts < min(end, entitled_until(other))
            and not is_trial_at(subscription, converts)
        ):
            end = converts
    return end


def same_place(one: Subscription, other: Subscription) -> bool:
    """True where only one of the two can be in force, trials apart: the same product and resource."""
    return one.product_id == other.product_id and one.resource_id == other.resource_id


def derive_snapshot(
    customer: Customer,
    *,
    product: Callable[[str], Product | None],
    latest_version: Callable[[str], int | None],
    as_of_ms: int,
    sure_ms: int | None = None,
) -> CustomerSnapshot:
    """The snapshot of a record.

    A trial becomes one interval of trial and, where it converts, one of subscription. Where it does not, and the
    product downgrades to a free plan, the free plan is a future source of its own.

    Args:
        customer: The record.
        product: Product by id; None for one that is gone.
        latest_version: Latest published version of a package id.
        as_of_ms: The time of the change that made this derivation necessary.
        sure_ms: What ended by then is left out; earlier than `as_of_ms` where the wall clock cannot be believed, so
            that nothing is lost when it goes back. Default: `as_of_ms`.
    """
    if customer.archived_ms is not None:
        return CustomerSnapshot(as_of_ms, True, customer.resource_ids, ())
    sources: list[Source] = []
    for subscription in customer.subscriptions:
        sources += _intervals(subscription, ends_at(subscription, customer.subscriptions))
        follower = free_plan_after(subscription, customer.subscriptions, product, latest_version)
        if follower is not None:
            sources += _intervals(follower, entitled_until(follower))
    sources += [
        PromotionalSource(
            promotion.start_ms,
            FOREVER_MS if promotion.end_ms is None else promotion.end_ms,
            promotion.entitlement,
        )
        for promotion in customer.promotional_entitlements
    ]
    # What has ended for sure cannot answer any later question.
    gone_ms = as_of_ms if sure_ms is None else min(as_of_ms, sure_ms)
    alive = tuple(source for source in sources if source.end_ms > gone_ms and source.end_ms > source.start_ms)
    return CustomerSnapshot(as_of_ms, False, customer.resource_ids, alive)


def _intervals(subscription: Subscription, end: int) -> list[SubscriptionSource]:
    start = subscription.start_ms
    trial_end = subscription.trial_end_ms
    if trial_end is None:
        return [_source(subscription, SUBSCRIPTION, start, end)]
    parts = [_source(subscription, TRIAL, start, min(trial_end, end))]
    if end > trial_end:
        parts.append(_source(subscription, SUBSCRIPTION, trial_end, end))
    return parts


def _source(subscription: Subscription, kind: int, start_ms: int, end_ms: int) -> SubscriptionSource:
    addons = tuple((addon.addon_id, addon.version, addon.quantity) for addon in subscription.addons)
    return SubscriptionSource(
        kind=kind,
        start_ms=start_ms,
        end_ms=end_ms,
        resource_id=subscription.resource_id or "",
        subscription_id=subscription.id,
        anchor_ms=subscription.usage_anchor_ms,
        cut_ms=subscription.usage_cut_ms,
        packages=((subscription.plan_id, subscription.plan_version, 1), *addons),
        units=tuple(sorted(subscription.units.items())),
        custom=tuple(
            (feature_id, None if custom.is_unlimited else custom.usage_limit)
            for feature_id, custom in sorted(subscription.custom_features.items())
        ),
        custom_credits=tuple((item.currency_id, item.amount, item.cadence) for item in subscription.custom_credits),
    )


def free_plan_after(
    trial: Subscription,
    all_of_them: Sequence[Subscription],
    product: Callable[[str], Product | None],
    latest_version: Callable[[str], int | None],
) -> Subscription | None:
    """The free plan that a trial leaves behind where its product says so and nothing else is in its place then.

    It lasts until another subscription of the product starts.
    """
    start = trial.trial_end_ms
    if start is None or trial.trial_end_behavior != "CANCEL_SUBSCRIPTION" or trial.end_ms is not None:
        return None
    found = product(trial.product_id)
    if found is None or found.settings.subscription_end_setup != "DOWNGRADE_TO_FREE":
        return None
    plan_id = found.settings.downgrade_plan_id
    version = None if plan_id is None else latest_version(plan_id)
    if plan_id is None or version is None:
        return None
    others = [other for other in all_of_them if other.id != trial.id and same_place(other, trial)]
    if any(other.start_ms <= start < ends_at(other, all_of_them) for other in others):
        return None
    resets = found.settings.usage_reset_on_plan_change == "ALWAYS_RESET"
    return Subscription(
        id=f"{trial.id}-downgrade",
        plan_id=plan_id,
        plan_version=version,
        price_version=version,
        product_id=trial.product_id,
        created_ms=start,
        start_ms=start,
        usage_anchor_ms=start if resets else trial.usage_anchor_ms,
        usage_cut_ms=start if resets else trial.usage_cut_ms,
        billing_anchor_ms=start,
        resource_id=trial.resource_id,
        end_ms=min((other.start_ms for other in others if other.start_ms > start), default=None),
    )
