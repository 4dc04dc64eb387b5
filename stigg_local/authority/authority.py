"""The embedded authority: every command is one write transaction with one time and one idempotency key.

Law: the record, the snapshot derived from it, the numbers that follow and the stored reply commit together or not
at all; the same key with the same arguments returns the stored reply and does nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from stigg_local.authority import numbers
from stigg_local.clock import new_id, new_short_id
from stigg_local.core.catalog import Coupon, Feature
from stigg_local.core.command import canonical
from stigg_local.core.credit import Grant
from stigg_local.core.customer import Customer, CustomerSnapshot, derive_snapshot
from stigg_local.core.entitlement import find_winner
from stigg_local.core.ids import UNSET, Unset, check_id
from stigg_local.core.ledger import GRANTED
from stigg_local.core.nearest import nearest
from stigg_local.core.period import FOREVER_MS, to_text
from stigg_local.core.promotional import GrantPromotional
from stigg_local.core.promotional import grant as grant_promotional
from stigg_local.core.quantity import from_raw, multiply, raw_to_decimal, to_raw
from stigg_local.core.result import (
    CreditGrantResult,
    PromotionalResult,
    ProvisionCustomerResult,
    ProvisionSubscriptionResult,
    ReportUsageResult,
    SubscriptionResult,
    customer_result,
    grant_result,
    promotional_result,
    subscription_result,
)
from stigg_local.core.sources import Catalog
from stigg_local.core.subscription import ProvisionSubscription, journey, provision
from stigg_local.core.usage import AHEAD_MS_MAX
from stigg_local.errors import IdempotencyConflict, InvalidInput, NotAllowed, NotFound, StiggError, StoreCorrupt
from stigg_local.store.catalog import CatalogReader
from stigg_local.store.digest import fingerprint
from stigg_local.store.store import Store
from stigg_local.store.tx import Tx

T = TypeVar("T", bound=Struct)

# What the record of a trial that does not convert holds, as JSON.
_FREE_PLAN_WAITS = '"CANCEL_SUBSCRIPTION"'
_snapshot_decoder = msgspec.msgpack.Decoder(CustomerSnapshot)
_customer_decoder = msgspec.json.Decoder(Customer)
_encode = msgspec.msgpack.Encoder().encode
_encode_record = msgspec.json.Encoder().encode


class ReportUsage(Struct, frozen=True, kw_only=True):
    """One usage report, checked for its shape; `created_ms` None means now."""

    customer_id: str
    feature_id: str
    value: Any
    behavior: str = "DELTA"
    resource_id: str | None = None
    created_ms: int | None = None
    dimensions: Mapping[str, Any] | None = None


class GrantCredits(Struct, frozen=True, kw_only=True):
    """One credit grant to make, checked for its shape."""

    customer_id: str
    currency_id: str
    amount: Any
    grant_type: str = "PROMOTIONAL"
    priority: int = 0
    effective_ms: int | None = None
    expire_ms: int | None = None
    cost: str | None = None
    resource_id: str | None = None


class ProvisionCustomer(Struct, frozen=True, kw_only=True):
    """A customer to provision; `subscription` is absent, None or a command of its own."""

    customer_id: str
    name: str | Unset | None = UNSET
    email: str | Unset | None = UNSET
    coupon_id: str | Unset | None = UNSET
    metadata: dict[str, str] | Unset | None = UNSET
    subscription: ProvisionSubscription | Unset | None = UNSET


class Authority:
    """Decides in process, on one store."""

    def __init__(self, store: Store, catalogs: CatalogReader) -> None:
        self._store = store
        self._catalogs = catalogs

    def catalog(self, tx: Tx) -> Catalog:
        """The compiled catalog as this transaction sees it."""
        return self._catalogs.at(tx.catalog_seq())

    # ------------------------------------------------------------------ customers and subscriptions

    def provision_customer(self, command: ProvisionCustomer, *, key: str | None) -> ProvisionCustomerResult:
        """Make or patch a customer, with a first subscription where one is asked for or the journey gives one.

        Raises:
            NotAllowed: The id belongs to an archived customer (`EntityIsArchivedError`).
        """

        def decide(tx: Tx) -> ProvisionCustomerResult:
            catalog = self.catalog(tx)
            body = tx.customer_record(command.customer_id)
            known = None if body is None else _customer_decoder.decode(body)
            if known is not None and known.archived_ms is not None:
                raise NotAllowed(
                    f"customer `{command.customer_id}` is archived",
                    code="EntityIsArchivedError",
                    hint="the id of an archived customer cannot be used again",
                )
            customer = known or Customer(id=command.customer_id, created_ms=tx.now_ms, updated_ms=tx.now_ms)
            customer = _patched(customer, command, tx.now_ms)
            _check_coupon(catalog, command.coupon_id)
            strategy, ask = _strategy(catalog, known, command)
            provisioned = None
            if ask is not None:
                provisioned = provision(customer, catalog, ask, now_ms=tx.now_ms, new_id=new_short_id)
                customer = provisioned.customer
                tx.put_subscription_owner(provisioned.subscription.id, customer.id)
            heirs = None if provisioned is None else _heirs(provisioned)
            self._put_customer(tx, catalog, customer, heirs)
            return ProvisionCustomerResult(
                customer=customer_result(customer),
                subscription_decision_strategy=strategy,
                subscription=None
                if provisioned is None
                else _subscription(catalog, customer, provisioned.subscription.id, tx.now_ms),
            )

        reply = self._run(
            "provisionCustomer",
            key,
            command.customer_id,
            command,
            decide,
            ProvisionCustomerResult,
            scrub=_without_identity,
        )
        return self._with_identity(reply)

    def provision_subscription(
        self, command: ProvisionSubscription, *, key: str | None
    ) -> ProvisionSubscriptionResult:
        """Give a customer a subscription that starts now.

        Raises:
            NotFound: The customer, plan or an add-on does not exist.
            NotAllowed, InvalidInput: As `core.subscription.provision`.
        """

        def decide(tx: Tx) -> ProvisionSubscriptionResult:
            catalog = self.catalog(tx)
            customer = self._customer(tx, command.customer_id)
            provisioned = provision(customer, catalog, command, now_ms=tx.now_ms, new_id=new_short_id)
            tx.put_subscription_owner(provisioned.subscription.id, customer.id)
            self._put_customer(tx, catalog, provisioned.customer, _heirs(provisioned))
            return ProvisionSubscriptionResult(
                status="Success",
                subscription=_subscription(catalog, provisioned.customer, provisioned.subscription.id, tx.now_ms),
            )

        return self._run(
            "provisionSubscription", key, command.customer_id, command, decide, ProvisionSubscriptionResult
        )

    def grant_promotional_entitlements(
        self, customer_id: str, grants: Sequence[GrantPromotional], *, key: str | None
    ) -> tuple[PromotionalResult, ...]:
        """Grant promotional entitlements; a feature that has one gets it replaced.

        Raises:
            NotFound: The customer or a feature does not exist.
            NotAllowed, InvalidInput: As `core.promotional.grant`.
        """

        def decide(tx: Tx) -> _Promotions:
            catalog = self.catalog(tx)
            customer, made = grant_promotional(self._customer(tx, customer_id), catalog, grants, now_ms=tx.now_ms)
            self._put_customer(tx, catalog, customer, None)
            return _Promotions(tuple(promotional_result(promotion) for promotion in made))

        command = _PromotionalCommand(customer_id, tuple(grants))
        return self._run("grantPromotionalEntitlements", key, customer_id, command, decide, _Promotions).items

    # ------------------------------------------------------------------ credits and usage

    def grant_credits(self, command: GrantCredits, *, key: str | None) -> CreditGrantResult:
        """Add a credit grant to a wallet; a debt is settled from it at once.

        Raises:
            NotFound: The customer, resource or currency does not exist.
            InvalidInput: The amount is not above 0, or the grant would expire before it is effective
                (`ExpireAtMustBeLaterThanEffectiveAtError`).
        """

        def decide(tx: Tx) -> CreditGrantResult:
            catalog = self.catalog(tx)
            snapshot = self._snapshot(tx, command.customer_id, command.resource_id)
            currency = catalog.currencies.get(command.currency_id)
            if currency is None:
                near = nearest(command.currency_id, catalog.currencies)
                raise NotFound(
                    f"credit currency `{command.currency_id}` does not exist",
                    code="CustomCurrencyNotFound",
                    hint=f"did you mean `{near}`" if near else None,
                )
            amount = to_raw(command.amount, currency.scale, name="amount")
            effective = tx.now_ms if command.effective_ms is None else command.effective_ms
            expire = FOREVER_MS if command.expire_ms is None else command.expire_ms
            if amount <= 0:
                raise InvalidInput(
                    f"amount is `{command.amount}`", code="InvalidArgumentError", hint="grant more than 0"
                )
            if expire <= effective:
                raise InvalidInput(
                    f"the grant would expire at {to_text(expire)} and be effective at {to_text(effective)}",
                    code="ExpireAtMustBeLaterThanEffectiveAtError",
                    hint="pass a later expire_at",
                )
            grant = Grant(
                id=new_id("grant-"),
                currency_id=currency.id,
                resource_id=command.resource_id or "",
                grant_type=command.grant_type,
                amount=amount,
                consumed=0,
                priority=command.priority,
                effective_ms=effective,
                expire_ms=expire,
                created_ms=tx.now_ms,
                cost=command.cost,
            )
            numbers.put_grant(tx, command.customer_id, grant, GRANTED, amount)
            numbers.settle(tx, catalog, snapshot, command.customer_id)
            after = next(item for item in numbers.load_grants(tx, command.customer_id) if item.id == grant.id)
            return grant_result(after, customer_id=command.customer_id, scale=currency.scale, now_ms=tx.now_ms)

        return self._run("grantCredits", key, command.customer_id, command, decide, CreditGrantResult)

    def report_usage(self, command: ReportUsage, *, key: str | None, durability: str) -> ReportUsageResult:
        """Record usage that happened, beyond a limit too; a feature with a credit rate charges the wallet.

        Raises:
            NotFound: The customer, resource or feature does not exist.
            NotAllowed: The feature is not metered, is fed by events, or the customer is not entitled to it; or
                fluctuating usage would fall below 0.
            InvalidInput: The value is no number that the feature's scale can hold, or lies in the future.
        """

        def decide(tx: Tx) -> ReportUsageResult:
            catalog = self.catalog(tx)
            snapshot = self._snapshot(tx, command.customer_id, command.resource_id)
            feature = _metered_feature(catalog, command.feature_id)
            value = to_raw(command.value, feature.scale, name="value")
            resource_id = command.resource_id or ""
            created_ms = _created(command, tx.now_ms)
            current, _, is_active, _ = find_winner(catalog, snapshot, feature, resource_id, tx.now_ms)
            if current is None or not current.contribution.is_granted:
                raise NotAllowed(
                    f"customer `{command.customer_id}` is not entitled to feature `{feature.id}`",
                    code="NoFeatureEntitlementInSubscription" if is_active else "NoActiveSubscriptionForCustomer",
                    hint="provision a plan or grant a promotional entitlement that includes it",
                )
            measurement_id = new_id()
            moved = numbers.count(
                tx,
                catalog,
                snapshot,
                feature,
                customer_id=command.customer_id,
                resource_id=resource_id,
                behavior=command.behavior,
                value=value,
                created_ms=created_ms,
                is_late=command.created_ms is not None,
            )
            tx.append_measurement(
                command.customer_id,
                resource_id,
                feature.id,
                measurement_id,
                command.behavior,
                value,
                created_ms,
                _encode(dict(command.dimensions)) if command.dimensions else b"",
            )
            then, _, _, _ = (
                (current, None, None, None)
                if created_ms == tx.now_ms
                else find_winner(catalog, snapshot, feature, resource_id, created_ms)
            )
            rate = None if then is None else then.contribution.rate
            currency = None if rate is None else catalog.currencies.get(rate.currency_id)
            if then is not None and rate is not None and currency is not None:
                before, after = moved.get((then.from_ms, then.end_ms), (0, 0))
                if after > before:
                    cost = multiply(raw_to_decimal(after - before, feature.scale), rate.amount, currency.scale)
                    numbers.charge(
                        tx,
                        catalog,
                        snapshot,
                        customer_id=command.customer_id,
                        resource_id=resource_id,
                        currency_id=currency.id,
                        cost=cost,
                        at_ms=created_ms,
                        feature_id=feature.id,
                        measurement_id=measurement_id,
                    )
            window = (current.from_ms, current.end_ms)
            if window in moved:
                usage = moved[window][1]
            else:
                usage = tx.counter(command.customer_id, resource_id, feature.id, *window) or 0
            has_period = current.contribution.reset_period is not None
            return ReportUsageResult(
                measurement_id=measurement_id,
                current_usage=from_raw(usage, feature.scale),
                usage_period_start_ms=current.start_ms if has_period else None,
                usage_period_end_ms=current.end_ms if has_period else None,
                durability=durability,
            )

        return self._run("reportUsage", key, command.customer_id, command, decide, ReportUsageResult)

    # ------------------------------------------------------------------ upkeep

    def repair(self, customer_id: str) -> None:
        """Rebuild a customer's numbers from the logs, and the snapshot from the record, where a digest is wrong.

        Raises:
            StoreCorrupt: What they would be rebuilt from is damaged too.
        """

        def decide(tx: Tx) -> None:
            catalog = self.catalog(tx)
            customer = self._customer(tx, customer_id)
            snapshot = self._derive(catalog, customer, tx)
            tx.rebuild_customer(customer_id, _encode(snapshot))
            numbers.rebuild_from_logs(tx, catalog, snapshot, customer_id)

        self._store.write(decide, operation="repair", key=new_id())

    def derive_all(self, tx: Tx, catalog: Catalog, move: Callable[[Customer], Customer] | None) -> tuple[str, ...]:
        """Give every customer what `move` makes of the record, and derive again what changed; returns whose.

        With no `move`, only those are looked at whose sources follow the catalog: a free plan waits at a trial's end.
        """
        changed: list[str] = []
        after = ""
        while page := tx.customer_ids(after, 500):
            for customer_id in page:
                body = tx.customer_record(customer_id)
                if body is None or (move is None and _FREE_PLAN_WAITS not in body):
                    continue
                known = _customer_decoder.decode(body)
                customer = known if move is None else move(known)
                snapshot = tx.customer_snapshot(customer_id)
                derived = _encode(self._derive(catalog, customer, tx))
                if customer == known and snapshot is not None and _same_sources(snapshot, derived):
                    continue
                self._put_customer(tx, catalog, customer, None)
                changed.append(customer_id)
            after = page[-1]
        return tuple(changed)

    # ------------------------------------------------------------------ shared

    def _run(
        self,
        operation: str,
        key: str | None,
        customer_id: str,
        command: Struct,
        decide: Callable[[Tx], T],
        reply_type: type[T],
        *,
        scrub: Callable[[T], T] | None = None,
    ) -> T:
        """Run a command once for its key: a repeat returns the stored reply, another body is a conflict.

        Where the customer's rows are damaged, they are rebuilt and the command is run again.
        """
        used_key = new_id() if key is None else check_id(key, "idempotency_key")
        body = fingerprint(repr(canonical(command)).encode(errors="replace"))

        def work(tx: Tx) -> T:
            stored = tx.idempotency(operation, used_key)
            if stored is not None:
                if stored[0] != body:
                    raise IdempotencyConflict(
                        f"idempotency_key `{used_key}` was used for another {operation}",
                        hint="use a new key for a new request, and the same arguments with the same key",
                    )
                return msgspec.msgpack.decode(stored[1], type=reply_type)
            reply = decide(tx)
            kept = reply if scrub is None else scrub(reply)
            tx.put_idempotency(operation, used_key, customer_id, body, _encode(kept))
            return kept

        try:
            return self._store.write(work, operation=operation, key=used_key)
        except StoreCorrupt as error:
            try:
                self.repair(customer_id)
            except StiggError:
                raise error from None
            return self._store.write(work, operation=operation, key=used_key)

    def _with_identity(self, reply: ProvisionCustomerResult) -> ProvisionCustomerResult:
        """The stored reply with what must not be stored in it: name, e-mail and metadata as they are now."""
        customer = self._store.read(lambda tx: self._customer(tx, reply.customer.id))
        return replace(
            reply,
            customer=replace(reply.customer, name=customer.name, email=customer.email, metadata=customer.metadata),
        )

    def _customer(self, tx: Tx, customer_id: str) -> Customer:
        body = tx.customer_record(customer_id)
        customer = None if body is None else _customer_decoder.decode(body)
        if customer is None or customer.archived_ms is not None:
            raise _customer_not_found(tx, customer_id)
        return customer

    def _snapshot(self, tx: Tx, customer_id: str, resource_id: str | None) -> CustomerSnapshot:
        raw = tx.customer_snapshot(customer_id)
        snapshot = None if raw is None else _snapshot_decoder.decode(raw)
        if snapshot is None or snapshot.is_archived:
            raise _customer_not_found(tx, customer_id)
        if resource_id is not None and resource_id not in snapshot.resource_ids:
            raise NotFound(
                f"customer `{customer_id}` has no resource `{resource_id}`",
                code="CustomerResourceNotFound",
                hint="a resource is known from its first subscription",
            )
        return snapshot

    def _derive(self, catalog: Catalog, customer: Customer, tx: Tx) -> CustomerSnapshot:
        return derive_snapshot(
            customer,
            product=catalog.products.get,
            latest_version=catalog.latest.get,
            as_of_ms=tx.now_ms,
            sure_ms=tx.mark_ms,
        )

    def _put_customer(self, tx: Tx, catalog: Catalog, customer: Customer, heirs: dict[str, str] | None) -> None:
        raw = tx.customer_snapshot(customer.id)
        before = None if raw is None else _snapshot_decoder.decode(raw)
        after = self._derive(catalog, customer, tx)
        tx.put_customer_record(customer.id, _encode_record(customer).decode())
        tx.put_customer(customer.id, _encode(after))
        numbers.follow_sources(tx, catalog, customer.id, before, after, replaced=heirs)


class _Promotions(Struct, frozen=True):
    items: tuple[PromotionalResult, ...]


class _PromotionalCommand(Struct, frozen=True):
    customer_id: str
    grants: tuple[GrantPromotional, ...]


def _without_identity(reply: ProvisionCustomerResult) -> ProvisionCustomerResult:
    return replace(reply, customer=replace(reply.customer, name=None, email=None, metadata=None))


def _check_coupon(catalog: Catalog, coupon_id: str | Unset | None) -> None:
    if coupon_id is None or isinstance(coupon_id, Unset):
        return
    coupons = {item.id: item for item in catalog.others.get("coupon", ()) if isinstance(item, Coupon)}
    if coupon_id not in coupons:
        near = nearest(coupon_id, coupons)
        raise NotFound(
            f"coupon `{coupon_id[:80]}` does not exist",
            code="CouponNotFound",
            hint=f"did you mean `{near}`" if near else None,
        )
    if coupons[coupon_id].status == "ARCHIVED":
        raise NotAllowed(f"coupon `{coupon_id}` is archived", code="ArchivedCouponCantBeApplied", hint="take another")


def _patched(customer: Customer, command: ProvisionCustomer, now_ms: int) -> Customer:
    patch: dict[str, Any] = {"updated_ms": now_ms}
    for name in ("name", "email", "coupon_id"):
        value = getattr(command, name)
        if value is not UNSET:
            patch[name] = value
    if not isinstance(command.metadata, Unset):
        patch["metadata"] = None if command.metadata is None else {**(customer.metadata or {}), **command.metadata}
    return replace(customer, **patch)


def _strategy(
    catalog: Catalog, known: Customer | None, command: ProvisionCustomer
) -> tuple[str, ProvisionSubscription | None]:
    """What the journey makes of the request: the decision's name, and the subscription to provision."""
    asked = command.subscription
    if asked is None:
        return "SKIPPED_SUBSCRIPTION_CREATION", None
    if isinstance(asked, Unset):
        start = journey(catalog)
    else:
        plan = catalog.latest_package(asked.plan_id)
        start = None if plan is None else journey(catalog, plan.package.product_id)
        if start is None:
            return "REQUESTED_PLAN", asked
    if start is None:
        return "SKIPPED_SUBSCRIPTION_CREATION", None
    product, plan_id = start[0].id, start[1]
    if known is not None and any(item.product_id == product for item in known.subscriptions):
        return "SKIPPED_SUBSCRIPTION_CREATION", None
    is_free = start[0].settings.subscription_start_setup == "FREE_PLAN"
    ask = ProvisionSubscription(customer_id=command.customer_id, plan_id=plan_id)
    return "PREDEFINED_FREE_PLAN" if is_free else "PREDEFINED_TRIAL_PLAN", ask


def _heirs(provisioned: Any) -> dict[str, str]:
    """Ended subscription -> the new one, where the new one keeps its usage cycle."""
    new = provisioned.subscription
    return {old.id: new.id for old in provisioned.ended if old.usage_anchor_ms == new.usage_anchor_ms}


def _subscription(catalog: Catalog, customer: Customer, subscription_id: str, now_ms: int) -> SubscriptionResult:
    subscription = next(item for item in customer.subscriptions if item.id == subscription_id)
    package = catalog.packages[subscription.plan_id, subscription.plan_version].version.package
    return subscription_result(subscription, customer_id=customer.id, pricing_type=package.pricing_type, now_ms=now_ms)


def _customer_not_found(tx: Tx, customer_id: str) -> NotFound | StoreCorrupt:
    if tx.meta("lost_ms") is not None:
        return StoreCorrupt(
            f"whether customer `{customer_id}` exists is not known: the file was set aside as damaged",
            hint="restore a backup, or provision_customer again",
        )
    return NotFound(
        f"customer `{customer_id}` does not exist",
        code="CustomerNotFound",
        hint="provision_customer makes one",
    )


def _metered_feature(catalog: Catalog, feature_id: str) -> Feature:
    feature = catalog.features.get(feature_id)
    if feature is None:
        near = nearest(feature_id, catalog.features)
        raise NotFound(
            f"feature `{feature_id}` does not exist",
            code="FeatureNotFound",
            hint=f"did you mean `{near}`" if near else None,
        )
    if not feature.is_metered:
        raise NotAllowed(
            f"feature `{feature.id}` is not metered",
            code="MeteringNotAvailableForFeatureType",
            hint="give it a meterType to count its usage",
        )
    if feature.meter is not None:
        raise NotAllowed(
            f"feature `{feature.id}` is fed by raw events",
            code="CannotReportUsageForEntitlementWithMeterError",
            hint="report the events, or remove the meter",
        )
    return feature


def _created(command: ReportUsage, now_ms: int) -> int:
    if command.created_ms is None:
        return now_ms
    if command.created_ms > now_ms + AHEAD_MS_MAX:
        raise InvalidInput(
            f"created_at is {to_text(command.created_ms)}, which lies in the future",
            code="InvalidArgumentError",
            hint="stamp a report when it happens",
        )
    return min(command.created_ms, now_ms)


def _same_sources(snapshot: bytes, derived: bytes) -> bool:
    old, new = (_snapshot_decoder.decode(raw) for raw in (snapshot, derived))
    return replace(old, as_of_ms=0) == replace(new, as_of_ms=0)
