"""A slow model of one customer's usage, reservations and wallet that keeps whole lists and does everything at once.

It shares nothing with the engine. Where the engine works out afterwards what happened meanwhile, the model walks from
one instant to the next and does it there: a reservation that ends, a grant that begins or expires.
"""

from dataclasses import dataclass, field

FOREVER = 10**15
LIMITS = {"feature-calls": 10, "feature-tokens": 8, "feature-images": None}
RATES = {"feature-calls": 0, "feature-tokens": 2, "feature-images": 10}
EXCEEDS, INSUFFICIENT = "RequestedUsageExceedsLimit", "InsufficientCredits"


@dataclass
class Grant:
    name: int
    amount: int
    priority: int
    start: int
    end: int
    created: int
    consumed: int = 0
    held: int = 0
    is_voided: bool = False

    @property
    def left(self) -> int:
        return self.amount - self.consumed - self.held

    def is_spendable(self, at: int) -> bool:
        return not self.is_voided and self.start <= at < self.end


@dataclass
class Hold:
    feature: str | None
    amount: int
    start: int
    end: int
    cost: int
    parts: list[tuple[Grant, int]]
    is_open: bool = True
    settled: int | None = None

    @property
    def short(self) -> int:
        return self.cost - sum(part for _, part in self.parts)


@dataclass
class World:
    """Everything about one customer; times are milliseconds, `months` the starts of the usage windows."""

    now: int
    months: list[int]
    log: list[tuple[str, int, int]] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    debt: int = 0

    # ------------------------------------------------------------------ time

    def advance(self, to: int) -> None:
        """Stop at every instant at which something begins or ends."""
        instants = {hold.end for hold in self.holds if hold.is_open}
        instants |= {instant for grant in self.grants for instant in (grant.start, grant.end)}
        for instant in sorted(instant for instant in instants if self.now < instant <= to):
            self.now = instant
            for hold in self.holds:
                if hold.is_open and hold.end == instant:
                    self.close(hold)
            self.pay_debt()
        self.now = to

    def close(self, hold: Hold) -> None:
        hold.is_open = False
        for grant, part in hold.parts:
            grant.held -= part

    def pay_debt(self) -> None:
        for grant in self.in_order(self.now):
            part = min(self.debt, max(0, grant.left))
            self.debt -= part
            grant.consumed += part

    # ------------------------------------------------------------------ numbers

    def in_order(self, at: int) -> list[Grant]:
        found = [grant for grant in self.grants if grant.is_spendable(at)]
        return sorted(found, key=lambda grant: (grant.priority, grant.end, grant.start, grant.created, grant.name))

    def window(self, feature: str, at: int) -> tuple[int, int]:
        if feature != "feature-calls":
            return 0, FOREVER
        start = max(month for month in self.months if month <= at)
        return start, min([month for month in self.months if month > at], default=FOREVER)

    def used(self, feature: str) -> int:
        start, end = self.window(feature, self.now)
        return sum(value for name, value, at in self.log if name == feature and start <= at < end)

    def reserved(self, feature: str) -> int:
        start, end = self.window(feature, self.now)
        return sum(
            hold.amount
            for hold in self.holds
            if hold.is_open and hold.feature == feature and start <= hold.start < end
        )

    def balance(self) -> int:
        left = sum(grant.left for grant in self.grants if grant.is_spendable(self.now))
        return left - self.debt - sum(hold.short for hold in self.holds if hold.is_open)

    def refusal(self, feature: str | None, amount: int) -> str | None:
        if feature is not None:
            limit = LIMITS[feature]
            if limit is not None and self.used(feature) + self.reserved(feature) + amount > limit:
                return EXCEEDS
        cost = self.cost(feature, amount)
        if (feature is None or RATES[feature]) and cost > self.balance():
            return INSUFFICIENT
        return None

    @staticmethod
    def cost(feature: str | None, amount: int) -> int:
        return amount if feature is None else RATES[feature] * amount

    # ------------------------------------------------------------------ commands

    def consume(self, feature: str | None, amount: int) -> str | None:
        reason = self.refusal(feature, amount)
        if reason is None:
            self.record(feature, amount, self.now)
        return reason

    def record(self, feature: str | None, amount: int, at: int) -> None:
        if feature is not None:
            self.log.append((feature, amount, at))
        self.burn(self.cost(feature, amount), at)

    def burn(self, cost: int, at: int) -> None:
        for grant in self.in_order(at):
            part = min(cost, max(0, grant.left))
            grant.consumed += part
            cost -= part
        self.debt += cost
        self.pay_debt()

    def reserve(self, feature: str | None, amount: int, ttl: int) -> tuple[str | None, Hold | None]:
        reason = self.refusal(feature, amount)
        if reason is not None:
            return reason, None
        rest, parts = self.cost(feature, amount), []
        for grant in self.in_order(self.now):
            part = min(rest, max(0, grant.left))
            if part:
                grant.held += part
                parts.append((grant, part))
                rest -= part
        hold = Hold(feature, amount, self.now, self.now + ttl, self.cost(feature, amount), parts)
        self.holds.append(hold)
        return None, hold

    def settle(self, hold: Hold, actual: int) -> bool:
        """Whether it is settled now; a repeat with another amount is a conflict."""
        if hold.settled is not None:
            return hold.settled == actual
        hold.settled = actual
        cost, was_open = self.cost(hold.feature, actual), hold.is_open
        if was_open:
            self.close(hold)
        if hold.feature is not None and actual:
            self.log.append((hold.feature, actual, hold.start))
        for grant, part in hold.parts if was_open else []:
            taken = min(cost, part)
            grant.consumed += taken
            cost -= taken
        self.burn(cost, hold.start)
        return True

    def release(self, hold: Hold) -> None:
        if hold.is_open:
            self.close(hold)
            self.pay_debt()

    def grant(self, name: int, amount: int, priority: int, start: int, end: int) -> Grant:
        grant = Grant(name, amount, priority, start, end, self.now)
        self.grants.append(grant)
        self.pay_debt()
        return grant

    def void(self, grant: Grant) -> str | None:
        if grant.end <= self.now:
            return "CreditGrantCannotBeVoided"
        if grant.is_voided:
            return "CreditGrantAlreadyVoided"
        grant.is_voided = True
        return None
