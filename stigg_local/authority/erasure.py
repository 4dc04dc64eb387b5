"""What is taken out of the rows of a customer who is archived.

Law: after it nothing but ids, words, numbers and instants is left of the person: no name, e-mail, metadata, address
of a payment page, and no dimension of what was reported.
"""

from functools import partial

import msgspec
from msgspec.structs import replace

from stigg_local.authority.payments import SETTLE, Settled
from stigg_local.core.customer import Customer
from stigg_local.core.customer_result import ProvisionCustomerResult
from stigg_local.core.subscription_result import ProvisionSubscriptionResult, SubscriptionResult
from stigg_local.store.tx import Tx

_WITH_SUBSCRIPTION = {
    "provisionCustomer": ProvisionCustomerResult,
    "provisionSubscription": ProvisionSubscriptionResult,
    "updateSubscription": ProvisionSubscriptionResult,
    "migrateSubscriptionToLatest": ProvisionSubscriptionResult,
    SETTLE: Settled,
}
_SUBSCRIPTIONS = frozenset({"cancelSubscription", "transferSubscription", "delegateSubscription"})


def erase(tx: Tx, customer: Customer) -> None:
    """Take the person out of stored replies, open checkouts and usage, and have the files scrubbed after that.

    Args:
        tx: The transaction that archives the record.
        customer: The record as it was before.
    """
    for pending in tx.checkouts_of(customer.id):
        tx.delete_checkout(pending.id)
    tx.scrub_usage(customer.id)
    tx.scrub_customer(customer.id, reply=_without_person, event=_as_it_is)
    # What was handed over to this customer has replies that are kept with whoever had it before.
    for payer_id in {item.paying_customer_id for item in customer.subscriptions} - {None, customer.id}:
        mine = frozenset(item.id for item in customer.subscriptions)
        tx.scrub_customer(payer_id or "", reply=partial(_without_person, only=mine), event=_as_it_is)


def _without_person(operation: str, reply: bytes, only: frozenset[str] | None = None) -> bytes:
    """A stored reply without what the application or the provider may have written of the person into it."""
    kind = _WITH_SUBSCRIPTION.get(operation)
    if kind is not None:
        known = msgspec.msgpack.decode(reply, type=kind)
        inner = known.subscription
        if only is not None and (inner is None or inner.id not in only):
            return reply
        patch: dict[str, object] = {"subscription": None if inner is None else _anonymous(inner)}
        if hasattr(known, "checkout_url"):
            patch["checkout_url"] = None
        return msgspec.msgpack.encode(replace(known, **patch))
    if operation in _SUBSCRIPTIONS:
        found = msgspec.msgpack.decode(reply, type=SubscriptionResult)
        return reply if only is not None and found.id not in only else msgspec.msgpack.encode(_anonymous(found))
    return reply


def _anonymous(result: SubscriptionResult) -> SubscriptionResult:
    return replace(result, metadata=None, latest_invoice=None)


def _as_it_is(kind: str, body: bytes) -> bytes:
    """Events hold ids, words and numbers of ours alone."""
    del kind
    return body
