"""Archiving: a customer that is gone, with all that named it; the id stays burnt.

Source: seed, "Archiving customers"; semantics §5, §19.18.
"""

from msgspec.structs import replace

from stigg_local.core import event
from stigg_local.core.customer import Customer
from stigg_local.core.decided import told
from stigg_local.core.lifecycle import Advanced, advance
from stigg_local.core.place import is_over
from stigg_local.core.sources import Catalog


def archive(customer: Customer, catalog: Catalog, *, now_ms: int) -> Advanced:
    """The record without name, e-mail and metadata; its subscriptions end now, and no free plan follows."""
    advanced = advance(customer, catalog, to_ms=now_ms)
    customer = advanced.customer
    ended = tuple(
        replace(
            item,
            end_ms=now_ms,
            cancel_reason="CustomerArchived",
            is_waiting=False,
            cancellation_ms=None,
            scheduled_updates=(),
            paid_until_ms=None,
        )
        for item in customer.subscriptions
        if not is_over(item, now_ms)
    )
    by_id = {item.id: item for item in ended}
    after = replace(
        customer,
        name=None,
        email=None,
        metadata=None,
        archived_ms=now_ms,
        updated_ms=now_ms,
        subscriptions=tuple(
            replace(by_id.get(item.id, item), metadata=None, latest_invoice=None) for item in customer.subscriptions
        ),
    )
    events = [told(customer, event.SUBSCRIPTION_CANCELED, item, now_ms, reason="CustomerArchived") for item in ended]
    return Advanced(after, (*advanced.events, *events, told(customer, event.CUSTOMER_DELETED, None, now_ms)))
