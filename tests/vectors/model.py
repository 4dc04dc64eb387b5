"""The core level: a slow, list-based model of an authority that holds nothing but what was said to it.

It has no store and no counters. Usage is folded over the whole log at every check, debts are settled by walking from
one instant at which anything changes to the next, and every rule comes straight from `core`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from stigg_local import calls
from stigg_local.authority.catalog_diff import plan_publish
from stigg_local.authority.catalog_file import load
from stigg_local.authority.usage import GrantCredits, ReportUsage
from stigg_local.core import command as shape
from stigg_local.core.answer import ANSWERS, Entitlement
from stigg_local.core.catalog import ITEM_KINDS, CatalogFile, Feature
from stigg_local.core.credit import Grant, burn, is_debt, overdraft_of, recurring_grants, wallet
from stigg_local.core.customer import Customer, CustomerSnapshot, SubscriptionSource
from stigg_local.core.customer_change import first_subscription, patched
from stigg_local.core.entitlement import (
    CustomerView,
    Winner,
    answer_request,
    counting_windows,
    evaluate,
    find_winner,
    kind_of,
    state,
)
from stigg_local.core.fallback import Fallbacks, fallback_answer, parse_fallback, parse_fallbacks
from stigg_local.core.ids import UNSET, check_id
from stigg_local.core.period import FOREVER_MS
from stigg_local.core.promotional import grant as grant_promotional
from stigg_local.core.quantity import multiply, raw_to_decimal, to_decimal, to_raw
from stigg_local.core.snapshot import derive_snapshot
from stigg_local.core.sources import Catalog
from stigg_local.core.subscription import ProvisionSubscription, provision
from stigg_local.core.usage import AHEAD_MS_MAX, add, fold
from stigg_local.core.words import AccessDeniedReason
from stigg_local.errors import CatalogInvalid, IdempotencyConflict, InvalidInput, NotAllowed, NotFound
from stigg_local.testing import ManualClock
from tests.vectors.runner import GETTERS, catalog_path, snake, state_dict

Report = tuple[str, str, str, int, int]  # resource, feature, behavior, raw value, when it happened


class Held:
    """One customer: the record, the sources as of its last change, the log and the grants."""

    def __init__(self, record: Customer) -> None:
        self.record = record
        self.snapshot = CustomerSnapshot(0, False, (), ())
        self.log: list[Report] = []
        self.grants: list[Grant] = []
        self.settled_ms = record.created_ms


class CoreLevel:
    """The steps of a vector on the core alone."""

    def __init__(self, vector: Mapping[str, Any], clock: ManualClock) -> None:
        self._clock = clock
        self._stored: dict[tuple[str, str, int], str] = {}
        self.customers: dict[str, Held] = {}
        self._keys: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._ids = 0
        self.catalog = Catalog(())
        given = vector.get("constructor", {})
        self._fallbacks = Fallbacks(
            parse_fallbacks(given.get("entitlementsFallback"), where="entitlements_fallback"),
            parse_fallbacks(given.get("creditEntitlementsFallback"), where="credit_entitlements_fallback"),
        )
        catalog = vector["catalog"]
        self.apply(catalog_path(catalog) if isinstance(catalog, str) else catalog, migrate="new")

    @property
    def _now_ms(self) -> int:
        return round(self._clock.time() * 1000)

    def close(self) -> None:
        """Nothing is open."""

    # ------------------------------------------------------------------ steps

    def do(self, do: Mapping[str, Any]) -> None:
        """One step that changes something; the same key with the same step does nothing."""
        arguments = {snake(key): value for key, value in do.items() if key != "type"}
        if do["type"] == "applyCatalog":
            self.apply(catalog_path(do["catalog"]), migrate=do.get("migrate", "new"))
            return
        key = arguments.pop("idempotency_key", None)
        if key is not None and (do["type"], key) in self._keys:
            if self._keys[do["type"], key] != do:
                raise IdempotencyConflict(f"`{key}` was used for another step")
            return
        steps: dict[str, Callable[..., None]] = {
            "provisionCustomer": self._provision_customer,
            "provisionSubscription": self._provision_subscription,
            "grantPromotionalEntitlements": self._grant_promotional,
            "grantCredits": self._grant_credits,
            "reportUsage": self._report_usage,
        }
        steps[do["type"]](**arguments)
        if key is not None:
            self._keys[do["type"], key] = do

    def check(self, check: Mapping[str, Any]) -> dict[str, Any]:
        """One question."""
        arguments = {snake(key): value for key, value in check.items() if key != "get"}
        get = check["get"]
        if get in GETTERS:
            item = arguments.pop("currency_id" if "currency_id" in arguments else "feature_id")
            kind = None if get == "entitlement" else get.upper()
            return self.ask(kind, arguments.pop("customer_id"), item, **arguments).to_dict()
        return state_dict(get, self.state(**arguments))

    # ------------------------------------------------------------------ catalogs

    def apply(self, source: Any, *, migrate: str) -> None:
        """Publish a catalog file or mapping."""
        catalog = load(source).catalog
        rows = [(*key, body) for key, body in self._stored.items()]
        publish = plan_publish(rows, catalog)
        if publish.problems:
            raise CatalogInvalid("the catalog changes what never changes", problems=tuple(publish.problems))
        for kind, item_id, version, put in publish.puts:
            self._stored[kind, item_id, version] = msgspec.json.encode(put).decode()
        for item in publish.removed:
            self._stored = {key: body for key, body in self._stored.items() if key[:2] != item}
        places = _places(catalog)
        kinds = list(ITEM_KINDS)
        listed = sorted(
            self._stored.items(),
            key=lambda row: (
                kinds.index(row[0][0]),
                places.get(row[0][:2], len(places)),
                row[0][1],
                row[0][2],
            ),
        )
        self.catalog = Catalog((key[0], msgspec.json.decode(body, type=ITEM_KINDS[key[0]])) for key, body in listed)
        if not publish.puts and not publish.removed and migrate == "new":
            return
        for held in self.customers.values():
            waits = any(item.trial_end_behavior == "CANCEL_SUBSCRIPTION" for item in held.record.subscriptions)
            if migrate == "new" and not waits:
                continue
            record = self._latest(held.record) if migrate == "all" else held.record
            sources = self._derive(record).sources
            # What has ended meanwhile changes nothing that anybody may do.
            alive = tuple(source for source in held.snapshot.sources if source.end_ms > self._now_ms)
            if record != held.record or sources != alive:
                self._put(held, record, {})

    def _latest(self, record: Customer) -> Customer:
        latest = self.catalog.latest

        def is_over(end_ms: int | None, trial_end_ms: int | None, behavior: str | None) -> bool:
            ends = [end_ms, trial_end_ms if behavior == "CANCEL_SUBSCRIPTION" else None]
            return any(end is not None and end <= self._now_ms for end in ends)

        return replace(
            record,
            subscriptions=tuple(
                item
                if is_over(item.end_ms, item.trial_end_ms, item.trial_end_behavior)
                else replace(
                    item,
                    plan_version=latest[item.plan_id],
                    addons=tuple(replace(addon, version=latest[addon.addon_id]) for addon in item.addons),
                )
                for item in record.subscriptions
            ),
        )

    def _derive(self, record: Customer) -> CustomerSnapshot:
        return derive_snapshot(record, self.catalog, as_of_ms=self._now_ms)

    # ------------------------------------------------------------------ what changes something

    def _provision_customer(self, customer_id: Any, **arguments: Any) -> None:
        command = calls.customer_command(
            customer_id,
            name=arguments.get("name", UNSET),
            email=arguments.get("email", UNSET),
            coupon_id=arguments.get("coupon_id", UNSET),
            subscription=_snaked(arguments.get("subscription_params", UNSET)),
            metadata=arguments.get("metadata", UNSET),
        )
        known = self.customers.get(command.customer_id)
        held = known or Held(Customer(id=command.customer_id, created_ms=self._now_ms, updated_ms=self._now_ms))
        record = patched(held.record, command, self.catalog, now_ms=self._now_ms)
        _, ask, record = first_subscription(record, self.catalog, command.subscription)
        heirs: dict[str, str] = {}
        if ask is not None:
            record, heirs = self._provisioned(record, ask)
        self.customers[command.customer_id] = held
        self._put(held, record, heirs)

    def _provision_subscription(self, customer_id: Any, **arguments: Any) -> None:
        command = shape.provision_subscription(customer_id, arguments)
        held = self._known(command.customer_id)
        self._put(held, *self._provisioned(held.record, command))

    def _provisioned(self, record: Customer, command: ProvisionSubscription) -> tuple[Customer, dict[str, str]]:
        def new_id() -> str:
            self._ids += 1
            return f"{self._ids:010d}"[::-1]

        made = provision(record, self.catalog, command, now_ms=self._now_ms, new_id=new_id)
        new = made.subscription
        heirs = {old.id: new.id for old in made.ended if old.usage_anchor_ms == new.usage_anchor_ms}
        return made.customer, heirs

    def _grant_promotional(self, customer_id: Any, entitlements: Any) -> None:
        check_id(customer_id, "customer_id")
        grants = shape.promotional_grants(entitlements, groups=self.catalog.groups)
        held = self._known(customer_id)
        record, _ = grant_promotional(held.record, self.catalog, grants, now_ms=self._now_ms)
        self._put(held, record, {})

    def _grant_credits(self, customer_id: Any, currency_id: Any, amount: Any, **arguments: Any) -> None:
        defaults = {"grant_type": "PROMOTIONAL", "priority": 0}
        others = ("effective_at", "expire_at", "cost", "resource_id")
        command: GrantCredits = calls.credits_command(
            customer_id, currency_id, amount, **{**defaults, **dict.fromkeys(others), **arguments}
        )
        held = self._known(command.customer_id, command.resource_id)
        currency = self.catalog.currencies.get(command.currency_id)
        if currency is None:
            raise NotFound("the currency does not exist", code="CustomCurrencyNotFound")
        raw = to_raw(command.amount, currency.scale)
        effective = self._now_ms if command.effective_ms is None else command.effective_ms
        expire = FOREVER_MS if command.expire_ms is None else command.expire_ms
        if raw <= 0:
            raise InvalidInput("nothing is granted", code="InvalidArgumentError")
        if expire <= effective:
            raise InvalidInput("it ends first", code="ExpireAtMustBeLaterThanEffectiveAtError")
        self._pass_time(held)
        self._ids += 1
        held.grants.append(
            Grant(
                f"grant-{self._ids:06d}",
                currency.id,
                command.resource_id or "",
                command.grant_type,
                raw,
                0,
                command.priority,
                effective,
                expire,
                self._now_ms,
            )
        )
        self._settle(held, self._now_ms)

    def _report_usage(self, customer_id: Any, feature_id: Any, value: Any, **arguments: Any) -> None:
        command: ReportUsage = calls.usage_command(
            customer_id,
            feature_id,
            value,
            resource_id=arguments.get("resource_id"),
            behavior=arguments.get("update_behavior", "DELTA"),
            created_at=arguments.get("created_at"),
            dimensions=arguments.get("dimensions"),
        )
        held = self._known(command.customer_id, command.resource_id)
        resource = command.resource_id or ""
        feature = self._reportable(command.feature_id)
        raw = to_raw(command.value, feature.scale)
        now_ms = self._now_ms
        created = now_ms if command.created_ms is None else command.created_ms
        if created > now_ms + AHEAD_MS_MAX:
            raise InvalidInput("it lies in the future", code="InvalidArgumentError")
        created = min(created, now_ms)
        winner, _, is_active, _ = find_winner(self.catalog, held.snapshot, feature, resource, now_ms)
        if winner is None or not winner.contribution.is_granted:
            code = "NoFeatureEntitlementInSubscription" if is_active else "NoActiveSubscriptionForCustomer"
            raise NotAllowed("not entitled", code=code)
        # Every window of the report's own time must be able to take it.
        for interval in counting_windows(
            self.catalog, held.snapshot, feature, resource_id=resource, at_ms=created, now_ms=now_ms
        ):
            add(feature, _usage(held, resource, feature, *interval), command.behavior, raw)
        then, _, _, _ = find_winner(self.catalog, held.snapshot, feature, resource, created)
        before = _winner_usage(held, resource, feature, then)
        held.log.append((resource, feature.id, command.behavior, raw, created))
        increase = _winner_usage(held, resource, feature, then) - before
        rate = None if then is None else then.contribution.rate
        currency = None if rate is None else self.catalog.currencies.get(rate.currency_id)
        if rate is not None and currency is not None and increase > 0:
            cost = multiply(raw_to_decimal(increase, feature.scale), rate.amount, currency.scale)
            self._charge(held, resource, currency.id, cost, created)

    def _reportable(self, feature_id: str) -> Feature:
        feature = self.catalog.features.get(feature_id)
        if feature is None:
            raise NotFound("the feature does not exist", code="FeatureNotFound")
        if not feature.is_metered:
            raise NotAllowed("nothing is counted", code="MeteringNotAvailableForFeatureType")
        if feature.meter is not None:
            raise NotAllowed("events are counted", code="CannotReportUsageForEntitlementWithMeterError")
        return feature

    def _known(self, customer_id: str, resource_id: str | None = None) -> Held:
        held = self.customers.get(customer_id)
        if held is None:
            raise NotFound("the customer does not exist", code="CustomerNotFound")
        if resource_id is not None and resource_id not in held.record.resource_ids:
            raise NotFound("the resource does not exist", code="CustomerResourceNotFound")
        return held

    # ------------------------------------------------------------------ credits

    def _put(self, held: Held, record: Customer, heirs: dict[str, str]) -> None:
        """Take the record; recurring grants of what is over end, and what was issued stays issued."""
        self._pass_time(held)
        now_ms = self._now_ms
        prior = self._recurring(held, now_ms)
        held.record = record
        held.snapshot = self._derive(record)
        running = {
            source.subscription_id
            for source in held.snapshot.sources
            if isinstance(source, SubscriptionSource) and source.start_ms <= now_ms < source.end_ms
        }
        inherited: dict[tuple[str, str, str], int] = {}
        for grant in held.grants:
            if grant.grant_type == "RECURRING" and grant.source not in running and grant.expire_ms > now_ms:
                _replace(held, replace(grant, expire_ms=now_ms))
                if grant.source in heirs:
                    key = heirs[grant.source], grant.currency_id, grant.id.split(":")[-2]
                    inherited[key] = inherited.get(key, 0) + grant.consumed
        fresh = {grant.id: grant for grant in self._recurring(held, now_ms)}
        known = {grant.id: grant for grant in held.grants}
        for grant in prior:
            if grant.source not in running:
                if grant.id not in known and grant.effective_ms < now_ms:
                    held.grants.append(replace(grant, expire_ms=now_ms))
            elif grant.id not in known:
                if grant.id not in fresh or fresh[grant.id].amount < grant.amount:
                    held.grants.append(grant)
            elif known[grant.id].amount < grant.amount:
                _replace(held, replace(known[grant.id], amount=grant.amount))
        for grant in fresh.values():
            moved = inherited.get((grant.source, grant.currency_id, grant.id.split(":")[-2]), 0)
            if moved and grant.id not in known:
                held.grants.append(replace(grant, consumed=min(grant.amount, moved)))
        self._settle(held, now_ms)

    def _recurring(self, held: Held, at_ms: int) -> list[Grant]:
        found: list[Grant] = []
        for resource_id in ("", *held.record.resource_ids):
            found += recurring_grants(
                self.catalog, held.snapshot, resource_id=resource_id, currency_id=None, at_ms=at_ms
            )[0]
        return found

    def _charge(self, held: Held, resource_id: str, currency_id: str, cost: int, at_ms: int) -> None:
        self._pass_time(held)
        place = currency_id, resource_id
        purse = self._wallet(held, place, at_ms)
        debts = [grant for grant in _debts(held) if (grant.currency_id, grant.resource_id) == place]
        self._ids += 1
        empty = overdraft_of(*place, at_ms=self._now_ms, new_id=f"overdraft-{self._ids:06d}")
        burned = burn(purse, cost, overdraft=debts[0] if debts else empty)
        for grant in burned.changed:
            _replace(held, grant)
        self._settle(held, self._now_ms)

    def _wallet(self, held: Held, place: tuple[str, str], at_ms: int) -> tuple[Grant, ...]:
        return wallet(
            self.catalog,
            held.snapshot,
            held.grants,
            currency_id=place[0],
            resource_id=place[1],
            at_ms=at_ms,
        ).grants

    def _settle(self, held: Held, at_ms: int) -> None:
        """Give what can be spent at an instant to the debts, one unit of burn order after the other."""
        for debt in _debts(held):
            # A debt that is dated now is one that `wallet` leaves alone.
            _replace(held, replace(debt, effective_ms=at_ms))
            rest = debt.consumed
            for grant in self._wallet(held, (debt.currency_id, debt.resource_id), at_ms):
                part = min(rest, grant.amount - grant.consumed) if grant.grant_type != "OVERDRAFT" else 0
                if part > 0:
                    rest -= part
                    _replace(held, replace(grant, consumed=grant.consumed + part))
            _replace(held, replace(debt, consumed=rest, effective_ms=at_ms))
        held.settled_ms = at_ms

    def _pass_time(self, held: Held) -> None:
        """Settle debts at every instant since the last time at which a grant begins."""
        now_ms = self._now_ms
        while _debts(held):
            starts = [grant.effective_ms for grant in held.grants]
            for debt in _debts(held):
                starts.append(
                    recurring_grants(
                        self.catalog,
                        held.snapshot,
                        resource_id=debt.resource_id,
                        currency_id=debt.currency_id,
                        at_ms=held.settled_ms,
                    )[2]
                )
            coming = [start for start in starts if held.settled_ms < start <= now_ms]
            if not coming:
                break
            self._settle(held, min(coming))
        for debt in _debts(held):
            _replace(held, replace(debt, effective_ms=now_ms))
        held.settled_ms = now_ms

    # ------------------------------------------------------------------ questions

    def ask(
        self,
        kind: str | None,
        customer_id: Any,
        item_id: Any,
        *,
        resource_id: Any = None,
        requested_usage: Any = 0,
        requested_values: Any = (),
        fallback: Any = None,
    ) -> Entitlement:
        """The answer of a getter; `kind` None is the generic one."""
        _check_texts(customer_id, item_id, resource_id)
        kind = None if kind is None else ANSWERS[kind].type
        values = tuple(requested_values)
        held = self.customers.get(customer_id)
        resource = "" if resource_id is None else resource_id or "\0"
        compiled = evaluate(
            self.catalog,
            None if held is None else self._view(held, resource),
            item_id,
            resource_id=resource,
            kind=kind,
            now_ms=self._now_ms,
        )
        if compiled is not None:
            return answer_request(compiled, requested_usage, values)
        if to_decimal(requested_usage, name="requested_usage") < 0:
            raise InvalidInput("less than nothing is asked for")
        return self._unanswered(kind, item_id, requested_usage, values, fallback)

    def _unanswered(
        self, kind: str | None, item_id: str, requested_usage: Any, values: tuple[str, ...], fallback: Any
    ) -> Entitlement:
        feature = self.catalog.features.get(item_id)
        reason = AccessDeniedReason.FeatureNotFound
        if kind == "CREDIT":
            reason = AccessDeniedReason.EntitlementNotFound
        elif feature is not None:
            reason = AccessDeniedReason.FeatureTypeMismatch
        configured = self._fallbacks.credits if kind == "CREDIT" else self._fallbacks.features
        chosen = None if fallback is None else parse_fallback(fallback, where="fallback")
        found = chosen or configured.get(item_id)
        if found is None and kind is None:
            found = self._fallbacks.credits.get(item_id)
        return fallback_answer(
            found,
            kind=kind or (kind_of(feature) if feature else None),
            feature=None if feature is None else self.catalog.refs[item_id],
            currency=self.catalog.currency_refs.get(item_id) if feature is None else None,
            requested_usage=requested_usage,
            requested_values=values,
            reason=reason,
        )

    def state(self, customer_id: Any, resource_id: Any = None, *, include_credits: bool = False) -> dict[str, Any]:
        """What `get_entitlements_state` says."""
        _check_texts(customer_id, "feature", resource_id)
        held = self.customers.get(customer_id)
        resource = "" if resource_id is None else resource_id or "\0"
        return state(
            self.catalog,
            None if held is None else self._view(held, resource),
            resource_id=resource,
            include_credits=include_credits,
            now_ms=self._now_ms,
            answer=lambda item, kind: self.ask(kind, customer_id, item, resource_id=resource_id),
        ).to_dict()

    def _view(self, held: Held, resource_id: str) -> CustomerView:
        """The customer with the usage of every winner's window, folded over the whole log."""
        self._pass_time(held)
        counters = {}
        for feature in self.catalog.features.values():
            winner = find_winner(self.catalog, held.snapshot, feature, resource_id, self._now_ms)[0]
            if winner is not None:
                key = resource_id, feature.id, winner.from_ms, winner.end_ms
                counters[key] = _winner_usage(held, resource_id, feature, winner)
        return CustomerView(held.snapshot, counters, tuple(held.grants))


def _usage(held: Held, resource_id: str, feature: Feature, from_ms: int, to_ms: int) -> int:
    return fold(
        feature,
        (
            (behavior, value)
            for resource, feature_id, behavior, value, created_ms in held.log
            if (resource, feature_id) == (resource_id, feature.id) and from_ms <= created_ms < to_ms
        ),
    )


def _winner_usage(held: Held, resource_id: str, feature: Feature, winner: Winner | None) -> int:
    return 0 if winner is None else _usage(held, resource_id, feature, winner.from_ms, winner.end_ms)


def _debts(held: Held) -> list[Grant]:
    return [grant for grant in held.grants if is_debt(grant)]


def _replace(held: Held, grant: Grant) -> None:
    held.grants = [*(item for item in held.grants if item.id != grant.id), grant]


def _places(catalog: CatalogFile) -> dict[tuple[str, str], int]:
    listed = [
        *(("feature", item.id) for item in catalog.features),
        *(("creditCurrency", item.id) for item in catalog.credit_currencies),
        *(("product", item.id) for item in catalog.products),
        *(("plan", item.id) for item in catalog.plans),
        *(("addon", item.id) for item in catalog.addons),
    ]
    return {item: place for place, item in enumerate(listed)}


def _snaked(value: Any) -> Any:
    return {snake(key): item for key, item in value.items()} if isinstance(value, Mapping) else value


def _check_texts(*ids: Any) -> None:
    *needed, resource_id = ids
    if not all(isinstance(value, str) for value in needed) or not isinstance(resource_id, str | None):
        raise InvalidInput("an id is not text", code="InvalidArgumentError")
