"""The life vectors on the core alone: its pure decisions on records in a dictionary."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from stigg_local.core.archive import archive
from stigg_local.core.cancel import CancelSubscription, cancel
from stigg_local.core.change import entitled_to_latest
from stigg_local.core.command import check_metadata
from stigg_local.core.customer import Customer, CustomFeature, Subscription
from stigg_local.core.customer_change import PatchCustomer, first_subscription, patched
from stigg_local.core.decided import Decided, find
from stigg_local.core.ids import UNSET
from stigg_local.core.lifecycle import advance
from stigg_local.core.migrate import MigrateToLatest, migrate
from stigg_local.core.payment import PaymentOutcome
from stigg_local.core.period import to_ms, to_text
from stigg_local.core.place import is_over
from stigg_local.core.promotional import revoke
from stigg_local.core.schedule import CancelScheduledUpdates, cancel_scheduled
from stigg_local.core.settlement import Parked, apply_outcome, charges_due, park, settle, unpark
from stigg_local.core.subscription import ProvisionSubscription, TrialOverride, provision
from stigg_local.core.update import UpdateSubscription, update
from stigg_local.errors import IdempotencyConflict, InvalidInput, NotAllowed, NotFound, StiggError
from stigg_local.testing import ManualClock
from tests.vectors.life import by_start
from tests.vectors.life_record import flat_record
from tests.vectors.model import CoreLevel, Held
from tests.vectors.runner import catalog_path


def _pairs(asked: Any, key: str) -> tuple[tuple[str, int], ...]:
    return tuple((item[key], item.get("quantity", 1)) for item in asked or ())


def _ms(asked: Mapping[str, Any], key: str) -> int | None:
    return None if asked.get(key) is None else to_ms(asked[key], name=key)


class CoreLife(CoreLevel):
    """Customers as records, advanced and decided on by `core`."""

    def __init__(self, catalog: Path | Mapping[str, Any], clock: ManualClock, script: list[str] | None = None) -> None:
        super().__init__({"catalog": catalog}, clock)
        self.charges = script is not None
        self.script = list(script or ())
        self.collected: list[dict[str, Any]] = []
        self.parked: dict[str, tuple[str, Parked]] = {}
        self.redeemed: dict[str, int] = {}
        self.answers: dict[tuple[str, str], tuple[Any, dict[str, Any]]] = {}

    # ------------------------------------------------------------------ commands

    def do(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        """One command."""
        key = arguments.pop("idempotency_key", None)
        if key is not None and (name, key) in self.answers:
            known, result = self.answers[name, key]
            if known != arguments:
                raise IdempotencyConflict(f"`{key}` was used for another step")
            return result
        commands: dict[str, Callable[..., dict[str, Any]]] = {
            "provision_customer": self._life_customer,
            "update_customer": self._life_update_customer,
            "archive_customer": self._life_archive,
            "provision_subscription": self._life_provision,
            "update_subscription": self._life_update,
            "cancel_subscription": self._life_cancel,
            "cancel_subscription_scheduled_updates": self._life_cancel_updates,
            "migrate_subscription_to_latest": self._life_migrate,
            "revoke_promotional_entitlements": self._life_revoke,
            "payments.settle": self._life_settle,
            "apply_catalog": self._life_apply,
            "tick": self._life_tick,
        }
        if name in commands:
            result = commands[name](**arguments)
        else:
            self._alive(arguments["customer_id"])
            steps: dict[str, Callable[..., None]] = {
                "grant_promotional_entitlements": self._grant_promotional,
                "report_usage": self._report_usage,
            }
            steps[name](**arguments)
            result = {}
        if key is not None:
            self.answers[name, key] = arguments, result
        return result

    def _alive(self, customer_id: str) -> Held:
        held = self.customers.get(customer_id)
        if held is None or held.record.archived_ms is not None:
            raise NotFound(f"customer `{customer_id}` does not exist", code="CustomerNotFound")
        return held

    def _owner(self, subscription_id: str) -> Held:
        for held in self.customers.values():
            now = advance(held.record, self.catalog, to_ms=self._now_ms).customer
            if any(item.id == subscription_id for item in now.subscriptions):
                return held
        raise NotFound(f"subscription `{subscription_id}` does not exist", code="SubscriptionNotFound")

    def _life_customer(self, customer_id: str, **asked: Any) -> dict[str, Any]:
        known = self.customers.get(customer_id)
        if known is not None and known.record.archived_ms is not None:
            raise NotAllowed(f"customer `{customer_id}` is archived", code="EntityIsArchivedError")
        now_ms = self._now_ms
        held = known or Held(Customer(id=customer_id, created_ms=now_ms, updated_ms=now_ms))
        params = asked.get("subscription_params", UNSET)
        wanted = params if params is None or params is UNSET else self._command(customer_id, params)
        record = self._patched(held.record, asked)
        strategy, ask, record = first_subscription(record, self.catalog, wanted)
        result: dict[str, Any] = {"subscriptionDecisionStrategy": strategy, "subscription": None}
        if ask is not None:
            fresh = Held(record)
            fresh.log, fresh.grants = held.log, held.grants
            self.customers[customer_id] = fresh
            try:
                result |= self._bought(fresh, ask)
            except StiggError:
                self.customers.pop(customer_id)
                if known is not None:
                    self.customers[customer_id] = known
                raise
        else:
            self.customers[customer_id] = held
            self._put(held, record, {})
        return result

    def _patched(self, record: Customer, asked: Mapping[str, Any]) -> Customer:
        named: dict[str, Any] = {key: asked[key] for key in ("name", "email", "coupon_id") if key in asked}
        if "metadata" in asked:
            named["metadata"] = check_metadata(asked["metadata"])
        return patched(record, PatchCustomer(customer_id=record.id, **named), self.catalog, now_ms=self._now_ms)

    def _life_update_customer(self, customer_id: str, **asked: Any) -> dict[str, Any]:
        held = self._alive(customer_id)
        self._put(held, self._patched(held.record, asked), {})
        return {}

    def _life_archive(self, customer_id: str) -> dict[str, Any]:
        held = self._alive(customer_id)
        self._put(held, archive(held.record, self.catalog, now_ms=self._now_ms).customer, {})
        return {}

    def _life_provision(self, customer_id: str, **asked: Any) -> dict[str, Any]:
        return self._bought(self._alive(customer_id), self._command(customer_id, asked))

    def _command(self, customer_id: str, asked: Mapping[str, Any]) -> ProvisionSubscription:
        override = asked.get("trial_override")
        return ProvisionSubscription(
            customer_id=customer_id,
            plan_id=asked["plan_id"],
            billing_period=asked.get("billing_period"),
            resource_id=asked.get("resource_id"),
            addons=_pairs(asked.get("addons"), "addon_id"),
            units=_pairs(asked.get("billable_features"), "feature_id"),
            custom_features={
                item["feature"]["feature_id"]: CustomFeature(usage_limit=item["feature"]["usage_limit"])
                for item in asked.get("entitlements", ())
            },
            billing_country_code=asked.get("billing_country_code"),
            metadata=check_metadata(asked.get("metadata")),
            skip_trial=asked.get("skip_trial", False),
            billing_cycle_anchor=asked.get("billing_cycle_anchor", "UNCHANGED"),
            start_ms=_ms(asked, "start_date"),
            trial_override=None
            if override is None
            else TrialOverride(
                is_trial=override["is_trial"],
                trial_end_ms=_ms(override, "trial_end_date"),
                trial_end_behavior=override.get("trial_end_behavior"),
            ),
            schedule_strategy=asked.get("schedule_strategy"),
            promotion_code=asked.get("promotion_code"),
            paying_customer_id=asked.get("paying_customer_id"),
        )

    def _bought(self, held: Held, command: ProvisionSubscription) -> dict[str, Any]:
        code = command.promotion_code
        self._ids += 1
        number = f"{self._ids:010d}"[::-1]
        decided = provision(
            held.record,
            self.catalog,
            replace(command, redeemed=self.redeemed.get(code or "", 0)),
            now_ms=self._now_ms,
            new_id=lambda: number,
            charges=self.charges,
            invoice_id=f"invoice-{number}",
        )
        if code is not None:
            self.redeemed[code] = self.redeemed.get(code, 0) + 1
        decided_now, url = self._collected(held, decided)
        if decided_now is None:
            return {"status": "PaymentRequired", "checkoutUrl": url, "subscription": None}
        return {"status": "Success", "subscription": self._flat(decided_now.subscription)}

    def _collected(self, held: Held, decided: Decided) -> tuple[Decided | None, str | None]:
        """The decision after its invoice was collected; (None, URL) where the customer has to go and pay first."""
        self._put(held, decided.customer, decided.heirs)
        if decided.charge is None:
            return decided, None
        invoice, now_ms = decided.charge, self._now_ms
        outcome = self._outcome(invoice)
        if outcome == "CHECKOUT":
            record, parked = park(held.record, self.catalog, invoice, now_ms=now_ms)
            url = f"https://pay.example/{invoice.id}"
            self.parked[url] = held.record.id, parked
            self._put(held, record, {})
            return None, url
        done = apply_outcome(held.record, self.catalog, invoice, PaymentOutcome(outcome=outcome), now_ms=now_ms)
        self._put(held, done.customer, done.heirs)
        return done, None

    def _outcome(self, invoice: Any) -> str:
        self.collected.append(
            {"amount": float(invoice.amount), "currency": invoice.currency, "reason": invoice.reason}
        )
        return self.script.pop(0) if self.script else "PAID"

    def _decided(self, subscription_id: str, decide: Callable[[Customer], Decided]) -> dict[str, Any]:
        held = self._owner(subscription_id)
        decided, _ = self._collected(held, decide(held.record))
        assert decided is not None
        return self._flat(decided.subscription)

    def _life_update(self, subscription_id: str, **asked: Any) -> dict[str, Any]:
        fields: dict[str, Any] = {"billing_cycle_anchor": asked.get("billing_cycle_anchor", "UNCHANGED")}
        for key in ("metadata", "billing_period", "promotion_code"):
            if key in asked:
                fields[key] = asked[key]
        if "addons" in asked:
            fields["addons"] = _pairs(asked["addons"], "addon_id")
        if "billable_features" in asked:
            fields["units"] = _pairs(asked["billable_features"], "feature_id")
        for key, name in (("cancellation_date", "cancellation_ms"), ("trial_end_date", "trial_end_ms")):
            if key in asked:
                fields[name] = _ms(asked, key)
        self._ids += 1
        return self._decided(
            subscription_id,
            lambda record: update(
                record,
                self.catalog,
                UpdateSubscription(subscription_id=subscription_id, **fields),
                now_ms=self._now_ms,
                charges=self.charges,
                invoice_id=f"invoice-{self._ids}",
            ),
        )

    def _life_cancel(self, subscription_id: str, **asked: Any) -> dict[str, Any]:
        command = CancelSubscription(
            subscription_id=subscription_id,
            cancellation_time=asked.get("cancellation_time"),
            end_ms=_ms(asked, "end_date"),
            prorate=asked.get("prorate"),
            action=asked.get("action", "DEFAULT"),
        )
        return self._decided(
            subscription_id, lambda record: cancel(record, self.catalog, command, now_ms=self._now_ms)
        )

    def _life_cancel_updates(self, subscription_id: str, status: Any = "Scheduled") -> dict[str, Any]:
        command = CancelScheduledUpdates(subscription_id=subscription_id, status=status)
        self._decided(
            subscription_id, lambda record: cancel_scheduled(record, self.catalog, command, now_ms=self._now_ms)
        )
        return {"subscriptionId": subscription_id}

    def _life_migrate(self, subscription_id: str, **asked: Any) -> dict[str, Any]:
        command = MigrateToLatest(
            subscription_id=subscription_id,
            migration_time=asked.get("subscription_migration_time", "END_OF_BILLING_PERIOD"),
        )
        self._ids += 1
        return self._decided(
            subscription_id,
            lambda record: migrate(
                record,
                self.catalog,
                command,
                now_ms=self._now_ms,
                charges=self.charges,
                invoice_id=f"invoice-{self._ids}",
            ),
        )

    def _life_revoke(self, customer_id: str, feature_ids: Any) -> dict[str, Any]:
        held = self._alive(customer_id)
        ids = [feature_ids] if isinstance(feature_ids, str) else feature_ids
        self._put(held, revoke(held.record, self.catalog, ids, now_ms=self._now_ms).customer, {})
        return {}

    def _life_settle(self, subject: str, outcome: str, error_message: str | None = None) -> dict[str, Any]:
        now_ms, paid = self._now_ms, outcome == "PAID"
        if subject in self.parked:
            customer_id, parked = self.parked.pop(subject)
            held = self.customers[customer_id]
            if not paid:
                return {}
            decided = unpark(held.record, self.catalog, parked, now_ms=now_ms)
        else:
            held = self._owner(subject)
            decided = settle(held.record, self.catalog, subject, paid=paid, error_message=error_message, now_ms=now_ms)
        self._put(held, decided.customer, decided.heirs)
        return {}

    def _life_apply(self, catalog: Any, migrate: str = "new") -> dict[str, Any]:
        for held in self.customers.values():
            self._put(held, advance(held.record, self.catalog, to_ms=self._now_ms).customer, {})
        self.apply(catalog_path(catalog) if isinstance(catalog, str) else catalog, migrate=migrate)
        for held in self.customers.values():
            self._put(held, held.record, {})
        return {}

    def _latest(self, record: Customer) -> Customer:
        return replace(
            record,
            subscriptions=tuple(
                item if is_over(item, self._now_ms) else entitled_to_latest(item, self.catalog)
                for item in record.subscriptions
            ),
        )

    def _life_tick(self) -> dict[str, Any]:
        for held in self.customers.values():
            if not self.charges:
                self._put(held, advance(held.record, self.catalog, to_ms=self._now_ms).customer, {})
                continue
            record, invoices = charges_due(held.record, self.catalog, now_ms=self._now_ms)
            self._put(held, record, {})
            for invoice in invoices:
                outcome = PaymentOutcome(outcome=self._outcome(invoice))
                done = apply_outcome(held.record, self.catalog, invoice, outcome, now_ms=self._now_ms)
                self._put(held, done.customer, done.heirs)
        return {}

    # ------------------------------------------------------------------ questions

    def check(self, get: str, arguments: dict[str, Any]) -> Any:  # type: ignore[override]
        """One question."""
        if get in ("boolean", "numeric", "metered", "enum", "entitlement"):
            return super().check({"get": get, **arguments})
        if get == "payments":
            return self.collected
        if get == "subscription":
            held = self._owner(arguments["subscription_id"])
            return self._flat(find(self._now(held), arguments["subscription_id"]))
        customer = self._now(self._alive(arguments["customer_id"]))
        if get == "subscriptions":
            return by_start([self._flat(item) for item in customer.subscriptions])
        if get == "active_subscriptions":
            wanted = arguments.get("resource_id")
            ids = [wanted] if wanted is None or isinstance(wanted, str) else wanted
            if len(ids) > 100:
                raise InvalidInput("too many", code="InvalidArgumentError")
            found = [self._flat(item) for item in customer.subscriptions if item.resource_id in ids]
            return by_start([item for item in found if item["status"] in ("ACTIVE", "IN_TRIAL")])
        assert get == "customer", get
        return {
            "name": customer.name,
            "email": customer.email,
            "metadata": customer.metadata,
            "createdAt": to_text(customer.created_ms),
            "updatedAt": to_text(customer.updated_ms),
            "promotionalFeatures": sorted(
                item.entitlement.feature_id for item in customer.promotional_entitlements if not item.is_over
            ),
        }

    def _now(self, held: Held) -> Customer:
        return advance(held.record, self.catalog, to_ms=self._now_ms).customer

    def _flat(self, item: Subscription) -> dict[str, Any]:
        return {"customerId": self._owner(item.id).record.id, **flat_record(item, self.catalog, self._now_ms)}
