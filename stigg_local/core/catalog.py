"""The records of a catalog, as a catalog file, the store and the compiled catalog hold them.

One definition serves the file formats, JSON in the store and Python. `PackageVersion` is what is published:
immutable, with everything a plan inherits in it. What is compiled from them is in `sources`.
"""

from decimal import Decimal
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

Number = int | float
Metadata = dict[str, str]
BillingPeriods = Literal["MONTHLY", "ANNUALLY"]
ResetPeriods = Literal["HOUR", "DAY", "WEEK", "MONTH", "YEAR"]
ResetConfigurations = Literal[
    "SubscriptionStart",
    "StartOfTheMonth",
    "EverySunday",
    "EveryMonday",
    "EveryTuesday",
    "EveryWednesday",
    "EveryThursday",
    "EveryFriday",
    "EverySaturday",
]
Behaviors = Literal["Increment", "Override"]
Cadences = Literal["MONTH", "YEAR"]


class Record(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of all catalog records: camel case outside, defaults left out."""


class Condition(Record, frozen=True):
    """One test of a raw event's field; `values` only for `IN`."""

    field: str
    operation: Literal[
        "EQUALS",
        "NOT_EQUALS",
        "GREATER_THAN",
        "GREATER_THAN_OR_EQUAL",
        "LESS_THAN",
        "LESS_THAN_OR_EQUAL",
        "IS_NULL",
        "IS_NOT_NULL",
        "CONTAINS",
        "STARTS_WITH",
        "ENDS_WITH",
        "IN",
    ]
    value: str | Number | bool | None = None
    values: tuple[str, ...] | None = None


class MeterFilter(Record, frozen=True):
    """Conditions that must all hold."""

    conditions: tuple[Condition, ...]


class Meter(Record, frozen=True):
    """How raw events become usage: any filter lets an event in, the function aggregates `field`."""

    function: Literal["COUNT", "UNIQUE", "SUM", "MAX", "MIN", "AVG"]
    field: str | None = None
    filters: tuple[MeterFilter, ...] = ()


class UnitTransformation(Record, frozen=True):
    """Usage is reported in small units and limited in `divide` times larger ones."""

    divide: int
    round: Literal["UP", "DOWN"] = "UP"


class Feature(Record, frozen=True):
    """A feature; its type, meter type and scale never change once applied."""

    id: str
    feature_type: Literal["Boolean", "Numeric", "Enum"]
    display_name: str | None = None
    description: str | None = None
    meter_type: Literal["None", "Incremental", "Fluctuating"] = "None"
    units: str = ""
    units_plural: str = ""
    enum_values: tuple[str, ...] = ()
    scale: int = 6
    unit_transformation: UnitTransformation | None = None
    meter: Meter | None = None
    metadata: Metadata | None = None

    @property
    def is_metered(self) -> bool:
        """True where usage is counted."""
        return self.meter_type != "None"


class FeatureGroup(Record, frozen=True):
    """A named set of features."""

    id: str
    feature_ids: tuple[str, ...]
    display_name: str | None = None


class TopUpPrice(Record, frozen=True):
    """What one credit costs when recharged."""

    unit_amount: Decimal
    currency: str


class CreditCurrency(Record, frozen=True):
    """A unit of credits; its scale never changes once applied."""

    id: str
    display_name: str | None = None
    symbol: str | None = None
    unit_singular: str | None = None
    unit_plural: str | None = None
    scale: int = 6
    top_up_price: TopUpPrice | None = None
    metadata: Metadata | None = None


class CreditRate(Record, frozen=True):
    """What one raw unit of a feature costs in credits."""

    currency_id: str
    amount: Decimal


class PackageEntitlement(Record, frozen=True):
    """What a plan or an add-on gives of one feature."""

    feature_id: str
    is_granted: bool = True
    value: Number | None = None
    usage_limit: Number | None = None
    is_unlimited: bool = False
    is_custom: bool = False
    has_soft_limit: bool = False
    reset_period: ResetPeriods | None = None
    reset_period_configuration: ResetConfigurations | None = None
    enum_values: tuple[str, ...] | None = None
    behavior: Behaviors = "Increment"
    credit_rate: CreditRate | None = None
    display_name_override: str | None = None
    hidden_from_widgets: tuple[str, ...] = ()
    order: int | None = None

    @property
    def limit(self) -> Number | None:
        """The number that the entitlement states, under either of its two names."""
        return self.value if self.usage_limit is None else self.usage_limit


class CreditEntitlement(Record, frozen=True):
    """Recurring credits of a plan or an add-on."""

    currency_id: str
    amount: Number
    cadence: Cadences
    behavior: Behaviors = "Increment"
    has_soft_limit: bool = False
    dependency_feature_id: str | None = None
    is_custom: bool = False


class Tier(Record, frozen=True):
    """One step of a tiered price; `up_to` is inclusive and absent in the last."""

    up_to: Number | None = None
    unit_amount: Decimal | None = None
    flat_amount: Decimal | None = None


class Price(Record, frozen=True):
    """One price of a plan or an add-on."""

    currency: str
    billing_period: BillingPeriods
    billing_model: Literal["FLAT_FEE", "PER_UNIT", "USAGE_BASED", "CREDIT_BASED", "MINIMUM_SPEND"] = "FLAT_FEE"
    amount: Decimal | None = None
    unit_amount: Decimal | None = None
    billing_country_code: str | None = None
    feature_id: str | None = None
    min_units: int | None = None
    max_units: int | None = None
    tiers_mode: Literal["GRADUATED", "VOLUME"] | None = None
    tiers: tuple[Tier, ...] = ()
    block_size: int | None = None


class OveragePrice(Record, frozen=True):
    """What usage beyond the entitled quantity costs; it makes the limit soft."""

    feature_id: str
    billing_period: BillingPeriods
    currency: str
    unit_amount: Decimal | None = None
    amount: Decimal | None = None
    block_size: int | None = None
    billing_country_code: str | None = None


class MoneyAmount(Record, frozen=True):
    """An amount in full currency units."""

    amount: Decimal
    currency: str


class TrialConfig(Record, frozen=True):
    """The trial that a plan offers by itself."""

    duration: int
    units: Literal["DAY", "MONTH"] = "DAY"
    trial_end_behavior: Literal["CONVERT_TO_PAID", "CANCEL_SUBSCRIPTION"] = "CONVERT_TO_PAID"
    budget: MoneyAmount | None = None


class ProductSettings(Record, frozen=True):
    """The customer journey of a product."""

    subscription_start_setup: Literal["PLAN_SELECTION", "FREE_PLAN", "TRIAL_PERIOD"] = "PLAN_SELECTION"
    subscription_start_plan_id: str | None = None
    subscription_end_setup: Literal["CANCEL_SUBSCRIPTION", "DOWNGRADE_TO_FREE"] = "CANCEL_SUBSCRIPTION"
    downgrade_plan_id: str | None = None
    subscription_cancellation_time: Literal["IMMEDIATE", "END_OF_BILLING_PERIOD", "SPECIFIC_DATE"] = "IMMEDIATE"
    downgrade_time: Literal["IMMEDIATE", "END_OF_BILLING_PERIOD"] = "IMMEDIATE"
    usage_reset_on_plan_change: Literal["ALWAYS_RESET", "NEVER_RESET", "BILLING_PERIOD_CHANGE"] = "ALWAYS_RESET"
    proration_at_end_of_billing_period: bool = False


class VariantSettings(Record, frozen=True):
    """What a variant's journey has of its own; what it leaves out (None) is as the product has it."""

    subscription_start_setup: Literal["PLAN_SELECTION", "FREE_PLAN", "TRIAL_PERIOD"] | None = None
    subscription_start_plan_id: str | None = None
    subscription_end_setup: Literal["CANCEL_SUBSCRIPTION", "DOWNGRADE_TO_FREE"] | None = None
    downgrade_plan_id: str | None = None
    subscription_cancellation_time: Literal["IMMEDIATE", "END_OF_BILLING_PERIOD", "SPECIFIC_DATE"] | None = None
    downgrade_time: Literal["IMMEDIATE", "END_OF_BILLING_PERIOD"] | None = None
    usage_reset_on_plan_change: Literal["ALWAYS_RESET", "NEVER_RESET", "BILLING_PERIOD_CHANGE"] | None = None
    proration_at_end_of_billing_period: bool | None = None

    def over(self, settings: ProductSettings) -> ProductSettings:
        """The whole journey of the variant, over that of its product."""
        stated = {name: getattr(self, name) for name in self.__struct_fields__}
        return replace(settings, **{name: value for name, value in stated.items() if value is not None})


class Product(Record, frozen=True):
    """A product: plans, add-ons and a journey."""

    id: str
    display_name: str | None = None
    description: str | None = None
    metadata: Metadata | None = None
    multiple_subscriptions: bool = False
    settings: ProductSettings = ProductSettings()


class Plan(Record, frozen=True):
    """A plan, as a catalog file states it."""

    id: str
    product_id: str
    display_name: str | None = None
    description: str | None = None
    pricing_type: Literal["FREE", "PAID", "CUSTOM"] = "FREE"
    order: int | None = None
    hidden: bool = False
    status: Literal["DRAFT", "PUBLISHED", "ARCHIVED"] = "PUBLISHED"
    metadata: Metadata | None = None
    parent_plan_id: str | None = None
    compatible_addon_ids: tuple[str, ...] = ()
    default_trial_config: TrialConfig | None = None
    entitlements: tuple[PackageEntitlement, ...] = ()
    credit_entitlements: tuple[CreditEntitlement, ...] = ()
    prices: tuple[Price, ...] = ()
    overage_prices: tuple[OveragePrice, ...] = ()
    minimum_spend: dict[BillingPeriods, MoneyAmount] = {}


class Addon(Record, frozen=True):
    """An add-on, as a catalog file states it."""

    id: str
    product_id: str
    display_name: str | None = None
    description: str | None = None
    pricing_type: Literal["PAID", "CUSTOM", "FREE"] = "PAID"
    status: Literal["DRAFT", "PUBLISHED", "ARCHIVED"] = "PUBLISHED"
    metadata: Metadata | None = None
    order: int | None = None
    hidden: bool = False
    max_quantity: int | None = None
    dependencies: tuple[str, ...] = ()
    entitlements: tuple[PackageEntitlement, ...] = ()
    credit_entitlements: tuple[CreditEntitlement, ...] = ()
    prices: tuple[Price, ...] = ()
    overage_prices: tuple[OveragePrice, ...] = ()


class Coupon(Record, frozen=True):
    """A discount; type and value never change once applied."""

    id: str
    type: Literal["PERCENTAGE", "FIXED"]
    name: str | None = None
    status: Literal["ACTIVE", "ARCHIVED"] = "ACTIVE"
    description: str | None = None
    metadata: Metadata | None = None
    percent_off: Decimal | None = None
    amounts_off: tuple[MoneyAmount, ...] = ()
    duration_in_months: int | None = None
    once: bool = False


class PromotionCode(Record, frozen=True):
    """A code that customers type to get a coupon."""

    code: str
    coupon_id: str
    max_redemptions: int | None = None
    active: bool = True


class Experiment(Record, frozen=True):
    """Part of the customers start on another journey."""

    id: str
    product_id: str
    variant_percentage: int
    variant_settings: VariantSettings
    name: str | None = None
    control_group_name: str | None = None
    variant_group_name: str | None = None


class EntityType(Record, frozen=True):
    """A kind of entity below the customer, for budgets."""

    id: str
    display_name: str | None = None
    attribution_keys: tuple[str, ...] = ()


class CatalogFile(Record, frozen=True):
    """A whole catalog file, schema 1."""

    schema: Literal[1]
    environment: str = "production"
    features: tuple[Feature, ...] = ()
    feature_groups: tuple[FeatureGroup, ...] = ()
    credit_currencies: tuple[CreditCurrency, ...] = ()
    products: tuple[Product, ...] = ()
    plans: tuple[Plan, ...] = ()
    addons: tuple[Addon, ...] = ()
    coupons: tuple[Coupon, ...] = ()
    promotion_codes: tuple[PromotionCode, ...] = ()
    experiments: tuple[Experiment, ...] = ()
    entity_types: tuple[EntityType, ...] = ()


class Inherited(Record, frozen=True):
    """An entitlement that a plan has from a base plan."""

    plan_id: str
    entitlement: PackageEntitlement


class InheritedCredit(Record, frozen=True):
    """A credit entitlement that a plan has from a base plan."""

    plan_id: str
    entitlement: CreditEntitlement


class PackageVersion(Record, frozen=True):
    """One published, immutable version of a plan or an add-on, with what a plan inherits in it.

    Exactly one of `plan` and `addon` is set. `version` counts from 1 for each id.
    """

    version: int
    plan: Plan | None = None
    addon: Addon | None = None
    inherited: tuple[Inherited, ...] = ()
    inherited_credits: tuple[InheritedCredit, ...] = ()

    @property
    def package(self) -> Plan | Addon:
        """The plan or add-on itself."""
        package = self.plan or self.addon
        assert package is not None, "a package version holds a plan or an add-on"
        return package

    @property
    def id(self) -> str:
        """The id of the plan or add-on."""
        return self.package.id


# Kind of a stored item -> record, in the order in which a catalog file lists them.
ITEM_KINDS: dict[str, type[Record]] = {
    "feature": Feature,
    "featureGroup": FeatureGroup,
    "creditCurrency": CreditCurrency,
    "product": Product,
    "plan": PackageVersion,
    "addon": PackageVersion,
    "coupon": Coupon,
    "promotionCode": PromotionCode,
    "experiment": Experiment,
    "entityType": EntityType,
}
