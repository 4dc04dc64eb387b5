"""A collection under way, as it is kept until its outcome is known.

Laws: no billing information is in it; the id of an invoice follows from the command that made it, so that a repeat
goes on with the same one.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from stigg_local.core.event import SUBSCRIPTION_CREATED, SUBSCRIPTION_UPDATED, Event
from stigg_local.core.payment import PAID, PAYMENT_WINDOW_MS, Invoice
from stigg_local.core.settlement import Parked
from stigg_local.store.digest import fingerprint
from stigg_local.store.tx import Tx

# A collection that time began and nobody finished is taken up again after this.
RESUME_MS = 60_000
# Commands whose result can say that nothing is there before a checkout page was paid.
PARKING = frozenset({"provisionCustomer", "provisionSubscription"})


class Collection(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A collection under way, or what waits behind a checkout page.

    Attributes:
        invoice: What is collected.
        operation, key: The command's whose stored reply the outcome replaces; none where time began it.
        parked: What is made when the page is paid.
        is_page: The page of something that is in the record, unpaid.
        claimed_ms: When somebody last set out to collect what time began.
        events: What the command did, told when it is known whether there is anything before it is paid.
    """

    invoice: Invoice
    operation: str | None = None
    key: str | None = None
    parked: Parked | None = None
    is_page: bool = False
    claimed_ms: int = 0
    events: tuple[Event, ...] = ()

    @property
    def is_begun_by_time(self) -> bool:
        """Whether it is the tick's to carry out."""
        return self.operation is None and self.parked is None and not self.is_page


decode = msgspec.json.Decoder(Collection).decode
encode = msgspec.json.Encoder().encode


def again_ms(tx: Tx, customer_id: str) -> int | None:
    """When to look again at what nobody finished to collect; None where there is nothing of it.

    Whoever collects may be killed before the outcome is written.
    """
    ends: list[int] = []
    for pending in tx.checkouts_of(customer_id):
        collection = decode(pending.body)
        if collection.is_begun_by_time:
            ends.append(collection.claimed_ms + RESUME_MS)
        elif collection.operation is not None:
            ends.append(pending.at_ms + PAYMENT_WINDOW_MS)
    return min(ends, default=None)


def overtaken(tx: Tx, customer_id: str, events: Sequence[Event]) -> tuple[Event, ...]:
    """What commands did to subscriptions that something else is told of now: it has to be told before that.

    To be called in the transaction that tells it; the collections go on without it.
    """
    about = {item.subscription_id for item in events if item.subscription_id is not None}
    found: list[Event] = []
    for pending in tx.checkouts_of(customer_id) if about else ():
        collection = decode(pending.body)
        if collection.events and collection.invoice.subscription_id in about:
            tx.put_checkout(pending.id, customer_id, encode(replace(collection, events=())))
            found += collection.events
    return tuple(found)


def one_change(begun: Sequence[Event], concluded: Sequence[Event]) -> tuple[tuple[Event, ...], tuple[Event, ...]]:
    """What a command began and what its payment made of it, where it was paid at once: told once.

    A new subscription was paid for when it is told of; of a change, only that it was carried out.
    """
    made = {item.subscription_id for item in begun if item.type == SUBSCRIPTION_CREATED}
    paid = tuple(
        replace(item, data={**item.data, "payment": PAID}) if item.type == SUBSCRIPTION_CREATED else item
        for item in begun
        if made
    )
    rest = (item for item in concluded if item.type != SUBSCRIPTION_UPDATED or item.subscription_id not in made)
    return paid, tuple(rest)


def invoice_id_of(operation: str, key: str) -> str:
    """The id of the invoice that a command makes: the same for the same command."""
    return f"invoice-{fingerprint(f'{operation} {key}'.encode(errors='replace')).hex()[:20]}"


def checkout_id_of(url: str) -> str:
    """The id under which a checkout page's address is kept: addresses may be long, and they let one pay."""
    return f"checkout-{fingerprint(url.encode(errors='replace')).hex()}"
