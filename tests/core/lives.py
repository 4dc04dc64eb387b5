"""A paid product to live through: plans, add-ons and seats at prices that are easy to reckon with by hand."""

from decimal import Decimal
from itertools import count
from typing import Any

from stigg_local.core.cancel import CancelSubscription, cancel
from stigg_local.core.catalog import Price, Product, ProductSettings, Record, TrialConfig
from stigg_local.core.customer import Customer, SubscriptionSource
from stigg_local.core.decided import Decided
from stigg_local.core.sources import Catalog
from stigg_local.core.subscription import ProvisionSubscription, provision
from stigg_local.core.update import UpdateSubscription, update
from tests.builders import addon, catalog, gives, ms, plan, price

T0 = ms("2025-06-01T00:00:00Z")
PAID: dict[str, Any] = {"billing_period": "MONTHLY"}
SEATS = (("seats", 5),)


def flat(amount: str, period: Any = "MONTHLY", **fields: Any) -> Price:
    """A flat fee."""
    return price(period, amount=Decimal(amount), **fields)


def per_seat(amount: str, period: Any = "MONTHLY") -> Price:
    """A price per unit of `seats`."""
    return price(period, billing_model="PER_UNIT", feature_id="seats", unit_amount=Decimal(amount), min_units=1)


def shop(*more: Record, **settings: Any) -> Catalog:
    """Free, basic at 10, pro at 20, team at 10 a seat, custom, and an add-on at 4."""
    defaults: dict[str, Any] = {"downgrade_time": "END_OF_BILLING_PERIOD"}
    records: list[Record] = [
        Product(id="product", settings=ProductSettings(**{**defaults, **settings})),
        plan("free"),
        plan(
            "basic", pricing_type="PAID", prices=(flat("10"), flat("100", "ANNUALLY")), compatible_addon_ids=("more",)
        ),
        plan("pro", pricing_type="PAID", prices=(flat("20"), flat("200", "ANNUALLY")), compatible_addon_ids=("more",)),
        plan("team", pricing_type="PAID", prices=(per_seat("10"),)),
        plan("custom", pricing_type="CUSTOM", entitlements=(gives(is_custom=True),)),
        plan(
            "tried",
            pricing_type="PAID",
            prices=(flat("30"),),
            default_trial_config=TrialConfig(duration=14, trial_end_behavior="CANCEL_SUBSCRIPTION"),
        ),
        plan("turns", pricing_type="PAID", prices=(flat("30"),), default_trial_config=TrialConfig(duration=14)),
        addon("more", prices=(flat("4"), flat("40", "ANNUALLY"))),
    ]
    named = {getattr(item, "id", None) for item in more}
    return catalog(*(item for item in records if getattr(item, "id", None) not in named), *more)


_IDS = count()


def buy(record: Customer, compiled: Catalog, plan_id: str, at_ms: int = T0, **fields: Any) -> Decided:
    """Provision, with what `provision` takes and what its command takes."""
    own = {key: fields.pop(key) for key in ("charges", "invoice_id") if key in fields}
    command = ProvisionSubscription(customer_id=record.id, plan_id=plan_id, **fields)
    return provision(record, compiled, command, now_ms=at_ms, new_id=lambda: f"{next(_IDS):06d}", **own)


def change(record: Customer, compiled: Catalog, subscription_id: str, at_ms: int, **fields: Any) -> Decided:
    """Update, with what `update` takes and what its command takes."""
    own = {key: fields.pop(key) for key in ("charges", "invoice_id") if key in fields}
    return update(record, compiled, UpdateSubscription(subscription_id=subscription_id, **fields), now_ms=at_ms, **own)


def end(record: Customer, compiled: Catalog, subscription_id: str, at_ms: int, **fields: Any) -> Decided:
    """Cancel."""
    return cancel(record, compiled, CancelSubscription(subscription_id=subscription_id, **fields), now_ms=at_ms)


def plans_at(sources: Any, at_ms: int) -> list[str]:
    """The plans that entitle at an instant, by a snapshot's sources."""
    return sorted(
        item.packages[0][0]
        for item in sources
        if isinstance(item, SubscriptionSource) and item.start_ms <= at_ms < item.end_ms
    )
