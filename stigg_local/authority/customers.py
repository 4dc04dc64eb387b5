"""Commands about customers: provisioned, patched, imported, archived and exported.

Law: name, e-mail and metadata stand in the record alone; stored replies and events hold ids, and an archived
customer's id is never used again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from stigg_local.authority.collection import invoice_id_of
from stigg_local.authority.erasure import erase
from stigg_local.authority.payments import Payments
from stigg_local.authority.replies import passed_on
from stigg_local.authority.run import Runner
from stigg_local.authority.subscriptions import provisioned
from stigg_local.clock import new_id
from stigg_local.core import event
from stigg_local.core.archive import archive
from stigg_local.core.customer import Customer
from stigg_local.core.customer_change import PatchCustomer, ProvisionCustomer, first_subscription, patched
from stigg_local.core.customer_result import CustomerResult, ProvisionCustomerResult, customer_result
from stigg_local.core.decided import Decided, told
from stigg_local.core.lifecycle import advance
from stigg_local.core.page import Page
from stigg_local.core.sources import Catalog
from stigg_local.core.subscription import ProvisionSubscription
from stigg_local.core.subscription_result import (
    ProvisionSubscriptionResult,
    SubscriptionResult,
    subscription_result,
)
from stigg_local.errors import Conflict, NotAllowed
from stigg_local.store.tx import Tx


class _Import(Struct, frozen=True):
    customers: tuple[PatchCustomer, ...]


class _Named(Struct, frozen=True):
    customer_id: str


class _Done(Struct, frozen=True):
    ids: tuple[str, ...]


class Customers:
    """Commands about customers."""

    def __init__(self, runner: Runner, payments: Payments) -> None:
        self._runner = runner
        self._payments = payments

    # ------------------------------------------------------------------ commands

    def provision(
        self,
        command: ProvisionCustomer,
        *,
        key: str | None,
        billing_info: Mapping[str, Any] | None = None,
        billing_information: Mapping[str, Any] | None = None,
        checkout_options: Mapping[str, Any] | None = None,
    ) -> ProvisionCustomerResult:
        """Make or patch a customer, with a first subscription where one is asked for or the journey gives one.

        Raises:
            NotAllowed: The id belongs to an archived customer (`EntityIsArchivedError`), or a rule refuses.
            AuthorityUnavailable: The payment provider failed; repeat with the same key.
        """
        runner = self._runner
        used_key = new_id() if key is None else key
        asked = command.subscription
        code = asked.promotion_code if isinstance(asked, ProvisionSubscription) else None
        resolved = self._payments.resolve(code)

        def decide(tx: Tx) -> ProvisionCustomerResult:
            catalog = runner.catalog(tx)
            known = self._unarchived(tx, command.customer_id)
            customer = patched(known, command, catalog, now_ms=tx.now_ms)
            strategy, ask, customer = first_subscription(customer, catalog, command.subscription)
            decided = None
            if ask is None:
                self._put_patched(tx, catalog, known, customer)
            else:
                decided = provisioned(
                    runner,
                    self._payments,
                    tx,
                    catalog,
                    customer,
                    # The journey may have put another plan in place of the one that the code was for.
                    replace(ask, resolved_coupon=None if ask.promotion_code is None else resolved),
                    invoice_id=invoice_id_of("provisionCustomer", used_key),
                )
                change = _change(known, customer, tx.now_ms)
                before = tuple(item for item in decided.events if item.actor == event.SYSTEM)
                whole = replace(decided, events=(*before, *change, *decided.events[len(before) :]))
                self._payments.put(tx, catalog, known, whole, operation="provisionCustomer", key=used_key)
            return ProvisionCustomerResult(
                customer=customer_result(decided.customer if decided is not None else customer, now_ms=tx.now_ms),
                subscription_decision_strategy=strategy,
                subscription=None if decided is None else _subscription(decided, catalog, tx.now_ms),
            )

        reply = runner.run(
            "provisionCustomer",
            used_key,
            command.customer_id,
            command,
            decide,
            ProvisionCustomerResult,
            scrub=_without_identity,
            passed_on=passed_on(billing_info, billing_information, checkout_options),
        )
        self._payments.sync_customer(command.customer_id, billing_info)
        if reply.subscription is not None:
            paid = self._payments.finish(
                "provisionCustomer",
                used_key,
                ProvisionSubscriptionResult(status="Success", subscription=reply.subscription),
                billing_information=billing_information,
                checkout_options=checkout_options,
            )
            reply = replace(reply, subscription=paid.subscription, checkout_url=paid.checkout_url)
        return replace(reply, customer=self._get(command.customer_id, self._unarchived))

    def update(
        self, command: PatchCustomer, *, key: str | None, billing_info: Mapping[str, Any] | None = None
    ) -> CustomerResult:
        """Patch a customer that exists.

        Raises:
            NotFound: `CustomerNotFound`, `CouponNotFound`.
            NotAllowed: `ArchivedCouponCantBeApplied`, `CustomerAlreadyHaveCustomerCoupon`.
        """
        runner = self._runner

        def decide(tx: Tx) -> _Done:
            catalog = runner.catalog(tx)
            known = runner.customer(tx, command.customer_id)
            self._put_patched(tx, catalog, known, patched(known, command, catalog, now_ms=tx.now_ms))
            return _Done((command.customer_id,))

        handed = passed_on(billing_info)
        runner.run("updateCustomer", key, command.customer_id, command, decide, _Done, passed_on=handed)
        self._payments.sync_customer(command.customer_id, billing_info)
        return self.get(command.customer_id)

    def import_many(self, commands: Sequence[PatchCustomer], *, key: str | None) -> tuple[str, ...]:
        """Make customers, or patch those that exist, without any subscription: all or none.

        Raises:
            NotAllowed: One of the ids belongs to an archived customer (`EntityIsArchivedError`).
            Conflict: An id stands there twice (`DuplicatedEntityNotAllowed`).
        """
        runner = self._runner
        seen: set[str] = set()
        for command in commands:
            if command.customer_id in seen:
                raise Conflict(
                    f"customer `{command.customer_id}` is imported twice at once",
                    code="DuplicatedEntityNotAllowed",
                    hint="name each customer once",
                )
            seen.add(command.customer_id)

        def decide(tx: Tx) -> _Done:
            catalog = runner.catalog(tx)
            for command in commands:
                known = self._unarchived(tx, command.customer_id)
                self._put_patched(tx, catalog, known, patched(known, command, catalog, now_ms=tx.now_ms))
            return _Done(tuple(command.customer_id for command in commands))

        first = commands[0].customer_id
        return runner.run("importCustomers", key, first, _Import(tuple(commands)), decide, _Done).ids

    def archive(self, customer_id: str, *, key: str | None) -> str:
        """Take a customer out of use for good: identity gone from everywhere, subscriptions ended, id burnt.

        Raises:
            NotFound: `CustomerNotFound`.
        """
        runner = self._runner

        def decide(tx: Tx) -> _Done:
            catalog = runner.catalog(tx)
            known = runner.customer(tx, customer_id)
            archived = archive(known, catalog, now_ms=tx.now_ms)
            runner.put_customer(tx, catalog, archived.customer, before=known, events=archived.events)
            erase(tx, known)
            return _Done((customer_id,))

        done = runner.run("archiveCustomer", key, customer_id, _Named(customer_id), decide, _Done)
        runner.store.scrub_if_small()
        return done.ids[0]

    # ------------------------------------------------------------------ reads

    def is_archived(self, customer_id: str) -> bool:
        """Whether the id is that of a customer who is archived."""
        known = self._runner.store.read(lambda tx: self._runner.stored(tx, customer_id))
        return known is not None and known.archived_ms is not None

    def get(self, customer_id: str) -> CustomerResult:
        """A customer as it is now.

        Raises:
            NotFound: `CustomerNotFound`, for an archived one too.
        """
        return self._get(customer_id)

    def page(self, *, limit: int, after: str | None) -> Page[CustomerResult]:
        """Customers that are not archived, in the file's own order."""
        runner = self._runner

        def work(tx: Tx) -> Page[CustomerResult]:
            catalog = runner.catalog(tx)
            found: list[CustomerResult] = []
            cursor = after or ""
            while ids := tx.customer_ids(cursor, limit + 1):
                for customer_id in ids:
                    known = runner.stored(tx, customer_id)
                    if known is None or known.archived_ms is not None:
                        continue
                    if len(found) == limit:
                        return Page(items=tuple(found), next=found[-1].id)
                    found.append(customer_result(advance(known, catalog, to_ms=tx.now_ms).customer, now_ms=tx.now_ms))
                cursor = ids[-1]
            return Page(items=tuple(found))

        page = runner.store.read(work)
        return Page(items=tuple(self._asked(item) for item in page.items), next=page.next)

    # ------------------------------------------------------------------ inside

    def _unarchived(self, tx: Tx, customer_id: str) -> Customer | None:
        known = self._runner.stored(tx, customer_id)
        if known is not None and known.archived_ms is not None:
            raise NotAllowed(
                f"customer `{customer_id}` is archived",
                code="EntityIsArchivedError",
                hint="the id of an archived customer cannot be used again",
            )
        return known

    def _put_patched(self, tx: Tx, catalog: Catalog, known: Customer | None, customer: Customer) -> None:
        advanced = advance(customer, catalog, to_ms=tx.now_ms)
        events = (*advanced.events, *_change(known, customer, tx.now_ms))
        self._runner.put_customer(tx, catalog, advanced.customer, before=known, events=events)

    def _get(self, customer_id: str, check: Callable[[Tx, str], object] | None = None) -> CustomerResult:
        runner = self._runner

        def work(tx: Tx) -> CustomerResult:
            if check is not None:
                check(tx, customer_id)
            return customer_result(runner.current(tx, runner.catalog(tx), customer_id), now_ms=tx.now_ms)

        return self._asked(runner.store.read(work))

    def _asked(self, found: CustomerResult) -> CustomerResult:
        """The result with what only the provider knows; it is asked outside of any transaction."""
        return replace(found, has_payment_method=True) if self._payments.has_method(found.id) else found


def _change(known: Customer | None, customer: Customer, now_ms: int) -> tuple[event.Event, ...]:
    if known is None:
        return (told(customer, event.CUSTOMER_CREATED, None, now_ms),)
    if replace(known, updated_ms=0) == replace(customer, updated_ms=0):
        return ()
    return (told(customer, event.CUSTOMER_UPDATED, None, now_ms),)


def _without_identity(reply: ProvisionCustomerResult) -> ProvisionCustomerResult:
    return replace(reply, customer=replace(reply.customer, name=None, email=None, metadata=None))


def _subscription(decided: Decided, catalog: Catalog, now_ms: int) -> SubscriptionResult:
    return subscription_result(decided.customer, decided.subscription_id, catalog, now_ms=now_ms)
