"""Collecting what is due: the provider is asked between two transactions, never inside one.

Laws: the intent is written before anybody is asked, and its outcome after; whoever repeats a command with its key
finishes what was begun, under the same invoice id; billing information is passed on and never written.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from stigg_local.authority.collection import (
    PARKING,
    RESUME_MS,
    Collection,
    checkout_id_of,
    decode,
    encode,
    invoice_id_of,
    one_change,
)
from stigg_local.authority.run import Runner
from stigg_local.clock import new_id
from stigg_local.core.catalog import Coupon
from stigg_local.core.customer import Customer
from stigg_local.core.customer_result import ProvisionCustomerResult
from stigg_local.core.decided import Decided
from stigg_local.core.event import CUSTOMER_PAYMENT_FAILED, SYSTEM, Event
from stigg_local.core.ids import told
from stigg_local.core.lifecycle import advance
from stigg_local.core.payment import CHECKOUT, OUTCOMES, PAID, PAYMENT_WINDOW_MS, Invoice, PaymentOutcome
from stigg_local.core.settlement import apply_outcome, awaits, charges_due, park, settle, unpark
from stigg_local.core.sources import Catalog
from stigg_local.core.subscription_result import (
    ProvisionSubscriptionResult,
    SubscriptionResult,
    subscription_result,
)
from stigg_local.errors import AuthorityUnavailable, InvalidInput, NotFound, StiggError
from stigg_local.store.tx import Tx

_REDEEMED = "redeemed"


class Payments:
    """What is due and what becomes of it."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    # ------------------------------------------------------------------ promotion codes

    def resolve(self, code: str | None) -> Coupon | None:
        """What the provider makes of a promotion code; None without one.

        Raises:
            AuthorityUnavailable: The provider failed.
        """
        provider = self._runner.provider
        if code is None or provider is None:
            return None
        try:
            coupon = provider.resolve_promotion_code(code)
        except StiggError:
            raise
        except Exception as error:
            raise _unavailable(error) from error
        if coupon is not None and not isinstance(coupon, Coupon):
            raise InvalidInput(
                f"the payment provider answered `{told(coupon)}` for a promotion code",
                hint="a Coupon, or None for a code that it does not know",
            )
        return coupon

    def redeemed(self, tx: Tx, code: str | None) -> int:
        """How often a code was used."""
        return 0 if code is None else int(tx.meta(f"{_REDEEMED} {tx.environment} {code}") or 0)

    def count_redemption(self, tx: Tx, code: str | None) -> None:
        """A command used a code."""
        if code is not None:
            tx.set_meta(f"{_REDEEMED} {tx.environment} {code}", str(self.redeemed(tx, code) + 1))

    # ------------------------------------------------------------------ commands that cost

    def put(
        self, tx: Tx, catalog: Catalog, before: Customer | None, decided: Decided, *, operation: str, key: str
    ) -> None:
        """Write down what a decision made of a record, and what it wants collected.

        What the decision itself did to a subscription is told with the outcome, for behind a checkout page nothing
        has happened yet.
        """
        if decided.charge is None:
            self._runner.put_decided(tx, catalog, before, decided)
            return
        now = tuple(item for item in decided.events if item.actor == SYSTEM or item.subscription_id is None)
        later = tuple(item for item in decided.events if item not in now)
        self._runner.put_decided(tx, catalog, before, replace(decided, events=now))
        collection = Collection(invoice=decided.charge, operation=operation, key=key, events=later)
        tx.put_checkout(decided.charge.id, decided.customer.id, encode(collection))
        self._runner.follow_due(tx, decided.customer)

    def finish(
        self,
        operation: str,
        key: str,
        reply: ProvisionSubscriptionResult,
        *,
        billing_information: Mapping[str, Any] | None,
        checkout_options: Mapping[str, Any] | None,
    ) -> ProvisionSubscriptionResult:
        """Collect what a command began to collect, unless that is done already, and give the final reply.

        Raises:
            AuthorityUnavailable: The provider failed; the intent stays for 23 hours.
        """
        if self._runner.provider is None:
            return reply
        collection = self._open(invoice_id_of(operation, key))
        if collection is None or collection.is_page:
            return self._final(operation, key, reply)
        invoice = replace(collection.invoice, billing_information=billing_information)
        outcome = self._collect(invoice, checkout_options)
        concluded = self._conclude(collection, outcome)
        return self._final(operation, key, reply) if concluded is None else concluded

    def has_method(self, customer_id: str) -> bool:
        """Whether the provider knows a payment method of the customer; to be asked outside of any transaction.

        A customer can be read while the provider fails: then no method is known.
        """
        asked = getattr(self._runner.provider, "has_payment_method", None)
        if asked is None:
            return False
        try:
            return bool(asked(customer_id))
        except Exception as error:
            from stigg_local.log import logger

            logger().warning(f"the payment provider did not say whether there is a method: {type(error).__name__}")
            return False

    def sync_customer(self, customer_id: str, billing_info: Mapping[str, Any] | None) -> None:
        """Hand billing information to the provider, whole.

        Raises:
            AuthorityUnavailable: The provider failed; what was written of the customer stays.
        """
        provider = self._runner.provider
        if billing_info is None or provider is None:
            return
        try:
            provider.sync_customer(customer_id, billing_info)
        except StiggError:
            raise
        except Exception as error:
            raise _unavailable(error) from error

    def settle(
        self, subject: str, *, paid: bool, error_message: str | None, key: str | None
    ) -> SubscriptionResult | None:
        """A payment that was open came in, or failed: by subscription id or by checkout URL.

        Returns:
            The subscription; None where a checkout was given up, of which there is none.

        Raises:
            NotFound: Neither a subscription nor a pending checkout (`SubscriptionNotFound`).
            NotAllowed: It has nothing to pay (`InvalidSubscriptionStatus`).
        """
        runner = self._runner
        checkout_id = checkout_id_of(subject)

        def work(tx: Tx) -> Settled:
            catalog = runner.catalog(tx)
            pending = tx.checkout(checkout_id)
            collection = None if pending is None else decode(pending.body)
            if pending is None or collection is None or collection.parked is None:
                subscription_id = subject if collection is None else collection.invoice.subscription_id
                customer = runner.customer(tx, self._owner(tx, subscription_id))
                decided = settle(
                    customer, catalog, subscription_id, paid=paid, error_message=error_message, now_ms=tx.now_ms
                )
                shown = _shown(decided, catalog, tx)
                self._forget(tx, customer.id, subscription_id, shown)
                runner.put_decided(tx, catalog, customer, decided)
                return Settled(subscription=shown)
            tx.delete_checkout(checkout_id)
            customer = runner.customer(tx, pending.customer_id)
            if not paid:
                runner.tell(tx, Event(type=CUSTOMER_PAYMENT_FAILED, customer_id=customer.id, at_ms=tx.now_ms))
                return Settled(subscription=None)
            decided = unpark(customer, catalog, collection.parked, now_ms=tx.now_ms)
            runner.put_decided(tx, catalog, customer, decided)
            return Settled(subscription=_shown(decided, catalog, tx))

        command = _Settle(subject=subject, paid=paid, error_message=error_message)
        customer_id = runner.store.read(lambda tx: self._whose(tx, subject, checkout_id))
        return runner.run(SETTLE, key, customer_id, command, work, Settled).subscription

    # ------------------------------------------------------------------ charges of time

    def begin_due(self, tx: Tx, catalog: Catalog, customer: Customer, *, now_ms: int) -> tuple[Customer, list[str]]:
        """Note the charges that time made due, and name the collections of the customer that are open.

        To be called for a record that is about to be written, by the maintenance tick alone. Whoever was named is not
        named again for a minute, so that two who tick collect once.
        """
        customer, invoices = charges_due(customer, catalog, now_ms=now_ms)
        for invoice in invoices:
            tx.put_checkout(invoice.id, customer.id, encode(Collection(invoice=invoice)))
        claimed: list[str] = []
        for pending in tx.checkouts_of(customer.id):
            collection = decode(pending.body)
            if collection.is_begun_by_time:
                if collection.claimed_ms + RESUME_MS <= now_ms:
                    tx.put_checkout(pending.id, customer.id, encode(replace(collection, claimed_ms=now_ms)))
                    claimed.append(pending.id)
            elif collection.operation is not None and pending.at_ms + PAYMENT_WINDOW_MS <= now_ms:
                self._abandon(tx, pending.id, collection)
        return customer, claimed

    def collect_due(self, checkout_ids: list[str]) -> list[StiggError]:
        """Collect what `begin_due` named; what fails is tried again later, and is returned."""
        failed = []
        for checkout_id in checkout_ids:
            collection = self._open(checkout_id)
            if collection is None:
                continue
            try:
                self._conclude(collection, self._collect(collection.invoice, None))
            except StiggError as error:
                failed.append(error)
        return failed

    # ------------------------------------------------------------------ inside

    def _final(self, operation: str, key: str, reply: ProvisionSubscriptionResult) -> ProvisionSubscriptionResult:
        """The reply as it is stored by now: another thread or process may have concluded it since it was read."""
        stored = self._runner.store.read(lambda tx: tx.idempotency(operation, key))
        if stored is None:
            return reply
        if operation != "provisionCustomer":
            return msgspec.msgpack.decode(stored[1], type=ProvisionSubscriptionResult)
        whole = msgspec.msgpack.decode(stored[1], type=ProvisionCustomerResult)
        return replace(reply, subscription=whole.subscription, checkout_url=whole.checkout_url)

    def _open(self, checkout_id: str) -> Collection | None:
        pending = self._runner.store.read(lambda tx: tx.checkout(checkout_id))
        return None if pending is None else decode(pending.body)

    def _collect(self, invoice: Invoice, options: Mapping[str, Any] | None) -> PaymentOutcome:
        provider = self._runner.provider
        assert provider is not None, "only a provider makes anything due"
        try:
            outcome = provider.collect(invoice, options)
        except StiggError:
            raise
        except Exception as error:
            raise _unavailable(error, invoice) from error
        word = getattr(outcome, "outcome", None)
        if word not in OUTCOMES:
            raise InvalidInput(
                f"the payment provider answered `{told(outcome)}`",
                hint=f"a PaymentOutcome whose outcome is one of {', '.join(OUTCOMES)}",
            )
        if outcome.outcome == CHECKOUT and not outcome.checkout_url:
            raise InvalidInput("the payment provider answered CHECKOUT without a checkout_url", hint="give one")
        return outcome

    def _conclude(self, collection: Collection, outcome: PaymentOutcome) -> ProvisionSubscriptionResult | None:
        """Write what a payment's outcome makes of the record; None where another one did so in between."""
        runner = self._runner
        invoice = collection.invoice

        def work(tx: Tx) -> ProvisionSubscriptionResult | None:
            if not tx.delete_checkout(invoice.id):
                return None
            catalog = runner.catalog(tx)
            # Whose it is now: it may have been handed over while the provider was asked.
            known = runner.customer(tx, self._owner(tx, invoice.subscription_id))
            page = checkout_id_of(outcome.checkout_url) if outcome.checkout_url else ""
            advanced = advance(known, catalog, to_ms=tx.now_ms)
            is_open = awaits(advanced.customer, invoice)
            if outcome.outcome == CHECKOUT and collection.operation in PARKING and is_open:
                after, parked = park(advanced.customer, catalog, invoice, now_ms=tx.now_ms)
                runner.put_customer(tx, catalog, after, before=known, events=advanced.events)
                tx.put_checkout(page, known.id, encode(Collection(invoice=invoice, parked=parked)))
                reply = ProvisionSubscriptionResult(status="PaymentRequired", checkout_url=outcome.checkout_url)
            else:
                decided = apply_outcome(known, catalog, invoice, outcome, now_ms=tx.now_ms)
                begun, concluded = collection.events, decided.events
                if outcome.outcome == PAID:
                    begun, concluded = one_change(begun, concluded)
                if collection.is_begun_by_time:
                    concluded = tuple(replace(item, actor=item.actor or SYSTEM) for item in concluded)
                decided = replace(decided, events=concluded)
                for happened in begun:
                    runner.tell(tx, happened)
                shown = _shown(decided, catalog, tx)
                self._forget(tx, known.id, invoice.subscription_id, shown)
                runner.put_decided(tx, catalog, known, decided)
                if outcome.outcome == CHECKOUT and is_open:
                    tx.put_checkout(page, known.id, encode(Collection(invoice=invoice, is_page=True)))
                reply = ProvisionSubscriptionResult(
                    status="Success", checkout_url=outcome.checkout_url, subscription=shown
                )
            self._keep(tx, collection, reply)
            return reply

        return runner.write(work, operation="applyPayment", key=new_id())

    def _forget(self, tx: Tx, customer_id: str, subscription_id: str, shown: SubscriptionResult) -> None:
        """What was open of a subscription is settled: its pages are void, and no repeat collects it again."""
        for pending in tx.checkouts_of(customer_id):
            collection = decode(pending.body)
            if collection.parked is None and collection.invoice.subscription_id == subscription_id:
                self._abandon(tx, pending.id, collection)
                self._keep(tx, collection, ProvisionSubscriptionResult(status="Success", subscription=shown))

    def _abandon(self, tx: Tx, checkout_id: str, collection: Collection) -> None:
        """Nobody collects it any more; what its command did is told at last."""
        tx.delete_checkout(checkout_id)
        for happened in collection.events:
            self._runner.tell(tx, happened)

    def _keep(self, tx: Tx, collection: Collection, reply: ProvisionSubscriptionResult) -> None:
        """The final reply takes the place of the one that was stored before anything was collected."""
        operation, key = collection.operation, collection.key
        if operation is None or key is None:
            return
        stored = tx.idempotency(operation, key)
        if stored is None:
            return
        whole: Struct = reply
        if operation == "provisionCustomer":
            known = msgspec.msgpack.decode(stored[1], type=ProvisionCustomerResult)
            whole = replace(known, subscription=reply.subscription, checkout_url=reply.checkout_url)
        body = msgspec.msgpack.encode(whole)
        tx.put_idempotency(operation, key, collection.invoice.customer_id, stored[0], body)

    def _owner(self, tx: Tx, subject: str) -> str:
        try:
            return self._runner.owner(tx, subject)
        except NotFound:
            raise NotFound(
                f"`{subject[:80]}` is neither a subscription nor a pending checkout",
                code="SubscriptionNotFound",
                hint="pass the subscription's id or the checkout_url",
            ) from None

    def _whose(self, tx: Tx, subject: str, checkout_id: str) -> str:
        """Whose payment it is; nobody's where it is settled already, which the stored reply of its key may know."""
        pending = tx.checkout(checkout_id)
        if pending is not None:
            return pending.customer_id
        try:
            return self._runner.owner(tx, subject)
        except NotFound:
            return ""


SETTLE = "settlePayment"


class _Settle(Struct, frozen=True, kw_only=True):
    subject: str
    paid: bool
    error_message: str | None


class Settled(Struct, frozen=True, kw_only=True):
    """The stored reply of a settlement."""

    subscription: SubscriptionResult | None


def _shown(decided: Decided, catalog: Catalog, tx: Tx) -> SubscriptionResult:
    return subscription_result(decided.customer, decided.subscription_id, catalog, now_ms=tx.now_ms)


def _unavailable(error: Exception, invoice: Invoice | None = None) -> AuthorityUnavailable:
    # Its own words stay in the cause: they may quote what it was handed, and this text is logged.
    what = "" if invoice is None else f" while collecting for subscription `{invoice.subscription_id}`"
    return AuthorityUnavailable(
        f"the payment provider failed{what}: {type(error).__name__}",
        hint="repeat the call with the same idempotency_key, or settle it later with payments.settle",
    )
