"""How the model's time passes: from one boundary to the next, in the order of semantics 19.17."""

from fractions import Fraction

from tests.lifecycle.record import Change, Owed, Person, Sub, Terms, period_at
from tests.lifecycle.shelf import Shelf, lines

PAY_WITHIN = 23 * 3_600_000
CANCEL, CHANGE, TRIAL_END, START = range(4)
Boundary = tuple[int, int, int, Sub, Change | None]


class Course:
    """Customers, a catalog and an instant; `pass_time` applies all that happens until another."""

    def __init__(self, shelf: Shelf, now: int, *, has_provider: bool = False) -> None:
        self.shelf = shelf
        self.people: dict[str, Person] = {}
        self.now = now
        self.has_provider = has_provider
        self.owed: list[Owed] = []

    def pass_time(self, to: int) -> None:
        """Apply every boundary until the instant, it included."""
        for person in self.people.values():
            while boundaries := self._boundaries(person, to):
                self._cross(person, min(boundaries, key=lambda item: item[:3]))
        self.now = to

    def _boundaries(self, person: Person, to: int) -> list[Boundary]:
        found: list[Boundary] = []
        for number, sub in enumerate(person.subs):
            if sub.is_over:
                continue
            for at in (sub.cancel_at, sub.pending_until):
                if at is not None:
                    found.append((at, CANCEL, number, sub, None))
            found += [
                (change.at, CHANGE, number, sub, change)
                for change in sub.waiting
                if change.at is not None and change.status == "Scheduled"
            ]
            if sub.is_started and sub.is_trial and sub.trial_end is not None:
                found.append((sub.trial_end, TRIAL_END, number, sub, None))
            if not sub.is_started and sub.pending_until is None:
                found.append((sub.start, START, number, sub, None))
        return [boundary for boundary in found if boundary[0] <= to]

    def _cross(self, person: Person, boundary: Boundary) -> None:
        at, kind, _, sub, change = boundary
        if kind == CANCEL and sub.pending_until == at:
            sub.end, sub.reason = at, "PendingPaymentExpired"
        elif kind == CANCEL:
            self.finish(person, sub, at, "ScheduledCancellation", sub.action)
        elif kind == CHANGE:
            assert change is not None
            sub.waiting.remove(change)
            self.carry_out(sub, change, at)
        elif kind == TRIAL_END and sub.behavior == "CANCEL_SUBSCRIPTION":
            self.finish(person, sub, at, "TrialEnded")
        elif kind == TRIAL_END:
            self._convert(person, sub, at)
        else:
            self.begin(person, sub, at)
            if not sub.is_trial:
                self._owe(sub, at, "START")

    # ------------------------------------------------------------------ ends

    def finish(self, person: Person, sub: Sub, at: int, reason: str, action: str = "DEFAULT") -> None:
        """End it; the product's free plan follows where the rules say so."""
        was = sub.status()
        sub.end, sub.reason, sub.waiting = at, reason, []
        settings = self.shelf.settings(sub.product)
        free = settings.get("downgradePlanId")
        if (
            settings["subscriptionEndSetup"] != "DOWNGRADE_TO_FREE"
            or free in (None, sub.terms.plan)
            or action == "REVOKE_ENTITLEMENTS"
            or was not in ("ACTIVE", "IN_TRIAL")
            or any(self._fills(other, at) for other in self.mates(person, sub))
        ):
            return
        latest = self.shelf.latest(free)
        heir = Sub(
            id=f"{sub.id}-downgrade",
            customer=person.id,
            product=sub.product,
            terms=Terms(free, latest, latest),
            created=at,
            start=at,
            anchor=at,
            usage_anchor=at,
            cut=at,
            resource=sub.resource,
            is_started=True,
        )
        self._inherit_usage(sub, heir, at)
        person.subs.append(heir)

    def _fills(self, other: Sub, at: int) -> bool:
        """Whether another one is the non-trial subscription at the instant, so that no free plan is needed."""
        if other.is_over or other.pending_until is not None:
            return False
        if other.is_trial:
            return other.is_started and other.trial_end == at and other.behavior == "CONVERT_TO_PAID"
        return other.is_started or other.start == at

    def mates(self, person: Person, sub: Sub) -> list[Sub]:
        """The others of the same product and resource that are not over."""
        place = sub.product, sub.resource
        return [
            other
            for other in person.subs
            if other is not sub and (other.product, other.resource) == place and not other.is_over
        ]

    # ------------------------------------------------------------------ starts

    def begin(self, person: Person, sub: Sub, at: int) -> None:
        """It starts: what it replaces ends at that instant, not before its own start."""
        sub.is_started = True
        replaced: list[Sub] = []
        for mate in self.mates(person, sub):
            if not mate.is_started:
                continue
            if sub.is_trial:
                is_replaced, reason = mate.is_trial, "UpgradeOrDowngrade"
            elif mate.is_trial:
                is_replaced, reason = mate.terms.plan == sub.terms.plan, "TrialConverted"
            else:
                is_replaced, reason = True, "UpgradeOrDowngrade"
            if is_replaced:
                was_pending = mate.pending_until is not None
                mate.end, mate.reason, mate.waiting = max(at, mate.start), reason, []
                if not was_pending:
                    replaced.append(mate)
        # A trial that is bought is what goes on, also where it ends a paid one beside it.
        replaced.sort(key=lambda mate: not mate.is_trial)
        previous = replaced[0] if replaced else None
        sub.anchor = at
        if sub.is_trial and sub.trial_end is not None:
            sub.anchor = sub.trial_end
        elif (
            previous is not None
            and not sub.re_anchors
            and self.cycle(previous) is not None
            and self.is_paid(sub.terms)
            and previous.terms.period == sub.terms.period
        ):
            sub.anchor = previous.anchor
        sub.usage_anchor = sub.cut = at
        if previous is not None:
            self._inherit_usage(previous, sub, at)

    def _inherit_usage(self, previous: Sub, sub: Sub, at: int) -> None:
        rule = self.shelf.settings(sub.product)["usageResetOnPlanChange"]
        same_cycle = not sub.re_anchors and self._usage_cycle(previous) == self._usage_cycle(sub)
        if previous.is_over and sub.id == f"{previous.id}-downgrade":
            same_cycle = self.cycle(previous) is None
        buys_again = previous.terms.plan == sub.terms.plan and not previous.is_trial and same_cycle
        if rule == "NEVER_RESET" or buys_again or (rule == "BILLING_PERIOD_CHANGE" and same_cycle):
            sub.usage_anchor, sub.cut = previous.usage_anchor, previous.cut
        else:
            sub.usage_anchor = sub.cut = at

    def _convert(self, person: Person, sub: Sub, at: int) -> None:
        for mate in self.mates(person, sub):
            if mate.is_started and not mate.is_trial:
                mate.end, mate.reason, mate.waiting = at, "UpgradeOrDowngrade", []
        sub.is_trial, sub.anchor = False, at
        if sub.terms.period is None:
            prices = self.shelf.versions[sub.terms.plan][sub.terms.price_version].get("prices", ())
            periods = [price["billingPeriod"] for price in prices]
            sub.terms.period = "MONTHLY" if "MONTHLY" in periods else next(iter(periods), None)
        self._owe(sub, at, "TRIAL_END")

    def _owe(self, sub: Sub, at: int, reason: str) -> None:
        if self.has_provider and self.subtotal(sub.terms) > 0:
            self.owed.append(Owed(sub.id, at, reason))

    # ------------------------------------------------------------------ changes in place

    def carry_out(self, sub: Sub, change: Change, at: int) -> None:
        """An update that waited: id, start date and usage anchor stay; versions are those of now."""
        terms, latest = change.terms, self.shelf.latest
        old = sub.terms
        if change.kind in ("plan", "migrate"):
            addons = {addon: (item[0], latest(addon), latest(addon)) for addon, item in terms.addons.items()}
            terms = Terms(
                terms.plan,
                latest(terms.plan),
                latest(terms.plan),
                terms.period,
                terms.country,
                terms.units,
                addons,
                terms.custom,
            )
        else:
            addons = {
                addon: (quantity, *(old.addons[addon][1:] if addon in old.addons else (latest(addon), latest(addon))))
                for addon, (quantity, _, _) in terms.addons.items()
            }
            terms = Terms(
                old.plan,
                old.version,
                old.price_version,
                terms.period,
                terms.country,
                terms.units,
                addons,
                old.custom,
            )
        if change.metadata is not None:
            sub.metadata = {**(sub.metadata or {}), **change.metadata}
        sub.coupon = change.coupon or sub.coupon
        self.put_terms(sub, terms, at, re_anchors=change.re_anchors)

    def put_terms(self, sub: Sub, terms: Terms, at: int, *, re_anchors: bool = False) -> None:
        """Take new terms in place: usage may start at zero, but its anchor stays; another period is another cycle."""
        at = max(at, sub.start)
        before, old_plan = self.cycle(sub), sub.terms.plan
        is_new = re_anchors or terms.period != sub.terms.period or before is None
        sub.terms = terms
        after = self.cycle(sub)
        if after is not None and is_new:
            sub.anchor = at
        is_other_cycle = (before is None) != (after is None) or (after is not None and is_new)
        rule = self.shelf.settings(sub.product)["usageResetOnPlanChange"]
        if (rule == "ALWAYS_RESET" and (is_other_cycle or terms.plan != old_plan)) or (
            rule == "BILLING_PERIOD_CHANGE" and is_other_cycle
        ):
            sub.cut = at

    # ------------------------------------------------------------------ facts

    def pricing(self, terms: Terms) -> str:
        """FREE, PAID or CUSTOM."""
        return str(self.shelf.versions[terms.plan][terms.version].get("pricingType", "FREE"))

    def is_paid(self, terms: Terms) -> bool:
        return self.pricing(terms) == "PAID"

    def cycle(self, sub: Sub) -> tuple[str | None, int] | None:
        """The billing cycle; a trial, a free and a custom subscription have none."""
        if sub.is_trial or not self.is_paid(sub.terms):
            return None
        return sub.terms.period, sub.anchor

    def _usage_cycle(self, sub: Sub) -> tuple[str | None, int] | None:
        """What another billing period is told by: a contract may name one, though no period runs."""
        if sub.is_trial:
            return None
        return self.cycle(sub) or (sub.terms.period, 0)

    def period(self, sub: Sub, at: int) -> tuple[int, int] | None:
        """The billing period that runs at the instant."""
        if not sub.runs or self.cycle(sub) is None or sub.terms.period is None:
            return None
        return period_at(sub.anchor, 12 if sub.terms.period == "ANNUALLY" else 1, at)

    def lines_of(self, terms: Terms) -> dict[str, Fraction]:
        return lines(
            self.shelf,
            terms.plan,
            terms.price_version,
            terms.period,
            terms.country,
            terms.units,
            terms.addons,
        )

    def subtotal(self, terms: Terms) -> Fraction:
        """What one billing period costs before discounts."""
        return sum(self.lines_of(terms).values(), Fraction(0))
