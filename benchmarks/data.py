"""The catalog and the customers that every suite measures: 50 features of all types on 5 plans.

Customers are written by the engine itself: through the public API, or in batches through the authority's write
path. A directory is made once for each size, format and day, and kept below the system's temporary directory.
"""

import os
import shutil
import tempfile
import time
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from stigg_local import Stigg
from stigg_local.authority import numbers
from stigg_local.authority.authority import Authority
from stigg_local.core.credit import Grant
from stigg_local.core.customer import Customer
from stigg_local.core.entitlement import counting_windows
from stigg_local.core.period import FOREVER_MS
from stigg_local.core.subscription import ProvisionSubscription, provision
from stigg_local.store.tx import Tx

Table = dict[str, Any]

BOOLEANS = [f"feature-flag-{index:02}" for index in range(20)]
NUMERICS = [f"feature-number-{index:02}" for index in range(10)]
ENUMS = [f"feature-choice-{index:02}" for index in range(5)]
METERED = [f"feature-metered-{index:02}" for index in range(13)]
RATED = [f"feature-rated-{index:02}" for index in range(2)]
CURRENCY = "currency-credits"
PLANS = [f"plan-{index}" for index in range(5)]

# One customer in four uses two metered features, one in twenty holds a credit grant of his own; all others are idle.
ACTIVE_EACH = 4
GRANT_EACH = 20
BATCH = 1000
STALE_S = 24 * 3600

_FORMAT_FILES = ("store/schema.py", "store/digest.py", "core/customer.py", "core/catalog.py", "core/credit.py")


def catalog() -> Table:
    """The generated catalog, as a mapping that `Stigg(catalog=…)` takes."""
    features: list[Table] = [{"id": item, "featureType": "Boolean"} for item in BOOLEANS]
    features += [{"id": item, "featureType": "Numeric", "units": "day", "unitsPlural": "days"} for item in NUMERICS]
    features += [{"id": item, "featureType": "Enum", "enumValues": ["eu", "us", "ap"]} for item in ENUMS]
    features += [
        {"id": item, "featureType": "Numeric", "meterType": "Incremental", "units": "call", "unitsPlural": "calls"}
        for item in METERED + RATED
    ]
    return {
        "schema": 1,
        "features": features,
        "creditCurrencies": [{"id": CURRENCY, "displayName": "Credits", "symbol": "C"}],
        "products": [{"id": "product", "displayName": "Product"}],
        "plans": [_plan(place, item) for place, item in enumerate(PLANS)],
    }


def _plan(place: int, item: str) -> Table:
    entitlements: list[Table] = [{"featureId": flag} for flag in BOOLEANS]
    entitlements += [{"featureId": number, "value": 10 * (place + 1)} for number in NUMERICS]
    entitlements += [{"featureId": choice, "enumValues": ["eu", "us", "ap"][: place % 3 + 1]} for choice in ENUMS]
    entitlements += [
        {"featureId": metered, "usageLimit": 1000 * (place + 1), "resetPeriod": "MONTH"} for metered in METERED
    ]
    entitlements += [
        {
            "featureId": rated,
            "isUnlimited": True,
            "resetPeriod": "MONTH",
            "creditRate": {"currencyId": CURRENCY, "amount": 2},
        }
        for rated in RATED
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


def populated(size: int) -> Path:
    """A directory with the catalog and that many customers, made where there is none of today."""
    path = Path(tempfile.gettempdir()) / f"stigg-local-benchmarks-{os.getuid()}" / f"{size}-{_fingerprint()}"
    if path.exists():
        return path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for other in path.parent.glob(f"{size}-*"):
        # Another checkout may be using one of today's.
        if time.time() - other.stat().st_mtime > STALE_S:
            shutil.rmtree(other, ignore_errors=True)
    # A whole directory appears under its name or none does.
    draft = Path(tempfile.mkdtemp(prefix=f"{size}-", dir=path.parent))
    try:
        with Stigg(catalog=catalog(), data_dir=draft) as client:
            write_customers(client, size)
        draft.rename(path)
    except OSError:
        if not path.exists():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return path


def write_customers(client: Stigg, size: int) -> None:
    """Write customers in batches, each batch one transaction of the authority."""
    embedded = client._embedded
    assert embedded is not None
    for start in range(0, size, BATCH):

        def write(tx: Tx, start: int = start) -> None:
            for index in range(start, min(start + BATCH, size)):
                _write_customer(embedded.authority, tx, index)

        embedded.store.write(write, operation="benchmarkCustomers", key=f"batch-{start}", durability="os")


def _write_customer(authority: Authority, tx: Tx, index: int) -> None:
    catalog = authority.catalog(tx)
    owner = customer_id(index)
    ask = ProvisionSubscription(customer_id=owner, plan_id=PLANS[index % len(PLANS)])
    made = provision(
        Customer(id=owner, created_ms=tx.now_ms, updated_ms=tx.now_ms),
        catalog,
        ask,
        now_ms=tx.now_ms,
        new_id=lambda: f"{index:010x}",
    )
    tx.put_subscription_owner(made.subscription.id, owner)
    authority._put_customer(tx, catalog, made.customer, None)
    snapshot = authority._derive(catalog, made.customer, tx)
    if index % ACTIVE_EACH == 0:
        for metered in METERED[:2]:
            feature = catalog.features[metered]
            windows = counting_windows(catalog, snapshot, feature, resource_id="", at_ms=tx.now_ms, now_ms=tx.now_ms)
            for window in windows:
                tx.put_counter(owner, "", metered, *window, (index % 700) * 1_000_000)
    if index % GRANT_EACH == 0:
        grant = Grant(
            id=f"grant-{index:07}",
            currency_id=CURRENCY,
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


def _fingerprint() -> str:
    """Changes with what is written, with the file format and with the day, after which usage windows may end."""
    import stigg_local

    package = Path(stigg_local.__file__).parent
    digest = blake2b(digest_size=5)
    for file in (Path(__file__), *(package / name for name in _FORMAT_FILES)):
        digest.update(file.read_bytes())
    return f"{datetime.now(UTC):%Y%m%d}-{digest.hexdigest()}"
