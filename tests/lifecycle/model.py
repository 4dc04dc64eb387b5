"""An independent model of the life cycle: slow, list-based, written from the rules and not from the engine.

It shares nothing with `stigg_local` but the error class and the manual clock. Time passes by walking from boundary
to boundary; there is no tick, no store, no derived state.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from stigg_local.testing import ManualClock
from tests.lifecycle.answers import answer, offers
from tests.lifecycle.purchases import Purchases
from tests.lifecycle.record import DAY, Person, Promotion, Sub, months_after, ms, text
from tests.lifecycle.shelf import Shelf, pick, refuse, rounded

MONTHS = {"ONE_MONTH": 1, "SIX_MONTH": 6, "SIX_MONTHS": 6, "ONE_YEAR": 12}
UNSET = object()


class LifeModel:
    """The steps of a life vector on the model."""

    def __init__(self, catalog: Path | Mapping[str, Any], clock: ManualClock, script: list[str] | None = None) -> None:
        self.clock = clock
        self.state = Purchases(Shelf(catalog), self.now, script)
        self.keys: dict[tuple[str, str], tuple[Any, Any]] = {}

    @property
    def now(self) -> int:
        return round(self.clock.time() * 1000)

    def do(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """One command; one that refuses leaves nothing."""
        self.state.pass_time(self.now)
        key = arguments.pop("idempotency_key", None)
        if key is not None and (name, key) in self.keys:
            known, result = self.keys[name, key]
            if known != arguments:
                raise refuse("IdempotencyConflict")
            return dict(result)
        for value in (arguments.get("metadata") or {}).values():
            if not isinstance(value, str):
                raise refuse("InvalidMetadataError")
        before = deepcopy(self.state)
        try:
            result = self._commands()[name](**arguments)
        except Exception:
            self.state = before
            raise
        if key is not None:
            self.keys[name, key] = arguments, result
        return result

    def _commands(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {
            "provision_customer": self._provision_customer,
            "update_customer": self._update_customer,
            "archive_customer": self._archive_customer,
            "provision_subscription": self._provision_subscription,
            "update_subscription": lambda subscription_id, **asked: self.subscription(
                self.state.update(subscription_id, **asked)
            ),
            "cancel_subscription": lambda subscription_id, **asked: self.subscription(
                self.state.cancel(subscription_id, **asked)
            ),
            "cancel_subscription_scheduled_updates": lambda subscription_id, **asked: {
                "subscriptionId": self.state.cancel_updates(subscription_id, **asked).id
            },
            "migrate_subscription_to_latest": lambda subscription_id, **asked: self.subscription(
                self.state.migrate(subscription_id, **asked)
            ),
            "grant_promotional_entitlements": self._grant,
            "revoke_promotional_entitlements": self._revoke,
            "report_usage": self._report,
            "payments.settle": self._settle,
            "apply_catalog": self._apply,
            "tick": self._tick,
        }

    # ------------------------------------------------------------------ commands

    def _provision_customer(self, customer_id: str, subscription_params: Any = UNSET, **fields: Any) -> dict[str, Any]:
        state = self.state
        person = state.people.get(customer_id)
        if person is not None and person.is_archived:
            raise refuse("EntityIsArchivedError")
        if person is None:
            person = state.people[customer_id] = Person(customer_id, state.now, state.now)
        self._patch(person, fields)
        result: dict[str, Any] = {"customer": self.customer(person), "subscription": None}
        strategy, asked = self._journey(person, subscription_params)
        result["subscriptionDecisionStrategy"] = strategy
        if asked is not None:
            status, sub, url = state.provision(customer_id, **asked)
            result |= {"status": status, "checkoutUrl": url}
            result["subscription"] = None if sub is None else self.subscription(sub)
        return result

    def _journey(self, person: Person, params: Any) -> tuple[str, dict[str, Any] | None]:
        shelf = self.state.shelf
        skipped = "SKIPPED_SUBSCRIPTION_CREATION"
        if params is None:
            return skipped, None
        if params is UNSET:
            single = [item for item in shelf.products.values() if not item.get("multipleSubscriptions")]
            if not single:
                return skipped, None
            product_id = single[0]["id"]
        else:
            plan = shelf.plans.get(params["plan_id"])
            if plan is None:
                raise refuse("PlanNotFound")
            product_id = plan["productId"]
        settings = shelf.settings(product_id)
        setup = settings["subscriptionStartSetup"]
        if setup == "PLAN_SELECTION" or shelf.products[product_id].get("multipleSubscriptions"):
            return (skipped, None) if params is UNSET else ("REQUESTED_PLAN", params)
        if any(sub.product == product_id for sub in person.subs):
            return skipped, None
        strategy = "PREDEFINED_FREE_PLAN" if setup == "FREE_PLAN" else "PREDEFINED_TRIAL_PLAN"
        start = settings["subscriptionStartPlanId"]
        if params is UNSET:
            return strategy, {"plan_id": start}
        if params["plan_id"] == start:
            return strategy, params
        # What was asked for of another plan goes; where and for whom it is stays.
        kept = ("resource_id", "billing_country_code", "metadata", "paying_customer_id")
        return strategy, {"plan_id": start} | {name: params[name] for name in kept if name in params}

    def _patch(self, person: Person, fields: Mapping[str, Any]) -> None:
        coupon = fields.get("coupon_id")
        if coupon is not None:
            found = self.state.shelf.coupons.get(coupon)
            if found is None:
                raise refuse("CouponNotFound")
            if found.get("status") == "ARCHIVED":
                raise refuse("ArchivedCouponCantBeApplied")
        for name, attribute in (("name", "name"), ("email", "email"), ("coupon_id", "coupon")):
            if name in fields:
                setattr(person, attribute, fields[name])
        if "metadata" in fields:
            given = fields["metadata"]
            person.metadata = None if given is None else {**(person.metadata or {}), **given}
        person.updated = self.state.now

    def _update_customer(self, customer_id: str, **fields: Any) -> dict[str, Any]:
        person = self.state.person(customer_id)
        self._patch(person, fields)
        return self.customer(person)

    def _archive_customer(self, customer_id: str) -> dict[str, Any]:
        person = self.state.person(customer_id)
        for sub in person.subs:
            if not sub.is_over:
                sub.end, sub.reason, sub.waiting = self.state.now, "CustomerArchived", []
        person.name = person.email = None
        person.is_archived = True
        return {}

    def _provision_subscription(self, customer_id: str, plan_id: str, **asked: Any) -> dict[str, Any]:
        status, sub, url = self.state.provision(customer_id, plan_id, **asked)
        return {
            "status": status,
            "checkoutUrl": url,
            "subscription": None if sub is None else self.subscription(sub),
        }

    def _grant(self, customer_id: str, entitlements: list[dict[str, Any]]) -> dict[str, Any]:
        person = self.state.person(customer_id)
        now = self.state.now
        made = []
        groups = self.state.shelf.groups
        listed: list[dict[str, Any]] = []
        for item in entitlements:
            given = groups.get(item.get("feature_group_id", ""))
            listed += [item] if given is None else [{**item, "feature_id": feature} for feature in given]
        for item in listed:
            feature = self.state.shelf.features.get(item["feature_id"])
            if feature is None:
                raise refuse("FeatureNotFound")
            period = item.get("period") or ("CUSTOM" if item.get("custom_end_date") else "LIFETIME")
            end: int | None = None
            if period == "CUSTOM":
                end = ms(item["custom_end_date"])
                if end <= now:
                    raise refuse("InvalidArgumentError")
            elif period == "ONE_WEEK":
                end = now + 7 * DAY
            elif period in MONTHS:
                end = months_after(now, MONTHS[period])
            reset = item.get("reset_period")
            if reset is not None and feature.get("meterType") != "Incremental":
                raise refuse("InvalidEntitlementResetPeriod")
            limit = item.get("usage_limit", item.get("value"))
            made.append(Promotion(item["feature_id"], now, end, limit, item.get("has_soft_limit", False), reset))
        features = {item.feature for item in made}
        if len(features) != len(made):
            raise refuse("DuplicatedEntityNotAllowed")
        person.promotions = [item for item in person.promotions if item.feature not in features] + made
        return {}

    def _revoke(self, customer_id: str, feature_ids: str | list[str]) -> dict[str, Any]:
        person = self.state.person(customer_id)
        ids = {feature_ids} if isinstance(feature_ids, str) else set(feature_ids)
        in_force = {item.feature for item in person.promotions if item.end is None or item.end > self.state.now}
        if not ids <= in_force:
            raise refuse("PromotionalEntitlementNotFoundError")
        person.promotions = [item for item in person.promotions if item.feature not in ids]
        return {}

    def _report(
        self,
        customer_id: str,
        feature_id: str,
        value: Any,
        resource_id: str | None = None,
        update_behavior: str = "DELTA",
    ) -> dict[str, Any]:
        state = self.state
        person = state.person(customer_id)
        if resource_id is not None and resource_id not in person.resources:
            raise refuse("CustomerResourceNotFound")
        found, is_running = offers(state, person, feature_id, resource_id)
        if not found:
            raise refuse("NoFeatureEntitlementInSubscription" if is_running else "NoActiveSubscriptionForCustomer")
        person.log.append((resource_id, feature_id, update_behavior, value, state.now))
        return {"currentUsage": answer(state, customer_id, feature_id, resource_id)["currentUsage"]}

    def _settle(self, subject: str, outcome: str, error_message: str | None = None) -> dict[str, Any]:
        self.state.settle(subject, outcome, error_message=error_message)
        return {}

    def _tick(self) -> dict[str, Any]:
        self.state.tick()
        return {}

    def _apply(self, catalog: Path | Mapping[str, Any], migrate: str = "new") -> dict[str, Any]:
        state = self.state
        state.shelf.apply(catalog)
        if migrate == "all":
            for person in state.people.values():
                for sub in person.subs:
                    if not sub.is_over:
                        terms = sub.terms
                        terms.version = state.shelf.latest(terms.plan)
                        terms.addons = {
                            addon: (quantity, state.shelf.latest(addon), price_version)
                            for addon, (quantity, _, price_version) in terms.addons.items()
                        }
        return {}

    # ------------------------------------------------------------------ questions

    def check(self, get: str, arguments: dict[str, Any]) -> Any:
        """One question."""
        self.state.pass_time(self.now)
        state = self.state
        if get in ("entitlement", "boolean", "numeric", "metered"):
            return answer(
                state,
                arguments["customer_id"],
                arguments["feature_id"],
                arguments.get("resource_id"),
                arguments.get("requested_usage", 0),
            )
        if get == "customer":
            return self.customer(state.person(arguments["customer_id"]))
        if get == "subscription":
            return self.subscription(state.find(arguments["subscription_id"])[1])
        if get == "subscriptions":
            return [self.subscription(sub) for sub in state.person(arguments["customer_id"]).subs]
        if get == "active_subscriptions":
            return self._active(**arguments)
        if get == "payments":
            return [
                {"amount": float(item.amount), "currency": item.currency, "reason": item.reason}
                for item in state.charges
            ]
        if get == "coupons":
            return [
                {
                    "id": item["id"],
                    "discountValue": float(item.get("percentOff") or item["amountsOff"][0]["amount"]),
                }
                for item in state.shelf.coupons.values()
                if item.get("status") != "ARCHIVED"
            ]
        if get == "products":
            return [
                {
                    "id": item["id"],
                    "downgradePlan": {"id": free}
                    if (free := item.get("settings", {}).get("downgradePlanId"))
                    else None,
                }
                for item in state.shelf.products.values()
            ]
        assert get == "paywall", get
        return self._paywall(**arguments)

    def customer(self, person: Person) -> dict[str, Any]:
        now = self.state.now
        return {
            "id": person.id,
            "name": person.name,
            "email": person.email,
            "metadata": person.metadata,
            "createdAt": text(person.created),
            "updatedAt": text(person.updated),
            "promotionalFeatures": sorted(
                item.feature for item in person.promotions if item.end is None or item.end > now
            ),
        }

    def subscription(self, sub: Sub) -> dict[str, Any]:
        state = self.state
        terms = sub.terms
        period = state.period(sub, state.now) if sub.runs else None
        subtotal = rounded(state.subtotal(terms), "USD") if state.is_paid(terms) and terms.period else None
        return {
            "id": sub.id,
            "customerId": sub.customer,
            "planId": terms.plan,
            "pricingType": state.pricing(terms),
            "status": sub.status(),
            "resource": None if sub.resource is None else {"id": sub.resource},
            "addonIds": sorted(terms.addons),
            "billingPeriod": terms.period,
            "startDate": text(sub.start),
            "trialEndDate": text(sub.trial_end),
            "cancellationDate": text(None if sub.is_over else sub.cancel_at),
            "cancelReason": sub.reason,
            "effectiveEndDate": text(sub.last),
            "currentBillingPeriodStart": None if period is None else text(period[0]),
            "currentBillingPeriodEnd": None if period is None else text(period[1]),
            "metadata": sub.metadata,
            "paymentCollection": sub.collection,
            "subTotal": None if subtotal is None else float(subtotal),
            "scheduled": sum(change.status == "Scheduled" for change in sub.waiting),
            "pendingPayment": sum(change.status == "PendingPayment" for change in sub.waiting),
        }

    def _active(self, customer_id: str, resource_id: Any = None) -> list[dict[str, Any]]:
        person = self.state.person(customer_id)
        wanted = [None] if resource_id is None else [resource_id] if isinstance(resource_id, str) else resource_id
        if len(wanted) > 100:
            raise refuse("InvalidArgumentError")
        return [
            self.subscription(sub)
            for sub in person.subs
            if sub.status() in ("ACTIVE", "IN_TRIAL") and sub.resource in wanted
        ]

    def _paywall(
        self,
        product_id: str | None = None,
        billing_country_code: str | None = None,
        include_hidden_plans: bool = False,
        customer_id: str | None = None,
    ) -> list[dict[str, Any]]:
        shelf = self.state.shelf
        if customer_id is not None:
            self.state.person(customer_id)
        if product_id is not None and product_id not in shelf.products:
            raise refuse("ProductNotFoundError")
        places = {item: place for place, item in enumerate(shelf.products)}
        plans = [
            plan
            for plan in shelf.plans.values()
            if plan.get("status", "PUBLISHED") == "PUBLISHED"
            and (include_hidden_plans or not plan.get("hidden"))
            and product_id in (None, plan["productId"])
        ]
        plans.sort(key=lambda plan: (places[plan["productId"]], plan.get("order", 0)))
        return [
            {
                "id": plan["id"],
                "own": sorted(item["featureId"] for item in plan.get("entitlements", ())),
                "inherited": sorted(item["featureId"] for item in shelf.versions[plan["id"]][-1]["inherited"]),
                "addons": list(plan.get("compatibleAddonIds", ())),
                "hasTrial": "defaultTrialConfig" in plan,
                "prices": len(
                    [
                        price
                        for period in ("MONTHLY", "ANNUALLY")
                        for price in pick(plan.get("prices", ()), period, billing_country_code)
                    ]
                ),
            }
            for plan in plans
        ]
