"""Records that are valid by default; a test overrides the one field that it is about."""

from typing import Any

from stigg_local.core.catalog import (
    Addon,
    CreditCurrency,
    CreditEntitlement,
    Feature,
    PackageEntitlement,
    PackageVersion,
    Plan,
    Price,
    Product,
    Record,
)
from stigg_local.core.credit import Grant
from stigg_local.core.customer import (
    SUBSCRIPTION,
    Customer,
    CustomerSnapshot,
    PromotionalSource,
    Source,
    Subscription,
    SubscriptionSource,
)
from stigg_local.core.entitlement import CustomerView
from stigg_local.core.period import FOREVER_MS, to_ms
from stigg_local.core.snapshot import derive_snapshot
from stigg_local.core.sources import Catalog

NOW_MS = to_ms("2025-01-31T10:00:00Z", name="now")


def ms(text: str) -> int:
    """An instant as tests write it."""
    return to_ms(text, name="instant")


def feature(id: str = "calls", **fields: Any) -> Feature:
    """A metered, incremental feature."""
    return Feature(**{"id": id, "feature_type": "Numeric", "meter_type": "Incremental", **fields})


def gives(feature_id: str = "calls", **fields: Any) -> PackageEntitlement:
    """What a package gives of a feature: a hard limit of 10 unless something else is said."""
    stated = fields if fields.keys() & {"usage_limit", "value", "is_unlimited", "is_custom"} else {"usage_limit": 10}
    return PackageEntitlement(feature_id=feature_id, **{**stated, **fields})


def plan(id: str = "plan-a", version: int = 1, **fields: Any) -> PackageVersion:
    """A published free plan of `product` that gives 10 calls."""
    defaults: dict[str, Any] = {"product_id": "product", "entitlements": (gives(),)}
    return PackageVersion(version=version, plan=Plan(id=id, **{**defaults, **fields}))


def addon(id: str = "addon-a", version: int = 1, **fields: Any) -> PackageVersion:
    """A published add-on of `product` that gives 10 calls more."""
    defaults: dict[str, Any] = {"product_id": "product", "entitlements": (gives(),)}
    return PackageVersion(version=version, addon=Addon(id=id, **{**defaults, **fields}))


def price(billing_period: Any = "MONTHLY", **fields: Any) -> Price:
    """A flat fee in USD."""
    return Price(**{"currency": "USD", "billing_period": billing_period, **fields})


def credits(amount: float = 100, cadence: Any = "MONTH", **fields: Any) -> CreditEntitlement:
    """Recurring credits."""
    return CreditEntitlement(**{"currency_id": "ai", "amount": amount, "cadence": cadence, **fields})


def catalog(*records: Record) -> Catalog:
    """A compiled catalog: the records, and whatever of feature, currency and product they do not bring."""
    defaults: list[Record] = [feature(), CreditCurrency(id="ai", scale=0), Product(id="product")]
    given = {(type(record), getattr(record, "id", None)) for record in records}
    kept = [record for record in defaults if (type(record), getattr(record, "id", None)) not in given]
    return Catalog(("", record) for record in (*kept, *records))


def subscription(id: str = "s-1", **fields: Any) -> Subscription:
    """A running non-trial subscription of `plan-a`."""
    start = fields.get("start_ms", NOW_MS)
    defaults: dict[str, Any] = {
        "plan_id": "plan-a",
        "plan_version": 1,
        "price_version": 1,
        "product_id": "product",
        "created_ms": start,
        "start_ms": start,
        "usage_anchor_ms": start,
        "usage_cut_ms": start,
        "billing_anchor_ms": start,
    }
    return Subscription(id=id, **{**defaults, **fields})


def customer(*subscriptions: Subscription, **fields: Any) -> Customer:
    """A customer with these subscriptions."""
    defaults: dict[str, Any] = {"id": "c", "created_ms": NOW_MS, "updated_ms": NOW_MS}
    return Customer(**{**defaults, "subscriptions": subscriptions, **fields})


def source(**fields: Any) -> SubscriptionSource:
    """A subscription's interval: `plan-a` from now on."""
    start = fields.get("start_ms", NOW_MS)
    defaults: dict[str, Any] = {
        "kind": SUBSCRIPTION,
        "start_ms": start,
        "end_ms": FOREVER_MS,
        "resource_id": "",
        "subscription_id": "s-1",
        "anchor_ms": start,
        "cut_ms": start,
        "packages": (("plan-a", 1, 1),),
    }
    return SubscriptionSource(**{**defaults, **fields})


def promotion(entitlement: PackageEntitlement, **fields: Any) -> PromotionalSource:
    """A promotional entitlement from now on."""
    return PromotionalSource(**{"start_ms": NOW_MS, "end_ms": FOREVER_MS, "entitlement": entitlement, **fields})


def snapshot(*sources: Source, resource_ids: tuple[str, ...] = ()) -> CustomerSnapshot:
    """The sources of a customer."""
    return CustomerSnapshot(NOW_MS, False, resource_ids, sources)


def view(*sources: Source, **fields: Any) -> CustomerView:
    """A customer as answers see one."""
    return CustomerView(snapshot(*sources), **fields)


def derived(record: Customer, compiled: Catalog, as_of_ms: int = NOW_MS) -> CustomerSnapshot:
    """The snapshot of a record."""
    return derive_snapshot(record, compiled, as_of_ms=as_of_ms)


def grant(id: str = "g-1", amount: int = 100, **fields: Any) -> Grant:
    """A promotional grant in the wallet of no resource, spendable for ever."""
    defaults: dict[str, Any] = {
        "currency_id": "ai",
        "resource_id": "",
        "grant_type": "PROMOTIONAL",
        "consumed": 0,
        "priority": 0,
        "effective_ms": NOW_MS,
        "expire_ms": FOREVER_MS,
        "created_ms": NOW_MS,
    }
    return Grant(id=id, amount=amount, **{**defaults, **fields})
