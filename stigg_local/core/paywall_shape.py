"""The shapes of a pricing page, of products and of coupons, as calls return them.

Amounts are full currency units. Source: the seed's paywall, product and coupon sections.
"""

from decimal import Decimal
from typing import Any, ClassVar

from stigg_local.core.result import Result
from stigg_local.core.subscription_result import Money, SubscriptionResult


class PaywallFeature(Result, frozen=True, kw_only=True):
    """A feature as a pricing page shows it."""

    id: str
    feature_type: str
    description: str
    meter_type: str
    units: str | None
    units_plural: str | None
    display_name: str
    is_metered: bool
    metadata: dict[str, str] | None


class PaywallEntitlement(Result, frozen=True, kw_only=True):
    """What a plan or an add-on gives of a feature.

    Attributes:
        usage_limit: The limit or configured value; 0 for a Boolean feature, None where it is unlimited or an Enum.
        hidden_from_widgets: Where it is not to be shown, for example `PAYWALL`.
    """

    _nulls: ClassVar[tuple[str, ...]] = ("display_name_override",)

    usage_limit: int | float | None
    feature: PaywallFeature
    has_unlimited_usage: bool
    has_soft_limit: bool | None
    is_granted: bool | None
    is_custom: bool | None
    reset_period: str | None
    enum_values: tuple[str, ...] | None
    display_name_override: str | None
    hidden_from_widgets: tuple[str, ...]


class PaywallCredit(Result, frozen=True, kw_only=True):
    """Recurring credits of a plan or an add-on."""

    currency_id: str
    display_name: str
    amount: int | float
    cadence: str


class PaywallTier(Result, frozen=True, kw_only=True):
    """One step of a tiered price; `up_to` is inclusive, None in the last."""

    up_to: int | float | None
    unit_price: Money | None
    flat_price: Money | None


class PaywallPrice(Result, frozen=True, kw_only=True):
    """One price of a plan or an add-on, for the chosen country."""

    billing_model: str
    billing_period: str
    price: Money | None
    billing_country_code: str | None
    feature_id: str | None
    min_unit_quantity: int | None
    max_unit_quantity: int | None
    tiers_mode: str | None
    tiers: tuple[PaywallTier, ...] | None
    block_size: int | None


class PricePoint(Result, frozen=True, kw_only=True):
    """The least that a plan costs for a billing period.

    Attributes:
        amount: Its flat fees and the smallest number of units that can be bought.
        additional_charges_may_apply: True where usage or overage is charged on top.
        feature: Whose units are in the amount; None where none are.
    """

    plan_id: str
    billing_period: str
    amount: Decimal
    currency: str
    billing_country_code: str | None
    additional_charges_may_apply: bool
    feature: PaywallFeature | None


class DefaultTrial(Result, frozen=True, kw_only=True):
    """The trial that a plan offers by itself."""

    duration: int
    units: str
    trial_end_behavior: str
    budget: Money | None


class PaywallAddon(Result, frozen=True, kw_only=True):
    """An add-on that a plan takes."""

    _nulls: ClassVar[tuple[str, ...]] = ("description", "metadata", "max_quantity")

    id: str
    display_name: str
    description: str | None
    metadata: dict[str, str] | None
    entitlements: tuple[PaywallEntitlement, ...]
    credit_entitlements: tuple[PaywallCredit, ...]
    prices: tuple[PaywallPrice, ...]
    overage_prices: tuple[PaywallPrice, ...]
    pricing_type: str
    max_quantity: int | None
    dependencies: tuple[str, ...]
    hidden: bool


class PlanRef(Result, frozen=True):
    """A plan by its id and name."""

    id: str
    display_name: str


class ProductResult(Result, frozen=True, kw_only=True):
    """A product; `downgrade_plan` is the free plan that follows the end of a subscription, if there is one."""

    _nulls: ClassVar[tuple[str, ...]] = ("description", "metadata")

    id: str
    display_name: str
    description: str | None
    metadata: dict[str, str] | None
    downgrade_plan: PlanRef | None


class CouponResult(Result, frozen=True, kw_only=True):
    """A coupon; `discount_value` is the percentage, or the first of the fixed amounts."""

    _nulls: ClassVar[tuple[str, ...]] = ("description", "metadata")

    id: str
    name: str
    description: str | None
    metadata: dict[str, str] | None
    discount_value: Decimal
    type: str
    percent_off: Decimal | None
    amounts_off: tuple[Money, ...] | None
    duration_in_months: int | None
    once: bool | None
    status: str


class PaywallPlan(Result, frozen=True, kw_only=True):
    """A plan as a pricing page shows it."""

    _nulls: ClassVar[tuple[str, ...]] = ("description", "default_trial_config", "metadata")

    id: str
    order: int
    display_name: str
    description: str | None
    entitlements: tuple[PaywallEntitlement, ...]
    inherited_entitlements: tuple[PaywallEntitlement, ...]
    credit_entitlements: tuple[PaywallCredit, ...]
    inherited_credit_entitlements: tuple[PaywallCredit, ...]
    price_points: tuple[PricePoint, ...]
    prices: tuple[PaywallPrice, ...]
    overage_prices: tuple[PaywallPrice, ...]
    minimum_spend: tuple[tuple[str, Money], ...]
    pricing_type: str
    default_trial_config: DefaultTrial | None
    compatible_addons: tuple[PaywallAddon, ...]
    base_plan: PlanRef | None
    product: ProductResult
    metadata: dict[str, str] | None
    version_number: int
    hidden: bool

    def to_dict(self) -> dict[str, Any]:
        """The seed's shape; `minimumSpend` is a mapping of billing period to money."""
        result = super().to_dict()
        del result["minimumSpend"]
        if self.minimum_spend:
            result["minimumSpend"] = {period: money.to_dict() for period, money in self.minimum_spend}
        return result


class Paywall(Result, frozen=True, kw_only=True):
    """A pricing page: the plans in order and, for a customer, the subscriptions in force."""

    plans: tuple[PaywallPlan, ...]
    active_subscriptions: tuple[SubscriptionResult, ...] | None = None
