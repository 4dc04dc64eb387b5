"""Where the credits of a wallet come from: its grants in burn order, and what plans and add-ons state of them.

Law: balance and order are those of `wallet`; nothing is worked out anew.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal

from stigg_local.core.catalog import CreditCurrency, CreditEntitlement
from stigg_local.core.credit import Grant, Wallet, burn_key, is_spendable, stated_amount
from stigg_local.core.customer import TRIAL, Source, SubscriptionSource
from stigg_local.core.entitlement import CustomerView
from stigg_local.core.explanation import (
    ENDED,
    FUTURE,
    IN_FORCE,
    OTHER_RESOURCE,
    CreditLine,
    Gives,
    GrantLine,
    PackageLine,
    SourceLine,
)
from stigg_local.core.period import FOREVER_MS
from stigg_local.core.quantity import EXACT, from_raw, json_number, to_decimal
from stigg_local.core.sources import Catalog

# What the places of `burn_key` compare, in the order in which they decide.
BURN_RULES = ("PRIORITY", "EARLIER_EXPIRY", "PROMOTIONAL_FIRST", "EARLIER_START", "EARLIER_GRANT", "EARLIER_GRANT")


def explain_wallet(
    catalog: Catalog,
    view: CustomerView,
    currency: CreditCurrency,
    rate: Decimal | None,
    *,
    ended: Iterable[Source] = (),
    resource_id: str,
    now_ms: int,
) -> tuple[tuple[SourceLine, ...], CreditLine]:
    """The sources of a wallet's credits, and its grants in burn order, those that cannot be spent now at the end.

    Args:
        catalog, view: The state.
        currency: The wallet's currency.
        rate: What one unit of the feature in question costs; None for the wallet alone.
        ended: Sources that the snapshot no longer holds.
        resource_id: The wallet's resource, empty for none.
        now_ms: The time.
    """
    purse: Wallet = view.wallet(catalog, currency.id, resource_id=resource_id, at_ms=now_ms)
    spendable = {grant.id for grant in purse.grants}
    others = [
        grant
        for grant in view.grants
        if grant.currency_id == currency.id
        and grant.resource_id == resource_id
        and grant.grant_type != "OVERDRAFT"
        and grant.voided_ms is None
        and grant.id not in spendable
        and not is_spendable(grant, now_ms)
    ]
    others.sort(key=lambda grant: (grant.effective_ms <= now_ms, grant.effective_ms, grant.id))
    everything = [source for source in (*view.snapshot.sources, *ended) if isinstance(source, SubscriptionSource)]
    plans = {source.subscription_id: source.packages[0][0] for source in everything}
    credits = CreditLine(
        currency_id=currency.id,
        rate=rate,
        remaining=from_raw(purse.remaining, currency.scale),
        has_soft_limit=purse.has_soft_limit,
        grants=tuple(_grant_line(grant, currency.scale, plans, now_ms) for grant in (*purse.grants, *others)),
    )
    return tuple(_sources(catalog, currency, purse, others, everything, resource_id, now_ms)), credits


def _sources(
    catalog: Catalog,
    currency: CreditCurrency,
    purse: Wallet,
    others: list[Grant],
    subscriptions: list[SubscriptionSource],
    resource_id: str,
    now_ms: int,
) -> Iterator[SourceLine]:
    """Each grant as a source, then the subscriptions that would bring credits and do not now."""
    filled = [grant for grant in purse.grants if grant.remaining > 0]
    for grant in purse.grants:
        if grant.grant_type == "OVERDRAFT":
            continue
        wins = bool(filled) and grant is filled[0]
        if grant.remaining <= 0:
            rule = "USED_UP"
        elif len(filled) == 1:
            rule = "ONLY_SOURCE"
        else:
            rule = _burn_rule(filled[0], filled[1] if wins else grant)
        source = _origin(grant, subscriptions, now_ms)
        yield _line(catalog, currency, grant, source, IN_FORCE, wins=wins, rule=rule)
    for grant in others:
        state = FUTURE if grant.effective_ms > now_ms else ENDED
        source = _origin(grant, subscriptions, now_ms)
        yield _line(catalog, currency, grant, source, state, wins=False, rule="NOT_IN_FORCE")
    for source in subscriptions:
        state = _state(source, resource_id, now_ms)
        packages = _packages(catalog, currency.id, None, source)
        if state != IN_FORCE and packages:
            yield SourceLine(
                kind="TRIAL" if source.kind == TRIAL else "SUBSCRIPTION",
                state=state,
                start_ms=source.start_ms,
                end_ms=_end(source.end_ms),
                subscription_id=source.subscription_id,
                plan_id=source.packages[0][0],
                plan_version=source.packages[0][1],
                resource_id=source.resource_id or None,
                packages=packages,
                rule="NOT_IN_FORCE",
            )


def _state(source: SubscriptionSource, resource_id: str, now_ms: int) -> str:
    # Credits belong to one wallet: those of no resource are not seen by a question about one.
    if source.resource_id != resource_id:
        return OTHER_RESOURCE
    if source.end_ms <= now_ms:
        return ENDED
    return FUTURE if source.start_ms > now_ms else IN_FORCE


def _origin(grant: Grant, subscriptions: list[SubscriptionSource], now_ms: int) -> SubscriptionSource | None:
    """The subscription that a recurring grant comes from, in the interval that is in force or else the first."""
    found = [source for source in subscriptions if grant.source and source.subscription_id == grant.source]
    running = [source for source in found if source.start_ms <= now_ms < source.end_ms]
    return next(iter(running or found), None)


def _burn_rule(first: Grant, second: Grant) -> str:
    """What lets one grant be spent before another."""
    pairs = zip(BURN_RULES, burn_key(first), burn_key(second), strict=True)
    return next((name for name, mine, theirs in pairs if mine != theirs), BURN_RULES[-1])


def _line(
    catalog: Catalog,
    currency: CreditCurrency,
    grant: Grant,
    source: SubscriptionSource | None,
    state: str,
    *,
    wins: bool,
    rule: str,
) -> SourceLine:
    is_trial = source is not None and source.kind == TRIAL
    cadence = _cadence(grant)
    return SourceLine(
        kind="CREDIT_GRANT" if source is None else "TRIAL" if is_trial else "SUBSCRIPTION",
        state=state,
        start_ms=grant.effective_ms,
        end_ms=_end(grant.expire_ms),
        subscription_id=grant.source or None,
        plan_id=None if source is None else source.packages[0][0],
        plan_version=None if source is None else source.packages[0][1],
        resource_id=grant.resource_id or None,
        origin=grant.grant_type,
        grant_id=grant.id,
        gives=Gives(is_granted=True, credit_amount=from_raw(grant.amount, currency.scale), credit_cadence=cadence),
        packages=() if source is None else _packages(catalog, currency.id, cadence, source),
        wins=wins,
        counts=state == IN_FORCE,
        rule=rule,
    )


def _cadence(grant: Grant) -> str | None:
    """How often a grant comes again: a recurring one names it in its id."""
    return grant.id.rsplit(":", 2)[-2] if grant.grant_type == "RECURRING" and grant.id.count(":") >= 2 else None


def _stated(
    catalog: Catalog, source: SubscriptionSource, currency_id: str
) -> Iterator[tuple[int, CreditEntitlement, str]]:
    """(place of the package, what it states of the currency, the package that the statement is from)."""
    for index, (package_id, version, _) in enumerate(source.packages):
        package = catalog.packages.get((package_id, version))
        if package is None:
            continue
        for item in package.version.inherited_credits:
            if item.entitlement.currency_id == currency_id:
                yield index, item.entitlement, item.plan_id
        for own in package.version.package.credit_entitlements:
            if own.currency_id == currency_id:
                yield index, own, package_id


def _packages(
    catalog: Catalog, currency_id: str, cadence: str | None, source: SubscriptionSource
) -> tuple[PackageLine, ...]:
    """What each package of a subscription states of a currency, of one cadence or (None) of each."""
    parts = [part for part in _stated(catalog, source, currency_id) if cadence in (None, part[1].cadence)]
    customs = {every: amount for name, amount, every in source.custom_credits if name == currency_id}
    made: list[PackageLine] = []
    for index, entitlement, stated_by in parts:
        package_id, version, quantity = source.packages[index]
        is_custom = index == 0 and entitlement.cadence in customs
        each = stated_amount(catalog, source, entitlement)
        whole = EXACT.multiply(each, quantity)
        overrides = [
            EXACT.multiply(stated_amount(catalog, source, other), source.packages[place][2])
            for place, other, _ in parts
            if place > 0 and other.behavior == "Override" and other.cadence == entitlement.cadence
        ]
        is_override = index > 0 and entitlement.behavior == "Override"
        if overrides:
            # Of equal ones the first.
            counts = is_override and whole == max(overrides) and not any(line.rule == "OVERRIDES" for line in made)
            rule = "OVERRIDES" if counts else "SMALLER_OVERRIDE" if is_override else "OVERRIDDEN"
        else:
            counts = True
            rule = "CUSTOM_VALUE" if is_custom else "BASE" if index == 0 else "ADDS"
        custom = customs.get(entitlement.cadence) if is_custom else None
        added = json_number(whole) if custom is None else custom
        made.append(
            PackageLine(
                kind="PLAN" if index == 0 else "ADDON",
                package_id=package_id,
                version=version,
                quantity=quantity,
                base_plan_id=None if stated_by == package_id else stated_by,
                behavior=None if index == 0 else entitlement.behavior,
                gives=Gives(
                    is_granted=True,
                    has_soft_limit=entitlement.has_soft_limit,
                    credit_amount=each,
                    credit_cadence=entitlement.cadence,
                ),
                is_custom=is_custom,
                custom_value=custom,
                counts=counts,
                adds=added if counts else None,
                rule=rule,
            )
        )
    stated_cadences = {entitlement.cadence for index, entitlement, _ in parts if index == 0}
    for every, amount in customs.items():
        if every not in stated_cadences and cadence in (None, every):
            made.append(
                PackageLine(
                    kind="PLAN",
                    package_id=source.packages[0][0],
                    version=source.packages[0][1],
                    quantity=1,
                    gives=Gives(
                        is_granted=True, credit_amount=to_decimal(amount, name="amount"), credit_cadence=every
                    ),
                    is_custom=True,
                    custom_value=amount,
                    counts=True,
                    adds=amount,
                    rule="CUSTOM_VALUE",
                )
            )
    return tuple(made)


def _grant_line(grant: Grant, scale: int, plans: dict[str, str], now_ms: int) -> GrantLine:
    state = FUTURE if grant.effective_ms > now_ms else IN_FORCE
    return GrantLine(
        id=grant.id,
        grant_type=grant.grant_type,
        state=ENDED if grant.expire_ms <= now_ms else state,
        amount=from_raw(grant.amount, scale),
        consumed=from_raw(grant.consumed, scale),
        remaining=from_raw(grant.remaining, scale),
        priority=grant.priority,
        effective_ms=grant.effective_ms,
        expire_ms=_end(grant.expire_ms),
        subscription_id=grant.source or None,
        plan_id=plans.get(grant.source),
    )


def _end(ms: int) -> int | None:
    return None if ms >= FOREVER_MS else ms
