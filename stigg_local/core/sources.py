"""The compiled catalog, and what one source gives of one feature.

`contribution` combines a plan, what it inherits and its add-ons inside one subscription (semantics §2.2); the most
generous source wins across sources (§2.3). Contributions are interned: customers on one plan share them.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from msgspec import Struct

from stigg_local.core.catalog import (
    CreditCurrency,
    CreditEntitlement,
    Feature,
    FeatureGroup,
    Number,
    PackageEntitlement,
    PackageVersion,
    Product,
)
from stigg_local.core.catalog import Record as CatalogRecord
from stigg_local.core.customer import PackageRef, PromotionalSource, Source, SubscriptionSource
from stigg_local.core.nearest import nearest
from stigg_local.core.period import RESET_RANK
from stigg_local.core.quantity import EXACT, POWERS, RAW_MAX, clamp, limit_to_raw, shown
from stigg_local.errors import NotFound

INTERNED_MAX = 20_000
# What the places of `Contribution.rank` compare, in the order in which they decide.
RANKS = ("GRANTED", "UNLIMITED", "LARGER_LIMIT", "SOFT_LIMIT", "SHORTER_RESET")


class FeatureRef(Struct, frozen=True, gc=False):
    """The feature as an answer shows it."""

    id: str
    feature_type: str
    meter_type: str
    units: str
    units_plural: str
    is_metered: bool

    def to_dict(self) -> dict[str, object]:
        """The seed's shape."""
        return {
            "id": self.id,
            "featureType": self.feature_type,
            "meterType": self.meter_type,
            "units": self.units,
            "unitsPlural": self.units_plural,
            "isMetered": self.is_metered,
        }


class CurrencyRef(Struct, frozen=True, gc=False):
    """The credit currency as an answer shows it."""

    id: str
    display_name: str | None
    symbol: str | None

    def to_dict(self) -> dict[str, object]:
        """The seed's shape."""
        return {"id": self.id, "displayName": self.display_name, "symbol": self.symbol}


class Rate(Struct, frozen=True, gc=False):
    """What one raw unit costs in credits."""

    currency_id: str
    amount: Decimal


class Contribution(Struct, frozen=True, gc=False):
    """What one source gives of one feature.

    `limit_raw` is the largest raw usage that the limit admits, unit transformation included; it means nothing
    where `is_unlimited`. `rank` orders contributions by generosity.
    """

    is_granted: bool
    is_unlimited: bool
    limit_raw: int
    limit: int | float | None
    has_soft_limit: bool
    reset_period: str | None
    configuration: str | None
    values: frozenset[str]
    rate: Rate | None
    rank: tuple[bool, bool, int, bool, int]
    by: tuple[str, ...]


class Part(Struct, frozen=True, gc=False):
    """What one package of a subscription states of a feature.

    `stated_by` is the package that the statement is from: a base plan where it is inherited.
    """

    package_id: str
    version: int
    quantity: int
    entitlement: PackageEntitlement
    stated_by: str
    is_plan: bool

    @property
    def is_override(self) -> bool:
        """True for an add-on that replaces what the plan and the increments give."""
        return not self.is_plan and self.entitlement.behavior == "Override"

    def amount(self) -> Decimal:
        """The stated number, times the quantity; 0 without a number."""
        return _times(self.entitlement.limit, self.quantity)


class Catalog:
    """A catalog compiled for reading. It is replaced whole when a publish changes anything.

    Attributes:
        features: By id, in catalog order.
        refs: What answers show of each feature, interned.
        packages: By id and version.
        latest: Latest version of each package id.
    """

    __slots__ = (
        "as_of_ms",
        "currencies",
        "currency_refs",
        "features",
        "groups",
        "interned",
        "latest",
        "others",
        "packages",
        "products",
        "refs",
    )

    def __init__(self, items: Iterable[tuple[str, CatalogRecord]], *, as_of_ms: int = 0) -> None:
        self.as_of_ms = as_of_ms
        self.features: dict[str, Feature] = {}
        self.groups: dict[str, FeatureGroup] = {}
        self.refs: dict[str, FeatureRef] = {}
        self.currencies: dict[str, CreditCurrency] = {}
        self.currency_refs: dict[str, CurrencyRef] = {}
        self.products: dict[str, Product] = {}
        self.packages: dict[tuple[str, int], CompiledPackage] = {}
        self.latest: dict[str, int] = {}
        self.others: dict[str, list[CatalogRecord]] = {}
        self.interned: dict[tuple[tuple[PackageRef, ...], str], Contribution | None] = {}
        for kind, record in items:
            self._add(kind, record)

    def _add(self, kind: str, record: CatalogRecord) -> None:
        match record:
            case Feature():
                self.features[record.id] = record
                self.refs[record.id] = FeatureRef(
                    record.id,
                    record.feature_type,
                    record.meter_type,
                    record.units,
                    record.units_plural,
                    record.is_metered,
                )
            case FeatureGroup():
                self.groups[record.id] = record
            case CreditCurrency():
                self.currencies[record.id] = record
                self.currency_refs[record.id] = CurrencyRef(record.id, record.display_name, record.symbol)
            case Product():
                self.products[record.id] = record
            case PackageVersion():
                package = record.package
                self.packages[package.id, record.version] = CompiledPackage(record)
                self.latest[package.id] = max(record.version, self.latest.get(package.id, 0))
            case _:
                self.others.setdefault(kind, []).append(record)

    def feature(self, feature_id: str) -> Feature:
        """A feature that is asked for.

        Raises:
            NotFound: There is none (`FeatureNotFound`).
        """
        feature = self.features.get(feature_id)
        if feature is None:
            near = nearest(feature_id, self.features)
            raise NotFound(
                f"feature `{feature_id}` does not exist",
                code="FeatureNotFound",
                hint=f"did you mean `{near}`" if near else "add it to the catalog's features",
            )
        return feature

    def currency(self, currency_id: str) -> CreditCurrency:
        """A credit currency that is asked for.

        Raises:
            NotFound: There is none (`CustomCurrencyNotFound`).
        """
        currency = self.currencies.get(currency_id)
        if currency is None:
            near = nearest(currency_id, self.currencies)
            raise NotFound(
                f"credit currency `{currency_id}` does not exist",
                code="CustomCurrencyNotFound",
                hint=f"did you mean `{near}`" if near else "add it to the catalog's creditCurrencies",
            )
        return currency

    def latest_package(self, package_id: str) -> PackageVersion | None:
        """The latest published version of a plan or add-on."""
        version = self.latest.get(package_id)
        return None if version is None else self.packages[package_id, version].version


class CompiledPackage:
    """A package version with its entitlements by feature, own before inherited."""

    __slots__ = ("credits", "entitlements", "prices", "soft", "version")

    def __init__(self, version: PackageVersion) -> None:
        package = version.package
        self.version = version
        # Feature -> (entitlement, the package that states it).
        self.entitlements: dict[str, tuple[PackageEntitlement, str]] = {
            item.entitlement.feature_id: (item.entitlement, item.plan_id) for item in version.inherited
        }
        for own in package.entitlements:
            self.entitlements[own.feature_id] = (own, package.id)
        self.credits: list[CreditEntitlement] = [item.entitlement for item in version.inherited_credits]
        self.credits += package.credit_entitlements
        self.soft = {price.feature_id for price in package.overage_prices}
        # Feature -> billing model of the price that makes it billable.
        self.prices = {price.feature_id: price.billing_model for price in package.prices if price.feature_id}
        for feature_id in (*self.prices, *self.soft):
            self.entitlements.setdefault(feature_id, (PackageEntitlement(feature_id=feature_id), package.id))


def feature_ids(catalog: Catalog, source: Source) -> Iterator[str]:
    """Every feature that a source says anything about."""
    if isinstance(source, PromotionalSource):
        yield source.entitlement.feature_id
        return
    for package_id, version, _ in source.packages:
        package = catalog.packages.get((package_id, version))
        if package is not None:
            yield from package.entitlements


def contribution(catalog: Catalog, source: Source, feature: Feature) -> Contribution | None:
    """What a source gives of a feature; None where it says nothing about it."""
    if isinstance(source, PromotionalSource):
        entitlement = source.entitlement
        return promotional_contribution(entitlement, feature) if entitlement.feature_id == feature.id else None
    for feature_id, quantity in source.units:
        if feature_id == feature.id:
            return _combine(catalog, source, feature, committed=quantity, custom=False)
    for feature_id, value in source.custom:
        if feature_id == feature.id:
            return _combine(catalog, source, feature, committed=value, custom=True)
    key = (source.packages, feature.id)
    try:
        return catalog.interned[key]
    except KeyError:
        pass
    if len(catalog.interned) >= INTERNED_MAX:
        catalog.interned.clear()
    found = _combine(catalog, source, feature, committed=None, custom=False)
    catalog.interned[key] = found
    return found


def promotional_contribution(entitlement: PackageEntitlement, feature: Feature) -> Contribution:
    """A promotional grant: without a number it is unlimited, and it has no credit rate."""
    limit = entitlement.limit
    return _contribution(
        feature,
        is_granted=entitlement.is_granted,
        limit=limit,
        is_unlimited=entitlement.is_unlimited or limit is None,
        has_soft_limit=entitlement.has_soft_limit,
        reset=entitlement,
        values=_values(entitlement, feature),
        rate=None,
        by=("promotional",),
    )


def stated(catalog: Catalog, source: SubscriptionSource, feature: Feature) -> list[Part]:
    """What each package of a subscription states of a feature, the plan first; packages without a word left out."""
    parts: list[Part] = []
    for index, (package_id, version, quantity) in enumerate(source.packages):
        package = catalog.packages.get((package_id, version))
        found = None if package is None else package.entitlements.get(feature.id)
        if found is not None:
            parts.append(Part(package_id, version, quantity, found[0], found[1], index == 0))
    return parts


def winning_override(parts: Sequence[Part]) -> Part | None:
    """The override that replaces plan and increments: an unlimited one, else the largest; None without any."""
    best: Part | None = None
    for part in parts:
        if part.is_plan or part.entitlement.behavior != "Override":
            continue
        if part.entitlement.is_unlimited:
            return part
        if best is None or part.amount() > best.amount():
            best = part
    return best


def _combine(
    catalog: Catalog, source: SubscriptionSource, feature: Feature, *, committed: Number | None, custom: bool
) -> Contribution | None:
    """Plan, increments and overrides of one subscription (semantics §2.2, §20.5)."""
    parts = stated(catalog, source, feature)
    if not parts:
        return None
    plan = parts[0].entitlement if parts[0].is_plan else None
    by = tuple(part.stated_by for part in parts)
    values: frozenset[str] = frozenset()
    if feature.feature_type == "Enum":
        values = values.union(*(_values(part.entitlement, feature) for part in parts if part.entitlement.is_granted))
    is_granted = any(part.entitlement.is_granted for part in parts)
    winner = winning_override(parts)
    if winner is not None:
        unlimited = winner.entitlement.is_unlimited
        rate = winner.entitlement.credit_rate or (plan.credit_rate if plan is not None else None)
        return _contribution(
            feature,
            is_granted=is_granted,
            limit=None if unlimited else shown(winner.amount()),
            is_unlimited=unlimited,
            has_soft_limit=winner.entitlement.has_soft_limit,
            reset=plan or winner.entitlement,
            values=values,
            rate=None if rate is None else Rate(rate.currency_id, rate.amount),
            by=by,
        )
    increments = parts if plan is None else parts[1:]
    unlimited = any(part.entitlement.is_unlimited for part in increments if part.entitlement.is_granted)
    total = Decimal(0)
    plan_soft = False
    if plan is not None:
        package = catalog.packages[parts[0].package_id, parts[0].version]
        plan_soft = plan.has_soft_limit or feature.id in package.soft
        is_committed = custom or committed is not None
        if plan.is_granted:
            total = _times(committed if is_committed else plan.limit, 1)
            pays_as_it_goes = package.prices.get(feature.id) == "USAGE_BASED"
            unlimited |= (committed is None if custom else plan.is_unlimited and not is_committed) or (
                pays_as_it_goes and plan.limit is None and not is_committed
            )
    for part in increments:
        if part.entitlement.is_granted:
            total = EXACT.add(total, part.amount())
    # The plan's rate, where it has one, comes first among the parts.
    rate = next((part.entitlement.credit_rate for part in parts if part.entitlement.credit_rate is not None), None)
    return _contribution(
        feature,
        is_granted=is_granted,
        limit=None if unlimited else shown(total),
        is_unlimited=unlimited,
        has_soft_limit=plan_soft or any(part.entitlement.has_soft_limit for part in increments),
        reset=plan or parts[0].entitlement,
        values=values,
        rate=None if rate is None else Rate(rate.currency_id, rate.amount),
        by=by,
    )


def _contribution(
    feature: Feature,
    *,
    is_granted: bool,
    limit: Number | None,
    is_unlimited: bool,
    has_soft_limit: bool,
    reset: PackageEntitlement,
    values: frozenset[str],
    rate: Rate | None,
    by: tuple[str, ...],
) -> Contribution:
    period = reset.reset_period if feature.meter_type == "Incremental" else None
    if feature.feature_type != "Numeric":
        # Access and values have no limit, so none may decide which source wins.
        limit, is_unlimited, has_soft_limit = None, False, False
    limit_raw = RAW_MAX if limit is None else admitted_raw(limit, feature)
    return Contribution(
        is_granted,
        is_unlimited,
        limit_raw,
        None if is_unlimited or limit is None else shown(limit),
        has_soft_limit,
        period,
        reset.reset_period_configuration if period else None,
        values,
        rate,
        (is_granted, is_unlimited, limit_raw, has_soft_limit, -RESET_RANK[period]),
        by,
    )


def admitted_raw(limit: Number, feature: Feature) -> int:
    """The largest raw usage for which the (transformed) usage is within the limit."""
    transformation = feature.unit_transformation
    if transformation is None:
        return limit_to_raw(limit, feature.scale)
    whole = limit_to_raw(limit, 0) if float(limit).is_integer() else int(limit // 1)
    if transformation.round == "UP":
        return clamp(whole * transformation.divide * POWERS[feature.scale])
    return clamp((whole + 1) * transformation.divide * POWERS[feature.scale] - 1)


def transformed(raw: int, feature: Feature) -> int | None:
    """A raw total in the unit of the limit, rounded as the feature says; None without a transformation."""
    transformation = feature.unit_transformation
    if transformation is None:
        return None
    unit = transformation.divide * POWERS[feature.scale]
    return -(-raw // unit) if transformation.round == "UP" else raw // unit


def _times(limit: Number | None, quantity: int) -> Decimal:
    if limit is None:
        return Decimal(0)
    return EXACT.multiply(Decimal(repr(limit) if isinstance(limit, float) else limit), quantity)


def _values(entitlement: PackageEntitlement, feature: Feature) -> frozenset[str]:
    if feature.feature_type != "Enum":
        return frozenset()
    return frozenset(feature.enum_values if entitlement.enum_values is None else entitlement.enum_values)
