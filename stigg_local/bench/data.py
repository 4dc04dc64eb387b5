"""Generated catalogs and customers, written by the engine itself in batches through the authority's write path.

Laws: the same numbers give the same data; a customer written here answers as one that was provisioned by the
public call.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from stigg_local.authority import numbers
from stigg_local.authority.authority import Authority
from stigg_local.client import Stigg
from stigg_local.core.catalog import Plan
from stigg_local.core.credit import Grant
from stigg_local.core.customer import Customer
from stigg_local.core.entitlement import counting_windows
from stigg_local.core.period import FOREVER_MS
from stigg_local.core.sources import Catalog
from stigg_local.core.subscription import ProvisionSubscription, provision
from stigg_local.errors import InvalidInput, StiggError
from stigg_local.store.tx import Tx

Table = dict[str, Any]

CURRENCY = "currency-credits"
PLANS = tuple(f"plan-{index}" for index in range(5))
FEATURES_MIN, FEATURES_MAX = 5, 2000

# One customer in four uses two metered features, one in twenty holds a credit grant of his own; all others are idle.
ACTIVE_EACH = 4
GRANT_EACH = 20
BATCH = 1000


class Features(NamedTuple):
    """The ids of a generated catalog's features by type; `rated` are metered ones that charge credits."""

    booleans: tuple[str, ...]
    numerics: tuple[str, ...]
    enums: tuple[str, ...]
    metered: tuple[str, ...]
    rated: tuple[str, ...]


def features(count: int = 50) -> Features:
    """So many features: of 50, 20 are boolean, 10 numeric, 5 enum and 15 metered, 2 of them with a credit rate."""
    if not FEATURES_MIN <= count <= FEATURES_MAX:
        raise InvalidInput(f"`{count}` features cannot be generated", hint=f"from {FEATURES_MIN} to {FEATURES_MAX:,}")
    numeric, enum, rated = max(1, count // 5), max(1, count // 10), max(1, count // 25)
    boolean = max(1, count * 2 // 5)
    sizes = (boolean, numeric, enum, count - boolean - numeric - enum - rated, rated)
    names = ("flag", "number", "choice", "metered", "rated")
    return Features(
        *(
            tuple(f"feature-{name}-{index:02}" for index in range(size))
            for name, size in zip(names, sizes, strict=True)
        )
    )


def catalog(count: int = 50) -> Table:
    """A generated catalog, as a mapping that `Stigg(catalog=…)` takes."""
    ids = features(count)
    tables: list[Table] = [{"id": item, "featureType": "Boolean"} for item in ids.booleans]
    tables += [{"id": item, "featureType": "Numeric", "units": "day", "unitsPlural": "days"} for item in ids.numerics]
    tables += [{"id": item, "featureType": "Enum", "enumValues": ["eu", "us", "ap"]} for item in ids.enums]
    tables += [
        {"id": item, "featureType": "Numeric", "meterType": "Incremental", "units": "call", "unitsPlural": "calls"}
        for item in ids.metered + ids.rated
    ]
    return {
        "schema": 1,
        "features": tables,
        "creditCurrencies": [{"id": CURRENCY, "displayName": "Credits", "symbol": "C"}],
        "products": [{"id": "product", "displayName": "Product"}],
        "plans": [_plan(place, item, ids) for place, item in enumerate(PLANS)],
    }


def _plan(place: int, item: str, ids: Features) -> Table:
    entitlements: list[Table] = [{"featureId": flag} for flag in ids.booleans]
    entitlements += [{"featureId": number, "value": 10 * (place + 1)} for number in ids.numerics]
    entitlements += [{"featureId": choice, "enumValues": ["eu", "us", "ap"][: place % 3 + 1]} for choice in ids.enums]
    entitlements += [
        {"featureId": metered, "usageLimit": 1000 * (place + 1), "resetPeriod": "MONTH"} for metered in ids.metered
    ]
    entitlements += [
        {
            "featureId": rated,
            "isUnlimited": True,
            "resetPeriod": "MONTH",
            "creditRate": {"currencyId": CURRENCY, "amount": 2},
        }
        for rated in ids.rated
    ]
    return {
        "id": item,
        "productId": "product",
        "pricingType": "FREE",
        "order": place,
        "entitlements": entitlements,
        "creditEntitlements": [{"currencyId": CURRENCY, "amount": 10_000, "cadence": "MONTH"}],
    }


def customer_id(index: int) -> str:
    """The id of the customer with that number."""
    return f"customer-{index:07}"


def write_customers(client: Stigg, size: int, told: Callable[[int], object] | None = None) -> None:
    """Write customers in batches, each batch one transaction of the authority.

    Args:
        client: An embedded client; the customers are spread over the plans of its catalog.
        size: How many.
        told: Called with the number of customers written so far.

    Raises:
        InvalidInput: The catalog has no plan that a customer can have without further arguments.
    """
    embedded = client._embedded
    assert embedded is not None
    asks = provisionable(embedded.catalog(), embedded.store.now_ms())
    for start in range(0, size, BATCH):
        end = min(start + BATCH, size)

        def write(tx: Tx, start: int = start, end: int = end) -> None:
            for index in range(start, end):
                _write_customer(embedded.authority, tx, index, asks)

        embedded.store.write(write, operation="benchmarkCustomers", key=f"batch-{start}", durability="os")
        if told is not None:
            told(end)


def provisionable(catalog: Catalog, now_ms: int) -> list[ProvisionSubscription]:
    """How to give a customer each plan of the catalog that needs nothing but a billing period."""
    found = []
    for plan in _plans(catalog):
        for period in (None, "MONTHLY", "ANNUALLY"):
            ask = ProvisionSubscription(customer_id="customer", plan_id=plan.id, billing_period=period)
            customer = Customer(id="customer", created_ms=now_ms, updated_ms=now_ms)
            try:
                provision(customer, catalog, ask, now_ms=now_ms, new_id=lambda: "0" * 10)
            except StiggError:
                # A plan that wants quantities, custom values or a resource is for its owner to sell.
                continue
            found.append(ask)
            break
    if not found:
        raise InvalidInput(
            "the catalog has no plan that customers can be generated on",
            hint="name a directory with your customers: --data-dir DIR",
        )
    return found


def _plans(catalog: Catalog) -> Iterator[Plan]:
    for package_id in catalog.latest:
        version = catalog.latest_package(package_id)
        if version is not None and version.plan is not None and version.plan.status == "PUBLISHED":
            yield version.plan


def _write_customer(authority: Authority, tx: Tx, index: int, asks: Sequence[ProvisionSubscription]) -> None:
    catalog = authority.runner.catalog(tx)
    owner = customer_id(index)
    ask = asks[index % len(asks)]
    made = provision(
        Customer(id=owner, created_ms=tx.now_ms, updated_ms=tx.now_ms),
        catalog,
        ProvisionSubscription(customer_id=owner, plan_id=ask.plan_id, billing_period=ask.billing_period),
        now_ms=tx.now_ms,
        # The engine keeps six of these digits, and a subscription's id has to be one customer's alone.
        new_id=lambda: f"{index:06x}0000",
    )
    authority.runner.put_decided(tx, catalog, None, made)
    snapshot = authority.runner.derive(catalog, made.customer, tx)
    if index % ACTIVE_EACH == 0:
        for metered in _entitled(catalog, ask.plan_id):
            feature = catalog.features[metered]
            windows = tuple(
                counting_windows(catalog, snapshot, feature, resource_id="", at_ms=tx.now_ms, now_ms=tx.now_ms)
            )
            used = (index % 700) * 1_000_000
            if not windows or not used:
                continue
            # A counter is what its log gives: the directory is as healthy as one that was written by reports.
            tx.append_measurement(owner, "", metered, f"{index:07}-{metered}", "SET", used, tx.now_ms, b"")
            for window in windows:
                tx.put_counter(owner, "", metered, *window, used)
    if index % GRANT_EACH == 0 and catalog.currencies:
        grant = Grant(
            id=f"grant-{index:07}",
            currency_id=next(iter(catalog.currencies)),
            resource_id="",
            grant_type="PAID",
            amount=500_000_000,
            consumed=0,
            priority=0,
            effective_ms=tx.now_ms,
            expire_ms=FOREVER_MS,
            created_ms=tx.now_ms,
        )
        numbers.put_grant(tx, owner, grant, "GRANTED", grant.amount)


def _entitled(catalog: Catalog, plan_id: str) -> list[str]:
    """The first two features with a counter that a plan gives and that are counted in units, not in credits."""
    found = []
    for feature_id, (entitlement, _) in catalog.packages[plan_id, catalog.latest[plan_id]].entitlements.items():
        if catalog.features[feature_id].is_metered and entitlement.credit_rate is None and entitlement.is_granted:
            found.append(feature_id)
        if len(found) == 2:
            break
    return found
