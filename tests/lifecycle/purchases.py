"""The model's commands on subscriptions. A caller copies everything before, and puts it back where one refuses."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.lifecycle.course import PAY_WITHIN
from tests.lifecycle.orders import Orders
from tests.lifecycle.record import Change, Charge, Owed, Person, Sub, ms, period_at
from tests.lifecycle.shelf import Shelf, currency_of, refuse, rounded

WAITS = ("PROCESSING", "ACTION_REQUIRED", "FAILED")


class Purchases(Orders):
    """Buying, changing, ending, paying."""

    def __init__(self, shelf: Shelf, now: int, script: Sequence[str] | None) -> None:
        super().__init__(shelf, now, has_provider=script is not None)
        self.script = list(script or ())
        self.charges: list[Charge] = []
        self.checkouts: dict[str, dict[str, Any]] = {}
        self.count = 0

    # ------------------------------------------------------------------ looking up

    def person(self, customer: str) -> Person:
        person = self.people.get(customer)
        if person is None or person.is_archived:
            raise refuse("CustomerNotFound")
        return person

    def find(self, sub_id: str) -> tuple[Person, Sub]:
        for person in self.people.values():
            for sub in person.subs:
                if sub.id == sub_id:
                    return person, sub
        raise refuse("SubscriptionNotFound")

    def alive(self, sub_id: str) -> tuple[Person, Sub]:
        person, sub = self.find(sub_id)
        if sub.is_over:
            raise refuse("SubscriptionAlreadyCanceledOrExpired")
        return person, sub

    # ------------------------------------------------------------------ buying

    def provision(
        self, customer: str, plan_id: str, *, is_paid: bool = False, **asked: Any
    ) -> tuple[str, Sub | None, str | None]:
        """(status, subscription, checkout URL); `is_paid`: a checkout has been paid, nothing is collected."""
        person = self.person(customer)
        plan = self.shelf.plans.get(plan_id)
        if plan is None:
            raise refuse("PlanNotFound")
        if plan.get("status", "PUBLISHED") != "PUBLISHED":
            raise refuse("UnPublishedPackage")
        product, resource = plan["productId"], asked.get("resource_id")
        if (resource is not None) != self.shelf.products[product].get("multipleSubscriptions", False):
            raise refuse("InvalidArgumentError")
        start = self.now if asked.get("start_date") is None else ms(asked["start_date"])
        trial = self._trial(person, plan, resource, start, asked)
        terms = self._terms(plan, asked, is_trial=trial is not None)
        code = asked.get("promotion_code")
        self.count += 1
        sub = Sub(
            id=f"sub-{self.count}",
            customer=customer,
            product=product,
            terms=terms,
            created=self.now,
            start=start,
            anchor=start,
            usage_anchor=start,
            cut=start,
            resource=resource,
            trial_end=trial[0] if trial else None,
            behavior=trial[1] if trial else None,
            is_trial=trial is not None,
            re_anchors=asked.get("billing_cycle_anchor") == "NOW",
            metadata=asked.get("metadata") or None,
            coupon=None if code is None else self._redeem(code),
        )
        if resource is not None and resource not in person.resources:
            person.resources.append(resource)
        person.updated = self.now
        current = next((mate for mate in self.mates(person, sub) if mate.runs and not mate.is_trial), None)
        converts = any(mate.runs and mate.is_trial and mate.terms.plan == plan_id for mate in self.mates(person, sub))
        if converts:
            is_up = True
        elif not sub.is_trial and start == self.now and current is not None:
            is_up = self._is_up(current.terms, terms)
            at = self._deferred(current, is_up, asked.get("schedule_strategy"))
            if at is not None:
                if not is_up:
                    current.cancel_at = None
                self._schedule(
                    current, Change("plan", "Scheduled", terms, at, sub.re_anchors, sub.metadata, sub.coupon)
                )
                return "Success", current, None
        else:
            is_up = True
        if is_paid or not self.has_provider or sub.is_trial or start != self.now or not is_up:
            self._enter(person, sub)
            return "Success", sub, None
        return self._buy(person, sub, current, {**asked, "customer": customer, "plan_id": plan_id})

    def _enter(self, person: Person, sub: Sub) -> None:
        person.subs.append(sub)
        if sub.start <= self.now:
            self.begin(person, sub, sub.start)

    def _buy(
        self, person: Person, sub: Sub, current: Sub | None, asked: dict[str, Any]
    ) -> tuple[str, Sub | None, str | None]:
        amount = self._price_of_entering(sub, current)
        amount -= self._discount(person, sub, amount)
        currency = currency_of(self.shelf, sub.terms.plan, sub.terms.version, sub.terms.period, sub.terms.country)
        reason = "NEW" if current is None else "UPDATE"
        outcome = self._collect(amount, currency or "USD", reason) if amount > 0 else "PAID"
        if outcome == "CHECKOUT":
            url = f"checkout-{self.count}"
            self.checkouts[url] = asked
            return "PaymentRequired", None, url
        if outcome in WAITS and current is not None:
            current.collection = outcome
            current.waiting.append(
                Change("plan", "PendingPayment", sub.terms, None, sub.re_anchors, sub.metadata, sub.coupon)
            )
            return "Success", current, None
        if outcome in WAITS:
            sub.collection, sub.pending_until, sub.is_started = outcome, self.now + PAY_WITHIN, True
            person.subs.append(sub)
        else:
            self._enter(person, sub)
        return "Success", sub, None

    def _price_of_entering(self, sub: Sub, current: Sub | None) -> Decimal:
        new = self.lines_of(sub.terms)
        period = None if current is None else self.period(current, self.now)
        if current is None or period is None:
            return sum((rounded(line, "USD") for line in new.values()), Decimal(0))
        keeps = current.terms.period == sub.terms.period and not sub.re_anchors
        return self._net(self.lines_of(current.terms), new, period, full=not keeps)

    def _net(
        self, old: Mapping[str, Fraction], new: Mapping[str, Fraction], period: tuple[int, int], *, full: bool
    ) -> Decimal:
        """Unused old lines credited, new lines debited: in full, or for what remains of the period."""
        rest = Fraction((period[1] - self.now) // 1000, (period[1] - period[0]) // 1000)
        net = Decimal(0)
        for line in {**old, **new}:
            before, after = old.get(line, Fraction(0)), new.get(line, Fraction(0))
            if before == after and not full:
                continue
            net += rounded(after * (1 if full else rest), "USD") - rounded(before * rest, "USD")
        return net

    def _discount(self, person: Person, sub: Sub, amount: Decimal) -> Decimal:
        coupon = self.shelf.coupons.get(sub.coupon or person.coupon or "")
        if coupon is None or amount <= 0:
            return Decimal(0)
        if coupon["type"] == "PERCENTAGE":
            return rounded(Fraction(amount) * Fraction(coupon["percentOff"]) / 100, "USD")
        return min(amount, Decimal(coupon["amountsOff"][0]["amount"]))

    def _collect(self, amount: Decimal, currency: str, reason: str) -> str:
        self.charges.append(Charge(amount, currency, reason))
        return self.script.pop(0) if self.script else "PAID"

    # ------------------------------------------------------------------ up or down, now or later

    def _deferred(self, sub: Sub, is_up: bool, strategy: str | None = None) -> int | None:
        """When the change takes place; None: now."""
        period = self.period(sub, self.now)
        if period is None or strategy == "IMMEDIATE":
            return None
        if strategy == "END_OF_BILLING_MONTH":
            return period_at(sub.anchor, 1, self.now)[1]
        is_late = not is_up and self.shelf.settings(sub.product)["downgradeTime"] == "END_OF_BILLING_PERIOD"
        return period[1] if strategy == "END_OF_BILLING_PERIOD" or is_late else None

    def _schedule(self, sub: Sub, change: Change) -> None:
        self._unschedule(sub)
        sub.waiting.append(change)

    def _unschedule(self, sub: Sub) -> None:
        sub.waiting = [change for change in sub.waiting if change.status != "Scheduled"]

    # ------------------------------------------------------------------ changing

    def update(self, sub_id: str, **asked: Any) -> Sub:
        """A patch: absent keeps."""
        person, sub = self.alive(sub_id)
        if "metadata" in asked:
            given = asked["metadata"]
            sub.metadata = None if given is None else {**(sub.metadata or {}), **given}
        if asked.get("promotion_code") is not None:
            sub.coupon = self._redeem(asked["promotion_code"])
        if "trial_end_date" in asked and sub.is_trial:
            sub.trial_end, sub.cancel_at = ms(asked["trial_end_date"]), None
            sub.anchor = sub.trial_end
        if "cancellation_date" in asked:
            self._set_cancellation(sub, asked["cancellation_date"])
        if {"billable_features", "addons", "billing_period", "billing_cycle_anchor"} & set(asked):
            self._change(person, sub, asked)
        person.updated = self.now
        return sub

    def _set_cancellation(self, sub: Sub, date: str | None) -> None:
        at = None if date is None else ms(date)
        if at is not None and (at <= self.now or at <= sub.start):
            raise refuse("InvalidCancellationDate")
        sub.cancel_at, sub.action = at, "DEFAULT"
        if at is not None and sub.is_trial and sub.trial_end is not None and at > sub.trial_end:
            sub.trial_end = sub.anchor = at

    def _change(self, person: Person, sub: Sub, asked: Mapping[str, Any]) -> None:
        old = sub.terms
        plan = self.shelf.versions[old.plan][old.version]
        prices = plan.get("prices", ())
        period = (asked.get("billing_period") or old.period) if plan.get("pricingType", "FREE") != "FREE" else None
        if prices and period is not None and period not in {price["billingPeriod"] for price in prices}:
            raise refuse("PriceNotFound")
        kept = [{"addon_id": addon, "quantity": quantity} for addon, (quantity, _, _) in old.addons.items()]
        listed = (asked["addons"] or ()) if "addons" in asked else kept
        addons = {
            addon: (item[0], *old.addons[addon][1:]) if addon in old.addons else item
            for addon, item in self.addons(plan, listed, period).items()
        }
        units = self.units(plan, asked.get("billable_features") or (), period, old.country, old.units)
        new = replace(old, period=period, addons=addons, units=units)
        re_anchors = asked.get("billing_cycle_anchor") == "NOW"
        plan_change = next((item for item in sub.waiting if (item.kind, item.status) == ("plan", "Scheduled")), None)
        is_up = self._is_up(old, new)
        if plan_change is not None and set(asked) <= {"subscription_id", "billable_features"} and is_up:
            plan_change.terms = replace(plan_change.terms, units=units)
        else:
            self._unschedule(sub)
        if new == old and not re_anchors:
            return
        at = self._deferred(sub, is_up)
        if at is not None:
            if not is_up:
                sub.cancel_at = None
            self._schedule(sub, Change("update", "Scheduled", new, at, re_anchors))
            return
        running = self.period(sub, self.now)
        if self.has_provider and running is not None:
            full = re_anchors or new.period != old.period
            amount = self._net(self.lines_of(old), self.lines_of(new), running, full=full)
            amount -= self._discount(person, sub, amount)
            outcome = self._collect(amount, "USD", "UPDATE") if is_up and amount > 0 else "PAID"
            if outcome != "PAID":
                sub.collection = outcome
                sub.waiting.append(Change("update", "PendingPayment", new, None, re_anchors))
                return
        self.put_terms(sub, new, self.now, re_anchors=re_anchors)

    def migrate(self, sub_id: str, *, subscription_migration_time: str = "END_OF_BILLING_PERIOD") -> Sub:
        """To the latest version, entitlements and prices."""
        _, sub = self.alive(sub_id)
        latest = self.shelf.latest
        terms = sub.terms
        if any(change.kind == "migrate" for change in sub.waiting):
            raise refuse("ScheduledMigrationAlreadyExistsError")
        is_latest = {terms.version, terms.price_version} == {latest(terms.plan)}
        if is_latest and all({*item[1:]} == {latest(addon)} for addon, item in terms.addons.items()):
            raise refuse("SubscriptionAlreadyOnLatestPlanError")
        period = self.period(sub, self.now)
        change = Change("migrate", "Scheduled", terms, None if period is None else period[1])
        if change.at is not None and subscription_migration_time == "END_OF_BILLING_PERIOD":
            self._schedule(sub, change)
        else:
            self._unschedule(sub)
            old = self.lines_of(terms)
            self.carry_out(sub, change, self.now)
            if self.has_provider and period is not None:
                amount = self._net(old, self.lines_of(sub.terms), period, full=False)
                if amount > 0:
                    self._collect(amount, "USD", "UPDATE")
        return sub

    def cancel(
        self, sub_id: str, *, cancellation_time: str | None = None, end_date: str | None = None, **asked: Any
    ) -> Sub:
        """Now, at the end of the billing period, or on a date."""
        person, sub = self.alive(sub_id)
        time = cancellation_time or self.shelf.settings(sub.product)["subscriptionCancellationTime"]
        period = self.period(sub, self.now)
        action = asked.get("action", "DEFAULT")
        if cancellation_time == "END_OF_BILLING_PERIOD":
            if sub.is_trial:
                raise refuse("TrialMustBeCancelledImmediately")
            if self.pricing(sub.terms) == "CUSTOM":
                raise refuse("SchedulingAtEndOfBillingPeriod")
        if time == "SPECIFIC_DATE":
            if end_date is None:
                raise refuse("InvalidArgumentError")
            self._set_cancellation(sub, end_date)
            sub.action = action
        elif time == "END_OF_BILLING_PERIOD" and period is not None and sub.runs:
            sub.cancel_at, sub.action = period[1], action
        else:
            self.finish(person, sub, self.now, "Immediate", action)
        return sub

    def cancel_updates(self, sub_id: str, *, status: str = "Scheduled") -> Sub:
        """Drop every waiting update of a status."""
        _, sub = self.alive(sub_id)
        if not any(change.status == status for change in sub.waiting):
            raise refuse("FutureUpdateNotFound")
        sub.waiting = [change for change in sub.waiting if change.status != status]
        return sub

    # ------------------------------------------------------------------ paying

    def settle(self, subject: str, outcome: str, *, error_message: str | None = None) -> None:
        """What a biller says later about a subscription or a checkout."""
        if subject in self.checkouts:
            if outcome == "PAID":
                asked = dict(self.checkouts.pop(subject))
                self.provision(asked.pop("customer"), asked.pop("plan_id"), is_paid=True, **asked)
            return
        person, sub = self.alive(subject)
        if outcome != "PAID":
            sub.collection, sub.error = "FAILED", error_message
            return
        is_open = sub.pending_until is not None or any(item.status == "PendingPayment" for item in sub.waiting)
        if not is_open and sub.collection == "NOT_REQUIRED":
            raise refuse("InvalidSubscriptionStatus")
        sub.collection, sub.error = "NOT_REQUIRED", None
        if sub.pending_until is not None:
            sub.pending_until = None
            if sub.trial_end is None:
                anchor = sub.anchor
                self.begin(person, sub, self.now)
                sub.anchor = anchor
        for change in [item for item in sub.waiting if item.status == "PendingPayment"]:
            sub.waiting.remove(change)
            self.carry_out(sub, change, self.now)

    def tick(self) -> None:
        """Collect what time alone made due: trials that became paid, starts, renewals."""
        if not self.has_provider:
            return
        for person in self.people.values():
            for sub in person.subs:
                period = self.period(sub, self.now)
                if sub.runs and period is not None and sub.paid_until and period[0] >= sub.paid_until:
                    self.owed.append(Owed(sub.id, period[0], "RENEWAL"))
                if sub.runs and period is not None:
                    sub.paid_until = period[1]
        for owed in self.owed:
            person, sub = self.find(owed.sub)
            if sub.is_over:
                continue
            amount = rounded(self.subtotal(sub.terms), "USD")
            amount -= self._discount(person, sub, amount)
            outcome = self._collect(amount, "USD", owed.reason)
            if outcome != "PAID":
                sub.collection = outcome
                if owed.reason != "RENEWAL":
                    sub.pending_until = owed.at + PAY_WITHIN
        self.owed = []
