"""Credits: grants, recurring grants computed from a subscription, balance, burn order, overdraft.

Laws: consumed + remaining of the spendable grants and the debt is what was granted to them; a consumption touches
only grants spendable at its own time; burning in two steps equals burning at once; consumption is never refused.
Amounts are fixed point in the currency's scale. Source: semantics §10, §20.
"""

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from stigg_local.core.catalog import CreditEntitlement
from stigg_local.core.customer import CustomerSnapshot, SubscriptionSource
from stigg_local.core.hold import NOTHING, Hold, held_credits, held_ends
from stigg_local.core.period import FOREVER_MS, month_window
from stigg_local.core.quantity import EXACT, limit_to_raw, to_decimal
from stigg_local.core.sources import Catalog, contribution

_CADENCE_MONTHS = {"MONTH": 1, "YEAR": 12}


class Grant(Struct, frozen=True, array_like=True, gc=False):
    """One credit grant. `expire_ms` is exclusive; an overdraft has amount 0 and its debt as `consumed`.

    `source` is the subscription that a recurring grant comes from, else empty.
    """

    id: str
    currency_id: str
    resource_id: str
    grant_type: str
    amount: int
    consumed: int
    priority: int
    effective_ms: int
    expire_ms: int
    created_ms: int
    voided_ms: int | None = None
    cost: str | None = None
    source: str = ""

    @property
    def remaining(self) -> int:
        """What is left of it; negative for a debt."""
        return self.amount - self.consumed


class Wallet(Struct, frozen=True, gc=False):
    """A wallet at an instant: spendable grants and debt, in burn order, and when time alone changes it.

    What reservations hold counts as consumed, in `grants` too; `held` says how much of each that is.
    """

    grants: tuple[Grant, ...]
    granted: int
    consumed: int
    has_soft_limit: bool
    next_reset_ms: int | None
    valid_until_ms: int
    held: dict[str, int] = {}

    @property
    def remaining(self) -> int:
        """Granted less consumed, debt included: may be negative."""
        return self.granted - self.consumed


class Burn(Struct, frozen=True, gc=False):
    """What a consumption did: the grants that changed, and how much each gave."""

    changed: tuple[Grant, ...]
    taken: tuple[tuple[str, int], ...]


def burn_key(grant: Grant) -> tuple[int, int, bool, int, int, str]:
    """Priority, expiry (never last), promotional before paid, effective time, creation, id."""
    return (
        grant.priority,
        grant.expire_ms,
        grant.grant_type != "PROMOTIONAL",
        grant.effective_ms,
        grant.created_ms,
        grant.id,
    )


def is_spendable(grant: Grant, at_ms: int) -> bool:
    """True where the grant counts at the instant."""
    return grant.voided_ms is None and grant.effective_ms <= at_ms < grant.expire_ms


def recurring_grants(
    catalog: Catalog, snapshot: CustomerSnapshot, *, resource_id: str, currency_id: str | None, at_ms: int
) -> tuple[list[Grant], bool, int]:
    """The recurring grants that subscriptions give at an instant, whether any is soft, and when that changes.

    A grant's id is (subscription, currency, cadence, period index), so that computing it anywhere any number of
    times names the same grant.
    """
    grants: list[Grant] = []
    soft = False
    until = FOREVER_MS
    for source in snapshot.sources:
        if not isinstance(source, SubscriptionSource) or source.resource_id != resource_id or source.end_ms <= at_ms:
            continue
        if source.start_ms > at_ms:
            until = min(until, source.start_ms)
            continue
        until = min(until, source.end_ms)
        for (currency, cadence), (amount, is_soft) in _amounts(catalog, source).items():
            if currency_id is not None and currency != currency_id:
                continue
            soft |= is_soft
            step = _CADENCE_MONTHS[cadence]
            index, start, end = month_window(source.anchor_ms, at_ms, step)
            start = max(start, source.cut_ms)
            until = min(until, end)
            definition = catalog.currencies.get(currency)
            if definition is None:
                continue
            grants.append(
                Grant(
                    id=f"{source.subscription_id}:{currency}:{cadence}:{index}",
                    currency_id=currency,
                    resource_id=resource_id,
                    grant_type="RECURRING",
                    amount=limit_to_raw(amount, definition.scale),
                    consumed=0,
                    priority=0,
                    effective_ms=start,
                    expire_ms=min(end, source.end_ms) if _ends_for_good(snapshot, source) else end,
                    created_ms=start,
                    source=source.subscription_id,
                )
            )
    return grants, soft, until


def wallet(
    catalog: Catalog,
    snapshot: CustomerSnapshot,
    stored: Sequence[Grant],
    *,
    resource_id: str,
    currency_id: str,
    at_ms: int,
    holds: Sequence[Hold] = (),
    held_ms: int | None = None,
) -> Wallet:
    """The wallet of (customer, resource, currency) at an instant.

    Args:
        catalog: The compiled catalog.
        snapshot: The customer's sources; recurring grants come from them.
        stored: All stored grants of the customer, any resource and currency, any order. A stored recurring grant
            carries the most ever issued in its period and what was consumed of it.
        resource_id: The wallet's resource, empty for none.
        currency_id: The wallet's currency.
        at_ms: Epoch milliseconds UTC.
        holds: All stored reservations of the customer.
        held_ms: When they count, where that is another instant: what is held now cannot be spent late either.
    """
    computed, soft, until = recurring_grants(
        catalog, snapshot, resource_id=resource_id, currency_id=currency_id, at_ms=at_ms
    )
    fresh = {grant.id: grant for grant in computed}
    grants: list[Grant] = []
    for grant in stored:
        if grant.currency_id != currency_id or grant.resource_id != resource_id:
            continue
        issued = fresh.pop(grant.id, None)
        if grant.voided_ms is not None:
            continue
        if grant.effective_ms < at_ms and is_debt(grant):
            settled = settle_debt(catalog, snapshot, stored, grant, at_ms=at_ms, holds=holds)
            if settled.taken:
                now = {item.id: item for item in (*stored, *settled.changed)}
                return wallet(
                    catalog,
                    snapshot,
                    tuple(now.values()),
                    resource_id=resource_id,
                    currency_id=currency_id,
                    at_ms=at_ms,
                    holds=holds,
                    held_ms=held_ms,
                )
        if issued is not None:
            grants.append(_issued(grant, issued))
        elif grant.effective_ms > at_ms:
            until = min(until, grant.effective_ms)
        elif grant.expire_ms > at_ms:
            grants.append(grant)
    grants += fresh.values()
    grants.sort(key=burn_key)
    held = NOTHING
    if holds:
        held = held_credits(
            holds, currency_id=currency_id, resource_id=resource_id, at_ms=at_ms if held_ms is None else held_ms
        )
        until = min(until, held.until_ms)
        grants = [
            replace(grant, consumed=grant.consumed + held.parts[grant.id]) if grant.id in held.parts else grant
            for grant in grants
        ]
    resets = [grant.expire_ms for grant in grants if grant.grant_type == "RECURRING"]
    return Wallet(
        tuple(grants),
        sum(grant.amount for grant in grants),
        sum(grant.consumed for grant in grants) + held.short,
        soft,
        min(resets, default=None),
        min([until, *(grant.expire_ms for grant in grants)]),
        held.parts,
    )


def burn(grants: Sequence[Grant], cost: int, *, overdraft: Grant) -> Burn:
    """Consume credit from spendable grants in burn order; what none covers becomes debt.

    Args:
        grants: From `wallet`, in burn order, an existing overdraft among them.
        cost: Credits to consume, >= 0.
        overdraft: The debt to add to where there is none yet: amount 0, consumed 0.

    Returns:
        The changed grants. What was taken sums up to `cost`.

    Source: semantics §10.3, §10.4; vectors 12-credits, rows B1 to B5, O1 to O4.
    """
    rest = cost
    changed: list[Grant] = []
    taken: list[tuple[str, int]] = []
    for grant in grants:
        if rest == 0:
            break
        if grant.grant_type == "OVERDRAFT":
            overdraft = grant
            continue
        part = min(rest, grant.remaining)
        if part > 0:
            rest -= part
            changed.append(replace(grant, consumed=grant.consumed + part))
            taken.append((grant.id, part))
    if rest:
        overdraft = next((grant for grant in grants if grant.grant_type == "OVERDRAFT"), overdraft)
        changed.append(replace(overdraft, consumed=overdraft.consumed + rest))
        taken.append((overdraft.id, rest))
    assert sum(part for _, part in taken) == cost, "what is taken sums up to the cost"
    return Burn(tuple(changed), tuple(taken))


def hold_from(grants: Sequence[Grant], cost: int) -> tuple[tuple[str, int], ...]:
    """In which grants, in burn order, so many credits are held; what none has is missing in the sum."""
    rest = cost
    parts: list[tuple[str, int]] = []
    for grant in grants:
        part = 0 if grant.grant_type == "OVERDRAFT" else min(rest, grant.remaining)
        if part > 0:
            rest -= part
            parts.append((grant.id, part))
    return tuple(parts)


def without_held(burned: Burn, held: dict[str, int]) -> Burn:
    """A burn as it is stored: what is held in a grant is not consumed of it yet."""
    if not held:
        return burned
    return Burn(
        tuple(replace(grant, consumed=grant.consumed - held.get(grant.id, 0)) for grant in burned.changed),
        burned.taken,
    )


def settle_debt(
    catalog: Catalog,
    snapshot: CustomerSnapshot,
    stored: Sequence[Grant],
    debt: Grant,
    *,
    at_ms: int,
    holds: Sequence[Hold] = (),
) -> Burn:
    """Move a debt to everything that could be spent since it was looked at last, in the order of time.

    Nobody has to be there when a grant begins: what it would have taken of the debt is worked out afterwards.

    Args:
        catalog: The compiled catalog.
        snapshot: The sources since then.
        stored: All stored grants of the customer.
        debt: An overdraft with something consumed; its `effective_ms` is when it was looked at last.
        at_ms: Until when.
        holds: All stored reservations of the customer: what one held could be spent from its end on.

    Returns:
        The changed grants, the debt last: voided when nothing is left of it, else looked at now.
    """
    place = debt.currency_id, debt.resource_id
    takers = {
        grant.id: grant
        for grant in stored
        if (grant.currency_id, grant.resource_id) == place
        and grant.voided_ms is None
        and grant.grant_type != "OVERDRAFT"
    }
    voided = {grant.id for grant in stored if grant.voided_ms is not None}
    instant = debt.effective_ms
    while instant <= at_ms:
        computed, _, instant = recurring_grants(
            catalog, snapshot, resource_id=debt.resource_id, currency_id=debt.currency_id, at_ms=instant
        )
        for grant in computed:
            if grant.id not in voided:
                takers[grant.id] = _issued(takers.get(grant.id), grant)
    ends = held_ends(holds, currency_id=debt.currency_id, resource_id=debt.resource_id) if holds else {}
    turns: list[tuple[int, Grant, int]] = []
    for grant in takers.values():
        begin, free = max(debt.effective_ms, grant.effective_ms, grant.created_ms), grant.remaining
        for end_ms, part in ends.get(grant.id, ()):
            if end_ms > debt.effective_ms:
                free -= part
                turns.append((max(begin, end_ms), grant, part))
        turns.append((begin, grant, free))
    rest = debt.consumed
    moved: dict[str, int] = {}
    for turn_ms, grant, free in sorted(turns, key=lambda turn: (turn[0], burn_key(turn[1]))):
        part = min(rest, free) if turn_ms <= at_ms and turn_ms < grant.expire_ms else 0
        if part > 0:
            rest -= part
            moved[grant.id] = moved.get(grant.id, 0) + part
    changed = [replace(takers[key], consumed=takers[key].consumed + part) for key, part in moved.items()]
    changed.append(replace(debt, consumed=rest, effective_ms=at_ms, voided_ms=None if rest else at_ms))
    return Burn(tuple(changed), tuple(moved.items()))


def is_debt(grant: Grant) -> bool:
    """True for an overdraft that is owed."""
    return grant.grant_type == "OVERDRAFT" and grant.voided_ms is None and grant.consumed > 0


def _issued(known: Grant | None, computed: Grant) -> Grant:
    """A recurring grant as it stands: the most that was ever issued of it in its period."""
    if known is None:
        return computed
    return replace(known, amount=max(known.amount, computed.amount), expire_ms=computed.expire_ms)


def overdraft_of(currency_id: str, resource_id: str, *, at_ms: int, new_id: str) -> Grant:
    """An empty overdraft of a wallet."""
    return Grant(new_id, currency_id, resource_id, "OVERDRAFT", 0, 0, 2**31, at_ms, FOREVER_MS, at_ms)


def _ends_for_good(snapshot: CustomerSnapshot, source: SubscriptionSource) -> bool:
    """False where the same subscription goes on in its next interval, as a trial that converts does."""
    return not any(
        isinstance(other, SubscriptionSource)
        and other.subscription_id == source.subscription_id
        and other.start_ms == source.end_ms
        for other in snapshot.sources
    )


def _amounts(catalog: Catalog, source: SubscriptionSource) -> dict[tuple[str, str], tuple[Decimal, bool]]:
    """(currency, cadence) -> (credits a period, soft): plan and increments, or the largest override."""
    sums: dict[tuple[str, str], Decimal] = {}
    overrides: dict[tuple[str, str], Decimal] = {}
    soft: dict[tuple[str, str], bool] = {}
    custom = {
        (currency, cadence): to_decimal(amount, name="amount") for currency, amount, cadence in source.custom_credits
    }
    for index, (package_id, version, quantity) in enumerate(source.packages):
        package = catalog.packages.get((package_id, version))
        for entitlement in () if package is None else package.credits:
            key: tuple[str, str] = (entitlement.currency_id, entitlement.cadence)
            amount = EXACT.multiply(stated_amount(catalog, source, entitlement), quantity)
            if index == 0 and key in custom:
                amount = Decimal(0)
            soft[key] = soft.get(key, False) or entitlement.has_soft_limit
            if index > 0 and entitlement.behavior == "Override":
                overrides[key] = max(overrides.get(key, Decimal(0)), amount)
            else:
                sums[key] = EXACT.add(sums.get(key, Decimal(0)), amount)
    for key, amount in custom.items():
        sums[key] = EXACT.add(sums.get(key, Decimal(0)), amount)
    amounts = {
        key: (overrides.get(key, sums.get(key, Decimal(0))), soft.get(key, False)) for key in {**sums, **overrides}
    }
    return {key: value for key, value in amounts.items() if value[0] > 0}


def stated_amount(catalog: Catalog, source: SubscriptionSource, entitlement: CreditEntitlement) -> Decimal:
    """What an entitlement comes to for one of its package: its amount, times the units that it depends on."""
    amount = to_decimal(entitlement.amount, name="amount")
    if entitlement.dependency_feature_id is None:
        return amount
    feature = catalog.features.get(entitlement.dependency_feature_id)
    seats = None if feature is None else contribution(catalog, source, feature)
    if seats is None or seats.is_unlimited or seats.limit is None:
        return Decimal(0)
    return EXACT.multiply(amount, to_decimal(seats.limit, name="limit"))
