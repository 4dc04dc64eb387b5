"""Commands about subscriptions: each decided by the core and written in one transaction, then paid for if need be."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from stigg_local.authority.collection import invoice_id_of
from stigg_local.authority.payments import Payments
from stigg_local.authority.replies import passed_on
from stigg_local.authority.run import Runner
from stigg_local.authority.subscription_reads import SubscriptionReads
from stigg_local.clock import new_id, new_short_id
from stigg_local.core.cancel import CancelSubscription, cancel
from stigg_local.core.customer import Customer
from stigg_local.core.decided import Decided
from stigg_local.core.ids import Unset
from stigg_local.core.migrate import MigrateToLatest, migrate
from stigg_local.core.schedule import CancelScheduledUpdates, cancel_scheduled
from stigg_local.core.sources import Catalog
from stigg_local.core.subscription import ProvisionSubscription, provision
from stigg_local.core.subscription_result import (
    ProvisionSubscriptionResult,
    ScheduledUpdatesCancelled,
    SubscriptionResult,
    subscription_result,
)
from stigg_local.core.transfer import delegate, transfer
from stigg_local.core.update import UpdateSubscription, update
from stigg_local.store.tx import Tx

Decide = Callable[[Customer, Catalog, Tx], Decided]


class _Transfer(Struct, frozen=True):
    subscription_id: str
    to: str


class Subscriptions(SubscriptionReads):
    """Commands about subscriptions."""

    def __init__(self, runner: Runner, payments: Payments) -> None:
        self._runner = runner
        self._payments = payments

    # ------------------------------------------------------------------ commands

    def provision(
        self,
        command: ProvisionSubscription,
        *,
        key: str | None,
        billing_information: Mapping[str, Any] | None = None,
        checkout_options: Mapping[str, Any] | None = None,
    ) -> ProvisionSubscriptionResult:
        """Give a customer a subscription.

        Raises:
            NotFound: The customer, plan, add-on, coupon or promotion code does not exist.
            NotAllowed, InvalidInput: As `core.subscription.provision`.
            AuthorityUnavailable: The payment provider could not be asked; repeat with the same key.
        """
        used_key = new_id() if key is None else key
        resolved = self._payments.resolve(command.promotion_code)

        def decide(customer: Customer, catalog: Catalog, tx: Tx) -> Decided:
            return provisioned(
                self._runner,
                self._payments,
                tx,
                catalog,
                customer,
                replace(command, resolved_coupon=resolved),
                invoice_id=invoice_id_of("provisionSubscription", used_key),
            )

        return self._charged(
            "provisionSubscription",
            used_key,
            command,
            command.customer_id,
            decide,
            billing_information=billing_information,
            checkout_options=checkout_options,
        )

    def update(
        self, command: UpdateSubscription, *, key: str | None, billing_information: Mapping[str, Any] | None = None
    ) -> SubscriptionResult:
        """Change a subscription in place.

        Raises:
            NotFound, NotAllowed, InvalidInput: As `core.update.update`.
        """
        used_key = new_id() if key is None else key
        code = None if isinstance(command.promotion_code, Unset) else command.promotion_code
        resolved = self._payments.resolve(code)

        def decide(customer: Customer, catalog: Catalog, tx: Tx) -> Decided:
            decided = update(
                customer,
                catalog,
                replace(command, resolved_coupon=resolved, redeemed=self._payments.redeemed(tx, code)),
                now_ms=tx.now_ms,
                charges=self._runner.charges,
                invoice_id=invoice_id_of("updateSubscription", used_key),
            )
            self._payments.count_redemption(tx, code)
            return decided

        reply = self._charged(
            "updateSubscription",
            used_key,
            command,
            self._owner(command.subscription_id),
            decide,
            billing_information=billing_information,
        )
        return self._standing(reply, command.subscription_id)

    def cancel(self, command: CancelSubscription, *, key: str | None) -> SubscriptionResult:
        """End a subscription now or later.

        Raises:
            NotFound, NotAllowed, InvalidInput: As `core.cancel.cancel`.
        """
        return self._changed(
            "cancelSubscription",
            key,
            command,
            command.subscription_id,
            lambda customer, catalog, tx: cancel(customer, catalog, command, now_ms=tx.now_ms),
        )

    def cancel_scheduled(self, command: CancelScheduledUpdates, *, key: str | None) -> ScheduledUpdatesCancelled:
        """Take back what waits for its time or for its payment.

        Raises:
            NotFound: Nothing of that status waits (`FutureUpdateNotFound`).
        """
        self._changed(
            "cancelSubscriptionScheduledUpdates",
            key,
            command,
            command.subscription_id,
            lambda customer, catalog, tx: cancel_scheduled(customer, catalog, command, now_ms=tx.now_ms),
        )
        return ScheduledUpdatesCancelled(command.subscription_id)

    def migrate(self, command: MigrateToLatest, *, key: str | None) -> SubscriptionResult:
        """Move a subscription to the latest version of its plan and add-ons, prices included.

        Raises:
            NotFound, NotAllowed, Conflict: As `core.migrate.migrate`.
        """
        used_key = new_id() if key is None else key
        reply = self._charged(
            "migrateSubscriptionToLatest",
            used_key,
            command,
            self._owner(command.subscription_id),
            lambda customer, catalog, tx: migrate(
                customer,
                catalog,
                command,
                now_ms=tx.now_ms,
                charges=self._runner.charges,
                invoice_id=invoice_id_of("migrateSubscriptionToLatest", used_key),
            ),
        )
        return self._standing(reply, command.subscription_id)

    def transfer(self, subscription_id: str, resource_id: str, *, key: str | None) -> SubscriptionResult:
        """Move a subscription to another resource of the same customer.

        Raises:
            NotFound, NotAllowed: As `core.transfer.transfer`.
        """
        return self._changed(
            "transferSubscription",
            key,
            _Transfer(subscription_id, resource_id),
            subscription_id,
            lambda customer, catalog, tx: transfer(customer, catalog, subscription_id, resource_id, now_ms=tx.now_ms),
        )

    def delegate(self, subscription_id: str, to_customer_id: str, *, key: str | None) -> SubscriptionResult:
        """Hand a subscription over to another customer; who had it goes on paying.

        Raises:
            NotFound, NotAllowed: As `core.transfer.delegate`.
        """
        runner = self._runner

        def work(tx: Tx) -> SubscriptionResult:
            catalog = runner.catalog(tx)
            source = runner.customer(tx, runner.owner(tx, subscription_id))
            destination = runner.customer(tx, to_customer_id)
            done = delegate(source, destination, catalog, subscription_id, now_ms=tx.now_ms)
            mine = [event for event in done.events if event.customer_id == source.id]
            theirs = [event for event in done.events if event.customer_id != source.id]
            runner.put_customer(tx, catalog, done.source, before=source, events=mine)
            runner.put_customer(tx, catalog, done.destination, before=destination, events=theirs)
            tx.put_subscription_owner(done.subscription_id, to_customer_id)
            return subscription_result(done.destination, done.subscription_id, catalog, now_ms=tx.now_ms)

        # What is queued of the one who loses it was used while it was his.
        runner.store.settle_queued(self._owner(subscription_id))
        return runner.run(
            "delegateSubscription",
            key,
            to_customer_id,
            _Transfer(subscription_id, to_customer_id),
            work,
            SubscriptionResult,
        )

    # ------------------------------------------------------------------ inside

    def _owner(self, subscription_id: str) -> str:
        return self._runner.store.read(lambda tx: self._runner.owner(tx, subscription_id))

    def _standing(self, reply: ProvisionSubscriptionResult, subscription_id: str) -> SubscriptionResult:
        return self.get(subscription_id) if reply.subscription is None else reply.subscription

    def _changed(
        self, operation: str, key: str | None, command: Struct, subscription_id: str, decide: Decide
    ) -> SubscriptionResult:
        """Run a command that costs nothing."""
        runner = self._runner

        def work(tx: Tx) -> SubscriptionResult:
            catalog = runner.catalog(tx)
            customer = runner.customer(tx, runner.owner(tx, subscription_id))
            decided = decide(customer, catalog, tx)
            runner.put_decided(tx, catalog, customer, decided)
            return subscription_result(decided.customer, decided.subscription_id, catalog, now_ms=tx.now_ms)

        return runner.run(operation, key, self._owner(subscription_id), command, work, SubscriptionResult)

    def _charged(
        self,
        operation: str,
        key: str,
        command: Struct,
        customer_id: str,
        decide: Decide,
        *,
        billing_information: Mapping[str, Any] | None = None,
        checkout_options: Mapping[str, Any] | None = None,
    ) -> ProvisionSubscriptionResult:
        """Run a command that may have to be paid for; the provider is asked outside of any transaction."""
        runner = self._runner

        def work(tx: Tx) -> ProvisionSubscriptionResult:
            catalog = runner.catalog(tx)
            customer = runner.customer(tx, customer_id)
            decided = decide(customer, catalog, tx)
            self._payments.put(tx, catalog, customer, decided, operation=operation, key=key)
            return ProvisionSubscriptionResult(
                status="Success",
                subscription=subscription_result(decided.customer, decided.subscription_id, catalog, now_ms=tx.now_ms),
            )

        reply = runner.run(
            operation,
            key,
            customer_id,
            command,
            work,
            ProvisionSubscriptionResult,
            passed_on=passed_on(billing_information, checkout_options),
        )
        return self._payments.finish(
            operation, key, reply, billing_information=billing_information, checkout_options=checkout_options
        )


def provisioned(
    runner: Runner,
    payments: Payments,
    tx: Tx,
    catalog: Catalog,
    customer: Customer,
    command: ProvisionSubscription,
    *,
    invoice_id: str,
) -> Decided:
    """What the core makes of a provisioning in a transaction; its promotion code counts as used."""
    if command.paying_customer_id is not None:
        runner.customer(tx, command.paying_customer_id)
    decided = provision(
        customer,
        catalog,
        replace(command, redeemed=payments.redeemed(tx, command.promotion_code)),
        now_ms=tx.now_ms,
        new_id=new_short_id,
        is_taken=lambda asked: tx.subscription_owner(asked) is not None,
        charges=runner.charges,
        invoice_id=invoice_id,
    )
    payments.count_redemption(tx, command.promotion_code)
    return decided
