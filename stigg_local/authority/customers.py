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
from stigg_local.authority.run import Runner
from stigg_local.clock import new_id, new_short_id
from stigg_local.core import event
from stigg_local.core.archive import archive
from stigg_local.core.customer import Customer
from stigg_local.core.customer_result import CustomerResult, ProvisionCustomerResult, customer_result
from stigg_local.core.decided import Decided, told
from stigg_local.core.discounts import with_customer_coupon
from stigg_local.core.experiment import assigned
from stigg_local.core.ids import UNSET, Unset
from stigg_local.core.lifecycle import advance
from stigg_local.core.page import Page
from stigg_local.core.sources import Catalog
from stigg_local.core.subscription import ProvisionSubscription, journey, provision
from stigg_local.core.subscription_result import (
    ProvisionSubscriptionResult,
    SubscriptionResult,
    subscription_result,
)
from stigg_local.errors import Conflict, NotAllowed
from stigg_local.store.tx import Tx

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
            customer = _patched(known, command, catalog, tx.now_ms)
            strategy, ask, customer = _strategy(catalog, customer, command)
            decided = None
            if ask is None:
                self._put_patched(tx, catalog, known, customer)
            else:
                # The journey may have put another plan in place of the one that the code was for.
                used = ask.promotion_code
                coupon = None if used is None else resolved
                if ask.paying_customer_id is not None:
                    runner.customer(tx, ask.paying_customer_id)
                decided = provision(
                    customer,
                    catalog,
                    replace(ask, resolved_coupon=coupon, redeemed=self._payments.redeemed(tx, used)),
                    now_ms=tx.now_ms,
                    new_id=new_short_id,
                    is_taken=lambda asked: tx.subscription_owner(asked) is not None,
                    charges=runner.charges,
                    invoice_id=invoice_id_of("provisionCustomer", used_key),
                )
                self._payments.count_redemption(tx, used)
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
            passed_on=_passed_on(billing_info, billing_information, checkout_options),
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
            self._put_patched(tx, catalog, known, _patched(known, command, catalog, tx.now_ms))
            return _Done((command.customer_id,))

        passed_on = _passed_on(billing_info)
        runner.run("updateCustomer", key, command.customer_id, command, decide, _Done, passed_on=passed_on)
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
                self._put_patched(tx, catalog, known, _patched(known, command, catalog, tx.now_ms))
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

        return runner.run("archiveCustomer", key, customer_id, _Named(customer_id), decide, _Done).ids[0]

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


def _passed_on(*arguments: Mapping[str, Any] | None) -> object:
    return None if all(item is None for item in arguments) else arguments


def _change(known: Customer | None, customer: Customer, now_ms: int) -> tuple[event.Event, ...]:
    if known is None:
        return (told(customer, event.CUSTOMER_CREATED, None, now_ms),)
    if replace(known, updated_ms=0) == replace(customer, updated_ms=0):
        return ()
    return (told(customer, event.CUSTOMER_UPDATED, None, now_ms),)


def _without_identity(reply: ProvisionCustomerResult) -> ProvisionCustomerResult:
    return replace(reply, customer=replace(reply.customer, name=None, email=None, metadata=None))


def _patched(known: Customer | None, command: PatchCustomer, catalog: Catalog, now_ms: int) -> Customer:
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


def _strategy(
    catalog: Catalog, customer: Customer, command: ProvisionCustomer
) -> tuple[str, ProvisionSubscription | None, Customer]:
    """What the journey makes of the request.

    Returns:
        The decision's name, the subscription to provision, and the customer in the group of an experiment that the
        journey was looked up for.
    """
    asked = command.subscription
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
        ask = ProvisionSubscription(customer_id=command.customer_id, plan_id=plan_id)
    elif asked.plan_id == plan_id:
        ask = asked
    else:
        # What was asked for of the other plan does not fit this one; where and for whom it is stays.
        ask = ProvisionSubscription(
            customer_id=command.customer_id,
            plan_id=plan_id,
            resource_id=asked.resource_id,
            billing_country_code=asked.billing_country_code,
            metadata=asked.metadata,
            paying_customer_id=asked.paying_customer_id,
        )
    is_free = product.settings.subscription_start_setup == "FREE_PLAN"
    return "PREDEFINED_FREE_PLAN" if is_free else "PREDEFINED_TRIAL_PLAN", ask, grouped


def _subscription(decided: Decided, catalog: Catalog, now_ms: int) -> SubscriptionResult:
    return subscription_result(decided.customer, decided.subscription_id, catalog, now_ms=now_ms)
