"""Moving a subscription: to another resource of the customer, or to another customer, for whom the first one pays.

Law: a place that is taken is not taken twice. Source: the wire's `transferSubscription`,
`transferSubscriptionToResource` and `delegateSubscriptionToCustomer`.
"""

from msgspec import Struct
from msgspec.structs import replace

from stigg_local.core import event
from stigg_local.core.customer import Customer, Subscription, is_trial_at, same_place
from stigg_local.core.decided import Decided, find_alive, told, updated
from stigg_local.core.event import Event
from stigg_local.core.lifecycle import advance
from stigg_local.core.order import check_resource
from stigg_local.core.place import is_over
from stigg_local.core.sources import Catalog
from stigg_local.errors import Conflict, InvalidInput, NotFound


class Delegated(Struct, frozen=True, kw_only=True):
    """Both records after a subscription went from one customer to another."""

    source: Customer
    destination: Customer
    subscription_id: str
    events: tuple[Event, ...]


def transfer(
    customer: Customer, catalog: Catalog, subscription_id: str, resource_id: str | None, *, now_ms: int
) -> Decided:
    """Move a subscription to another resource of its customer; its cycle and its usage windows go on.

    Raises:
        NotFound: It does not exist (`SubscriptionNotFound`).
        NotAllowed: It has ended (`SubscriptionAlreadyCanceledOrExpired`).
        InvalidInput: Its product has no resources, or none was given (`InvalidArgumentError`).
        Conflict: The resource has a subscription of the product (`DuplicatedEntityNotAllowed`).
    """
    advanced = advance(customer, catalog, to_ms=now_ms)
    customer = advanced.customer
    subscription = find_alive(customer, subscription_id, now_ms)
    product = catalog.products.get(subscription.product_id)
    if product is not None:
        check_resource(product, resource_id)
    moved = replace(subscription, resource_id=resource_id)
    if resource_id != subscription.resource_id:
        _check_free(customer, moved, now_ms)
    resources = customer.resource_ids
    if resource_id is not None and resource_id not in resources:
        resources = (*resources, resource_id)
    done = updated(advanced, moved, now_ms, resourceId=resource_id or "")
    return replace(done, customer=replace(done.customer, resource_ids=resources))


def transfer_resource(
    customer: Customer,
    catalog: Catalog,
    source_resource_id: str,
    destination_resource_id: str,
    *,
    now_ms: int,
) -> Decided:
    """Move the subscription of one resource to another one.

    Raises:
        NotFound: The resource is unknown (`CustomerResourceNotFound`), or has no subscription
            (`NoActiveSubscriptionForCustomer`).
        InvalidInput: It has several; name the one to move.
        Conflict: As `transfer`.
    """
    if source_resource_id not in customer.resource_ids:
        raise NotFound(
            f"customer `{customer.id[:80]}` has no resource `{source_resource_id[:80]}`",
            code="CustomerResourceNotFound",
            hint="a resource is known from its first subscription",
        )
    now = advance(customer, catalog, to_ms=now_ms).customer
    found = [
        item for item in now.subscriptions if item.resource_id == source_resource_id and not is_over(item, now_ms)
    ]
    if not found:
        raise NotFound(
            f"resource `{source_resource_id[:80]}` has no subscription",
            code="NoActiveSubscriptionForCustomer",
            hint="provision_subscription makes one",
        )
    if len(found) > 1:
        raise InvalidInput(
            f"resource `{source_resource_id[:80]}` has {len(found)} subscriptions",
            code="InvalidArgumentError",
            hint=f"move them one by one: {', '.join(item.id for item in found)}",
        )
    return transfer(customer, catalog, found[0].id, destination_resource_id, now_ms=now_ms)


def delegate(
    source: Customer, destination: Customer, catalog: Catalog, subscription_id: str, *, now_ms: int
) -> Delegated:
    """Give a subscription to another customer; the one who had it goes on paying for it, until it comes back.

    Raises:
        NotFound: It does not exist (`SubscriptionNotFound`).
        NotAllowed: It has ended (`SubscriptionAlreadyCanceledOrExpired`).
        InvalidInput: Both customers are the same (`InvalidArgumentError`).
        Conflict: The other one has a subscription of the product (`DuplicatedEntityNotAllowed`).
    """
    if source.id == destination.id:
        raise InvalidInput(
            f"subscription `{subscription_id[:80]}` is customer `{source.id[:80]}`'s already",
            code="InvalidArgumentError",
            hint="name another customer",
        )
    before, after = advance(source, catalog, to_ms=now_ms), advance(destination, catalog, to_ms=now_ms)
    subscription = find_alive(before.customer, subscription_id, now_ms)
    payer = subscription.paying_customer_id or source.id
    moved = replace(subscription, paying_customer_id=None if payer == destination.id else payer)
    _check_free(after.customer, moved, now_ms)
    resources = after.customer.resource_ids
    if moved.resource_id is not None and moved.resource_id not in resources:
        resources = (*resources, moved.resource_id)
    kept = tuple(item for item in before.customer.subscriptions if item.id != subscription_id)
    return Delegated(
        source=replace(before.customer, subscriptions=kept, updated_ms=now_ms),
        destination=replace(
            after.customer,
            subscriptions=(*after.customer.subscriptions, moved),
            resource_ids=resources,
            updated_ms=now_ms,
        ),
        subscription_id=moved.id,
        events=(
            *before.events,
            *after.events,
            told(source, event.SUBSCRIPTION_UPDATED, moved, now_ms, delegatedTo=destination.id),
            told(destination, event.SUBSCRIPTION_UPDATED, moved, now_ms, delegatedFrom=source.id),
        ),
    )


def _check_free(customer: Customer, moved: Subscription, now_ms: int) -> None:
    """The place that it moves to holds nothing that could meet it: a trial beside what is paid for is fine."""
    for item in customer.subscriptions:
        if item.id == moved.id or not same_place(item, moved) or is_over(item, now_ms):
            continue
        # Of a trial and a paid one, one converts some day: then it takes the place in good order.
        if is_trial_at(item, now_ms) == is_trial_at(moved, now_ms):
            raise Conflict(
                f"customer `{customer.id[:80]}` has subscription `{item.id}` in the place that it would move to",
                code="DuplicatedEntityNotAllowed",
                hint=f"cancel `{item.id}` first",
            )
