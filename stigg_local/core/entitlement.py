"""The answer: what a customer may do, computed from the compiled catalog, the snapshot and the moving numbers.

Laws: access is monotone (more usage or more requested never turns no into yes); an answer changes only when the
record, a number or the clock at `valid_until` does; evaluating never changes anything. Source: semantics §2.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from msgspec import Struct

from stigg_local.core.answer import (
    BOOLEAN,
    CREDIT,
    ENUM,
    METERED,
    NUMERIC,
    BooleanEntitlement,
    CreditEntitlement,
    Entitlement,
    EntitlementsState,
    EnumEntitlement,
    MeteredEntitlement,
    NumericEntitlement,
)
from stigg_local.core.catalog import CreditCurrency, Feature
from stigg_local.core.credit import Grant, Wallet, wallet
from stigg_local.core.customer import (
    SUBSCRIPTION,
    CustomerSnapshot,
    PromotionalSource,
    Source,
    SubscriptionSource,
)
from stigg_local.core.hold import Hold, reserved_units
from stigg_local.core.period import FOREVER_MS, anchor_of, window
from stigg_local.core.quantity import POWERS, RAW_MAX, from_raw, limit_to_raw, multiply, raw_to_decimal, to_decimal
from stigg_local.core.reason import AccessDeniedReason
from stigg_local.core.sources import Catalog, Contribution, contribution, feature_ids, transformed
from stigg_local.errors import InvalidInput

_SNAPSHOT = "snapshot"
_REASON = AccessDeniedReason
_EXCEEDS = AccessDeniedReason.RequestedUsageExceedsLimit
# Whole requests up to here are compared as they are; larger ones are compared exactly, and slower.
_WHOLE_MAX = 2**53
_INSUFFICIENT = AccessDeniedReason.InsufficientCredits

_MADE: dict[str, Callable[..., Entitlement]] = {METERED: MeteredEntitlement, CREDIT: CreditEntitlement}

_REFUSED: dict[str, tuple[Any, ...]] = {METERED: (False, _EXCEEDS), CREDIT: (False, _INSUFFICIENT)}

CounterKey = tuple[str, str, int, int]  # resource, feature, from, to


class CustomerView(Struct, gc=False):
    """What is held of one customer: the snapshot and the moving numbers.

    `counters` maps (resource, feature, from, to) to raw usage; `grants` are all stored credit grants, `holds` all
    stored reservations.
    """

    snapshot: CustomerSnapshot
    counters: dict[CounterKey, int] = {}
    grants: tuple[Grant, ...] = ()
    holds: tuple[Hold, ...] = ()

    def wallet(self, catalog: Catalog, currency_id: str, *, resource_id: str, at_ms: int) -> Wallet:
        """The wallet of (resource, currency) at an instant."""
        return wallet(
            catalog,
            self.snapshot,
            self.grants,
            resource_id=resource_id,
            currency_id=currency_id,
            at_ms=at_ms,
            holds=self.holds,
        )


class Gate(Struct, frozen=True, gc=False):
    """What decides about a request: the room below the limit and the room in the wallet, in raw units.

    None stands for no limit. `denied` is a reason that no request can change.
    """

    scale: int = 0
    headroom: int | None = None
    rate: Decimal | None = None
    credit_scale: int = 0
    credits: int | None = None
    denied: AccessDeniedReason | None = None


class Compiled(Struct, frozen=True, gc=False):
    """An answer to a request of nothing, and what makes the answers to other requests from it.

    `granted` are the positional arguments of an answer that gives access, without the request. `most` is the largest
    whole number that a request may ask for; None where deciding takes more than that compare.
    """

    answer: Entitlement
    kind: str
    valid_until_ms: int
    gate: Gate
    granted: tuple[Any, ...]
    most: int | None = None


class Winner(Struct, frozen=True, gc=False):
    """The most generous source of a feature, and the windows it counts in."""

    source: Source
    contribution: Contribution
    anchor_ms: int
    start_ms: int
    end_ms: int
    from_ms: int


Found = tuple[Winner | None, frozenset[str], bool, int]
"""The winner (None without any), the union of enum values, whether a subscription is in force, until when."""


def kind_of(feature: Feature) -> str:
    """The type of the entitlements of a feature."""
    if feature.feature_type == "Boolean":
        return BOOLEAN
    if feature.feature_type == "Enum":
        return ENUM
    return METERED if feature.is_metered else NUMERIC


def in_scope(source: Source, resource_id: str) -> bool:
    """True where a query with this resource (empty for none) sees the source."""
    return isinstance(source, PromotionalSource) or source.resource_id in ("", resource_id)


def evaluate(
    catalog: Catalog,
    view: CustomerView | None,
    feature_id: str,
    *,
    resource_id: str,
    kind: str | None,
    now_ms: int,
    found: Found | None = None,
) -> Compiled | None:
    """The compiled answer for one feature or, for the kind CREDIT, one currency.

    Args:
        catalog: The compiled catalog.
        view: The customer, or None where the customer does not exist.
        feature_id: Feature id; a currency id where `kind` is CREDIT or (kind None) no feature has that id.
        resource_id: Empty for none.
        kind: What the getter asks for; None for the generic one.
        now_ms: The effective time.
        found: What `find_winner` gives, where the caller has it already.

    Returns:
        None where the feature or currency is unknown or of another type, and so a fallback may answer.
    """
    feature = None if kind == CREDIT else catalog.features.get(feature_id)
    if feature is None and kind in (None, CREDIT) and feature_id in catalog.currencies:
        return _evaluate_wallet(catalog, view, feature_id, resource_id, now_ms)
    reason = _customer_reason(view, resource_id)
    if view is None or reason is not None:
        if view is not None and feature is not None and kind in (None, kind_of(feature)):
            return _denied(catalog, view, feature, kind_of(feature), reason, FOREVER_MS)
        return _denied(catalog, view, feature, kind or (kind_of(feature) if feature else BOOLEAN), reason, FOREVER_MS)
    if feature is None or kind not in (None, kind_of(feature)):
        return None
    kind = kind_of(feature)
    if found is None:
        found = find_winner(catalog, view.snapshot, feature, resource_id, now_ms)
    winner, values, is_active, until = found
    if winner is None:
        reason = _REASON.CustomerNotEntitledForFeature if is_active else _REASON.NoActiveSubscription
        return _denied(catalog, view, feature, kind, reason, until)
    if not winner.contribution.is_granted:
        return _denied(catalog, view, feature, kind, _REASON.Revoked, until)
    if kind == METERED:
        return _evaluate_metered(catalog, view, feature, winner, resource_id, now_ms, until)
    head = (False, catalog.refs[feature.id], _SNAPSHOT, view.snapshot.as_of_ms, until)
    if kind == ENUM:
        allowed = tuple(value for value in feature.enum_values if value in values)
        denied = None if allowed else _REASON.RequestedValuesMismatch
        enum = EnumEntitlement(denied is None, denied, *head, allowed)
        return Compiled(enum, kind, until, Gate(denied=denied), (True, None, *head, allowed))
    if kind == NUMERIC:
        granted = (True, None, *head, winner.contribution.limit, winner.contribution.is_unlimited)
        return Compiled(NumericEntitlement(*granted), kind, until, Gate(), granted)
    return Compiled(BooleanEntitlement(True, None, *head), kind, until, Gate(), (True, None, *head))


def answer_request(compiled: Compiled, requested_usage: Any, requested_values: tuple[str, ...]) -> Entitlement:
    """The answer to a request, from the compiled one.

    Raises:
        InvalidInput: `requested_usage` is negative, not a finite number or beyond the range.
    """
    most = compiled.most
    if most is not None and type(requested_usage) is int and 0 < requested_usage <= _WHOLE_MAX:
        made: Callable[..., Entitlement] = _MADE[compiled.kind]
        # One tuple by concatenation: unpacking in the middle of a call would build a list first.
        if requested_usage <= most:
            return made(*(compiled.granted + (requested_usage,)))  # noqa: RUF005
        return made(*(_REFUSED[compiled.kind] + compiled.granted[2:] + (requested_usage,)))
    kind, rest = compiled.kind, compiled.granted[2:]
    gate = compiled.gate
    if kind is METERED or kind is CREDIT:
        if type(requested_usage) is int and 0 <= requested_usage <= _WHOLE_MAX:
            requested = requested_usage * POWERS[gate.scale]
        else:
            requested = requested_raw(requested_usage, gate.scale)
        reason = gate.denied
        if reason is None and gate.headroom is not None and requested > gate.headroom:
            reason = _EXCEEDS
        if reason is None and gate.credits is not None:
            if requested == 0:
                wanted = 1
            elif gate.rate is None:
                wanted = requested
            else:
                wanted = multiply(raw_to_decimal(requested, gate.scale), gate.rate, gate.credit_scale)
            if wanted > gate.credits:
                reason = _INSUFFICIENT
        made = _MADE[kind]
        return made(reason is None, reason, *rest, requested_usage)
    if kind is ENUM:
        reason = gate.denied
        if reason is None and not set(requested_values) <= set(rest[-1]):
            reason = _REASON.RequestedValuesMismatch
        enum: Callable[..., Entitlement] = EnumEntitlement
        return enum(reason is None, reason, *rest, requested_values)
    return compiled.answer


def requested_raw(requested_usage: Any, scale: int) -> int:
    """A requested amount in fixed point, >= 0; one beyond the range is the largest number there is.

    Raises:
        InvalidInput: Negative, or not a finite number.
    """
    number = to_decimal(requested_usage, name="requested_usage")
    if number < 0:
        raise InvalidInput(f"requested_usage is `{requested_usage}`, below 0", hint="ask for 0 or more")
    raw = limit_to_raw(number, scale, name="requested_usage")
    # The smallest request that a scale cannot hold still is a request of something.
    return max(raw, 1) if number > 0 else 0


def find_winner(
    catalog: Catalog, snapshot: CustomerSnapshot, feature: Feature, resource_id: str, now_ms: int
) -> Found:
    """The most generous source at an instant.

    Returns:
        The winner (None without any), the union of enum values, whether a subscription is in force, and the next
        instant at which the choice or the winner's window may change.
    """
    best: Contribution | None = None
    best_source: Source | None = None
    values: frozenset[str] = frozenset()
    is_active = False
    until = FOREVER_MS
    for source in snapshot.sources:
        if source.end_ms <= now_ms or not in_scope(source, resource_id):
            continue
        is_subscription = isinstance(source, SubscriptionSource)
        if isinstance(source, PromotionalSource) and source.entitlement.feature_id != feature.id:
            continue
        if source.start_ms > now_ms:
            until = min(until, source.start_ms)
            continue
        until = min(until, source.end_ms)
        is_active = is_active or is_subscription
        found = contribution(catalog, source, feature)
        if found is None:
            continue
        if found.values:
            values |= found.values
        if best is None or found.rank > best.rank or (found.rank == best.rank and before(source, best_source)):
            best, best_source = found, source
    if best is None or best_source is None:
        return None, values, is_active, until
    anchor, start, end, from_ms = _window(snapshot, best_source, best, resource_id, now_ms)
    return Winner(best_source, best, anchor, start, end, from_ms), values, is_active, min(until, end)


def counting_windows(
    catalog: Catalog,
    snapshot: CustomerSnapshot,
    feature: Feature,
    *,
    resource_id: str,
    at_ms: int,
    now_ms: int,
) -> Iterator[tuple[int, int]]:
    """The half-open intervals whose counters a measurement of that time belongs to.

    They are those of every source that was in force then, is or will be, not of the winning one alone, and those
    from every anchor that a promotion may ever have, so that whatever takes over finds its counter ready. Each
    interval comes once.
    """
    seen: set[tuple[int, int]] = set()
    for source in snapshot.sources:
        if source.end_ms <= min(at_ms, now_ms) or not in_scope(source, resource_id):
            continue
        found = contribution(catalog, source, feature)
        if found is None:
            continue
        for start, cut in _starts(snapshot, source, resource_id):
            _, _, end, from_ms = _window_from(found, start, cut, at_ms)
            if at_ms >= from_ms and (from_ms, end) not in seen:
                seen.add((from_ms, end))
                yield from_ms, end


def state(
    catalog: Catalog,
    view: CustomerView | None,
    *,
    resource_id: str,
    include_credits: bool,
    now_ms: int,
    answer: Callable[[str, str | None], Entitlement],
) -> EntitlementsState:
    """Everything that a customer is entitled to, in catalog order.

    Args:
        answer: Gives the answer for a feature id, or for a currency id and CREDIT; the caller may memoise it.
    """
    reason = _customer_reason(view, resource_id)
    if view is None or reason is not None:
        return EntitlementsState((), reason)
    entitled: set[str] = set()
    is_active = False
    for source in view.snapshot.sources:
        if source.start_ms <= now_ms < source.end_ms and in_scope(source, resource_id):
            is_active = is_active or isinstance(source, SubscriptionSource)
            entitled.update(feature_ids(catalog, source))
    answers = [answer(feature_id, None) for feature_id in catalog.features if feature_id in entitled]
    found = [item for item in answers if item.access_denied_reason not in _NOT_ENTITLED]
    if include_credits:
        for currency_id in catalog.currencies:
            purse = view.wallet(catalog, currency_id, resource_id=resource_id, at_ms=now_ms)
            if purse.grants:
                found.append(answer(currency_id, CREDIT))
    denied = None if is_active or found else _REASON.NoActiveSubscription
    return EntitlementsState(tuple(found), denied)


_NOT_ENTITLED = (
    _REASON.Revoked,
    _REASON.CustomerNotEntitledForFeature,
    _REASON.NoActiveSubscription,
    _REASON.FeatureNotFound,
)


def _customer_reason(view: CustomerView | None, resource_id: str) -> AccessDeniedReason | None:
    if view is None:
        return _REASON.CustomerNotFound
    if view.snapshot.is_archived:
        return _REASON.CustomerIsArchived
    if resource_id and resource_id not in view.snapshot.resource_ids:
        return _REASON.CustomerResourceNotFound
    return None


def before(source: Source, other: Source | None) -> bool:
    """Equal generosity: a subscription before a trial before a promotion, else the first."""
    return _order(source) < _order(other)


def _order(source: Source | None) -> int:
    if isinstance(source, SubscriptionSource):
        return 0 if source.kind == SUBSCRIPTION else 1
    return 2


def _window(
    snapshot: CustomerSnapshot, source: Source, found: Contribution, resource_id: str, at_ms: int
) -> tuple[int, int, int, int]:
    """(anchor, start, end, from): `from` is where counting begins, never before the subscription itself."""
    if isinstance(source, SubscriptionSource):
        return _window_from(found, source.anchor_ms, source.cut_ms, at_ms)
    # A promotion is anchored at the oldest granting subscription in scope, else at its own start.
    starts = [
        other.anchor_ms
        for other in snapshot.sources
        if isinstance(other, SubscriptionSource)
        and in_scope(other, resource_id)
        and other.start_ms <= at_ms < other.end_ms
    ]
    return _window_from(found, min(starts, default=source.start_ms), 0, at_ms)


def _window_from(found: Contribution, start_ms: int, cut_ms: int, at_ms: int) -> tuple[int, int, int, int]:
    if found.reset_period is None:
        return 0, 0, FOREVER_MS, 0
    anchor = anchor_of(found.reset_period, found.configuration, start_ms)
    begin, end = window(found.reset_period, anchor, at_ms)
    return anchor, begin, end, max(begin, cut_ms)


def _starts(snapshot: CustomerSnapshot, source: Source, resource_id: str) -> Iterator[tuple[int, int]]:
    """(start, cut) of everything that a source's windows may be counted from, now or when others end or begin."""
    if isinstance(source, SubscriptionSource):
        yield source.anchor_ms, source.cut_ms
        return
    yield source.start_ms, 0
    for other in snapshot.sources:
        if isinstance(other, SubscriptionSource) and in_scope(other, resource_id):
            yield other.anchor_ms, 0


def _denied(
    catalog: Catalog,
    view: CustomerView | None,
    feature: Feature | None,
    kind: str,
    reason: AccessDeniedReason | None,
    until: int,
) -> Compiled:
    ref = None if feature is None else catalog.refs[feature.id]
    as_of = None if view is None else view.snapshot.as_of_ms
    head: tuple[Any, ...] = (False, ref, _SNAPSHOT, as_of, until)
    gate = Gate(scale=6 if feature is None else feature.scale, denied=reason)
    answer: Entitlement
    match kind:
        case "METERED":
            rest = (*head, None, False, False, 0, None, None, None, None, 0, None)
            answer = MeteredEntitlement(False, reason, *rest)
        case "NUMERIC":
            rest = head
            answer = NumericEntitlement(False, reason, *rest)
        case "ENUM":
            rest = (*head, ())
            answer = EnumEntitlement(False, reason, *rest)
        case "CREDIT":
            rest = (*head, 0, 0, 0, False, None, None)
            answer = CreditEntitlement(False, reason, *rest)
        case _:
            rest = head
            answer = BooleanEntitlement(False, reason, *rest)
    return Compiled(answer, kind, until, gate, (True, None, *rest))


def _evaluate_metered(
    catalog: Catalog,
    view: CustomerView,
    feature: Feature,
    winner: Winner,
    resource_id: str,
    now_ms: int,
    until: int,
) -> Compiled:
    found = winner.contribution
    used = view.counters.get((resource_id, feature.id, winner.from_ms, winner.end_ms), 0)
    reserved = 0
    if view.holds:
        reserved, held_until = reserved_units(
            view.holds,
            resource_id=resource_id,
            feature_id=feature.id,
            from_ms=winner.from_ms,
            to_ms=winner.end_ms,
            at_ms=now_ms,
        )
        until = min(until, held_until)
    headroom: int | None = None
    is_soft = found.has_soft_limit
    # A limit at the end of the range never binds: it is shown as the catalog gives it.
    if not found.is_unlimited and not is_soft and found.limit_raw < RAW_MAX:
        headroom = found.limit_raw - used - reserved
    rate = None
    credits: int | None = None
    credit_scale = 0
    currency = None if found.rate is None else catalog.currencies.get(found.rate.currency_id)
    if found.rate is not None and currency is not None:
        purse = view.wallet(catalog, currency.id, resource_id=resource_id, at_ms=now_ms)
        until = min(until, purse.valid_until_ms)
        rate, credit_scale = found.rate.amount, currency.scale
        if not purse.has_soft_limit:
            credits = purse.remaining
        elif found.is_unlimited:
            is_soft = True
    has_period = found.reset_period is not None
    granted = (
        True,
        None,
        False,
        catalog.refs[feature.id],
        _SNAPSHOT,
        view.snapshot.as_of_ms,
        until,
        found.limit,
        found.is_unlimited,
        is_soft,
        from_raw(used, feature.scale),
        found.reset_period,
        winner.anchor_ms if has_period else None,
        winner.start_ms if has_period else None,
        winner.end_ms if has_period else None,
        from_raw(reserved, feature.scale) if reserved else 0,
        transformed(used, feature),
    )
    gate = Gate(feature.scale, headroom, rate, credit_scale, credits)
    most = None if credits is not None else _most(headroom, feature.scale)
    compiled = Compiled(MeteredEntitlement(*granted), METERED, until, gate, granted, most)
    answer = answer_request(compiled, 0, ())
    return compiled if answer.has_access else Compiled(answer, METERED, until, gate, granted, most)


def _evaluate_wallet(
    catalog: Catalog, view: CustomerView | None, currency_id: str, resource_id: str, now_ms: int
) -> Compiled:
    reason = _customer_reason(view, resource_id)
    currency: CreditCurrency = catalog.currencies[currency_id]
    ref = catalog.currency_refs[currency_id]
    if view is None or reason is not None:
        denied = _denied(catalog, view, None, CREDIT, reason, FOREVER_MS)
        granted = (*denied.granted[:-2], ref, None)
        return Compiled(_MADE[CREDIT](False, reason, *granted[2:]), CREDIT, FOREVER_MS, denied.gate, granted)
    purse = view.wallet(catalog, currency_id, resource_id=resource_id, at_ms=now_ms)
    until = purse.valid_until_ms
    granted = (
        True,
        None,
        False,
        None,
        _SNAPSHOT,
        view.snapshot.as_of_ms,
        until,
        from_raw(purse.remaining, currency.scale),
        from_raw(purse.granted, currency.scale),
        from_raw(purse.consumed, currency.scale),
        purse.has_soft_limit,
        ref,
        purse.next_reset_ms,
    )
    gate = Gate(scale=currency.scale, credits=None if purse.has_soft_limit else purse.remaining)
    most = _most(gate.credits, currency.scale)
    compiled = Compiled(CreditEntitlement(*granted), CREDIT, until, gate, granted, most)
    answer = answer_request(compiled, 0, ())
    return compiled if answer.has_access else Compiled(answer, CREDIT, until, gate, granted, most)


def _most(room: int | None, scale: int) -> int:
    """The largest whole number of units in a room of raw ones."""
    return _WHOLE_MAX if room is None else room // POWERS[scale]
