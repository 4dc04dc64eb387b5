"""What a customer is made or patched of, and the first subscription that comes with it: what a journey decides.

Law: what a patch does not name stays; the journey of the product decides over the plan that was asked for.
"""

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from stigg_local.core.customer import Customer
from stigg_local.core.discounts import with_customer_coupon
from stigg_local.core.experiment import assigned
from stigg_local.core.ids import UNSET, Unset
from stigg_local.core.sources import Catalog
from stigg_local.core.subscription import ProvisionSubscription, journey

SKIPPED = "SKIPPED_SUBSCRIPTION_CREATION"
REQUESTED = "REQUESTED_PLAN"


class PatchCustomer(Struct, frozen=True, kw_only=True):
    """What to change of a customer: what is UNSET stays, None clears, metadata merges."""

    customer_id: str
    name: str | Unset | None = UNSET
    email: str | Unset | None = UNSET
    coupon_id: str | Unset | None = UNSET
    metadata: dict[str, str] | Unset | None = UNSET


class ProvisionCustomer(PatchCustomer, frozen=True, kw_only=True):
    """A customer to provision; `subscription` is absent, None or a command of its own."""

    subscription: ProvisionSubscription | Unset | None = UNSET


def patched(known: Customer | None, command: PatchCustomer, catalog: Catalog, *, now_ms: int) -> Customer:
    """The customer as the command makes it; a new one where none is known.

    Raises:
        NotFound, NotAllowed: As `core.discounts.with_customer_coupon`.
    """
    customer = known or Customer(id=command.customer_id, created_ms=now_ms, updated_ms=now_ms)
    patch: dict[str, Any] = {"updated_ms": now_ms}
    for name in ("name", "email"):
        value = getattr(command, name)
        if value is not UNSET:
            patch[name] = value
    if not isinstance(command.metadata, Unset):
        patch["metadata"] = None if command.metadata is None else {**(customer.metadata or {}), **command.metadata}
    customer = replace(customer, **patch)
    if not isinstance(command.coupon_id, Unset):
        customer = with_customer_coupon(customer, catalog, command.coupon_id, now_ms=now_ms)
    return customer


def first_subscription(
    customer: Customer, catalog: Catalog, asked: ProvisionSubscription | Unset | None
) -> tuple[str, ProvisionSubscription | None, Customer]:
    """What the journey makes of the subscription that is asked for, UNSET where nothing is said, with a customer.

    Returns:
        The decision's name, the subscription to provision, and the customer in the group of an experiment that the
        journey was looked up for.
    """
    if asked is None:
        return SKIPPED, None, customer
    if isinstance(asked, Unset):
        first = next((item for item in catalog.products.values() if not item.multiple_subscriptions), None)
        if first is None:
            return SKIPPED, None, customer
        product_id = first.id
    else:
        plan = catalog.latest_package(asked.plan_id)
        if plan is None:
            return REQUESTED, asked, customer
        product_id = plan.package.product_id
    grouped = assigned(customer, catalog, product_id)
    start = journey(catalog, product_id, customer=grouped)
    if start is None:
        return (SKIPPED, None, grouped) if isinstance(asked, Unset) else (REQUESTED, asked, grouped)
    product, plan_id = start
    if any(item.product_id == product.id for item in customer.subscriptions):
        return SKIPPED, None, grouped
    if isinstance(asked, Unset):
        ask = ProvisionSubscription(customer_id=customer.id, plan_id=plan_id)
    elif asked.plan_id == plan_id:
        ask = asked
    else:
        # What was asked for of the other plan does not fit this one; where and for whom it is stays.
        ask = ProvisionSubscription(
            customer_id=customer.id,
            plan_id=plan_id,
            resource_id=asked.resource_id,
            billing_country_code=asked.billing_country_code,
            metadata=asked.metadata,
            paying_customer_id=asked.paying_customer_id,
        )
    is_free = product.settings.subscription_start_setup == "FREE_PLAN"
    return "PREDEFINED_FREE_PLAN" if is_free else "PREDEFINED_TRIAL_PLAN", ask, grouped
