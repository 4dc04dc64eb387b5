"""The nearest ways from a no to a yes, each found by answering the same question in the changed world.

Laws: a way is listed only when the answer after it was seen to give access; of amounts the smallest that is enough,
of requests the largest that is granted, of instants the first.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from typing import Any

from msgspec.structs import replace

from stigg_local.core.answer import (
    CREDIT,
    ENUM,
    METERED,
    CreditEntitlement,
    Entitlement,
    EnumEntitlement,
    MeteredEntitlement,
)
from stigg_local.core.credit import is_debt, settle_debt
from stigg_local.core.entitlement import Compiled, CustomerView, answer_request, find_winner, requested_raw
from stigg_local.core.explanation import Question, Way
from stigg_local.core.period import DAY_MS, FOREVER_MS, to_datetime
from stigg_local.core.purchase import addon_ways, plan_ways
from stigg_local.core.quantity import RAW_MAX, from_raw, json_number, raw_to_decimal, to_decimal
from stigg_local.core.words import AccessDeniedReason
from stigg_local.core.world import LIMIT_MAX, World, currency_id_of, least

# How many instants are looked at on the way to a yes by waiting.
LOOKS_MAX = 1_000
YEAR_MS = 366 * DAY_MS

Ask = Callable[[Any, tuple[str, ...]], Entitlement]
"""The answer to the same question with another requested usage and other values."""


def find_ways(world: World) -> tuple[Way, ...]:
    """The ways to yes, from those that cost nothing to those that cost most."""
    compiled = world.compiled(world.view, world.now_ms)
    if compiled is None:
        return ()
    answer = answer_request(compiled, world.question.requested_usage, world.question.requested_values)
    reason = answer.access_denied_reason
    if answer.has_access or reason is AccessDeniedReason.CustomerIsArchived:
        return ()
    return (
        *_wait(world, compiled),
        *_less(world, compiled),
        *_credits(world, compiled, answer),
        *addon_ways(world),
        *plan_ways(world),
        *_promotion(world, answer),
    )


def _wait(world: World, compiled: Compiled) -> Iterator[Way]:
    """The first instant at which the answer is yes when nothing else happens.

    Between two instants at which time alone may change the answer it stays the same, so looking at those is enough.
    Once the last window with usage in it is over, the windows that follow are all alike until a source or a wallet
    changes; once nothing that is known of begins or ends any more, one year is like the next.
    """
    view = world.view
    if view is None:
        return
    counted_ms = max((key[3] for key in view.counters if key[3] < FOREVER_MS), default=0)
    quiet_ms: int | None = None
    last_ms = max(counted_ms, *_edges(view), 0)
    at_ms = compiled.valid_until_ms
    for _ in range(LOOKS_MAX):
        if at_ms >= FOREVER_MS or to_datetime(at_ms) is None:
            return
        later = world.compiled(view, at_ms)
        if later is None:
            return
        answer = answer_request(later, world.question.requested_usage, world.question.requested_values)
        if answer.has_access:
            yield Way(kind="WAIT", at_ms=at_ms, entitlement=world.answer(world.view, at_ms) or answer)
            return
        currency_id = currency_id_of(world, at_ms)
        view, has_debt = _settled(world, view, currency_id, at_ms)
        if at_ms > last_ms and not has_debt:
            quiet_ms = at_ms if quiet_ms is None else quiet_ms
            if at_ms > quiet_ms + YEAR_MS:
                return
        next_ms = later.valid_until_ms
        at_ms = max(next_ms, _next_change(world, view, currency_id, at_ms)) if at_ms >= counted_ms else next_ms


def _edges(view: CustomerView) -> Iterator[int]:
    """Every instant at which something that is known of begins or ends."""
    for source in view.snapshot.sources:
        yield from (edge for edge in (source.start_ms, source.end_ms) if edge < FOREVER_MS)
    for grant in view.grants:
        yield from (edge for edge in (grant.effective_ms, grant.expire_ms) if edge < FOREVER_MS)
    for hold in view.holds:
        yield hold.expire_ms


def _settled(world: World, view: CustomerView, currency_id: str | None, at_ms: int) -> tuple[CustomerView, bool]:
    """The customer with debts moved on to an instant, and whether any is left.

    A debt is worked out from when it was looked at last, so moving it on keeps a long way linear.
    """
    debts = [
        grant
        for grant in view.grants
        if is_debt(grant) and grant.currency_id == currency_id and grant.resource_id == world.resource_id
    ]
    for debt in debts:
        moved = settle_debt(world.catalog, view.snapshot, view.grants, debt, at_ms=at_ms, holds=view.holds)
        now = {grant.id: grant for grant in (*view.grants, *moved.changed)}
        # What is over cannot be spent again.
        kept = tuple(grant for grant in now.values() if grant.expire_ms > at_ms)
        view = CustomerView(view.snapshot, view.counters, kept, view.holds)
    return view, any(is_debt(grant) and grant.currency_id == currency_id for grant in view.grants)


def _next_change(world: World, view: CustomerView, currency_id: str | None, at_ms: int) -> int:
    """The first instant after another at which time changes a source, a reservation or the wallet in question."""
    edges = [edge for source in view.snapshot.sources for edge in (source.start_ms, source.end_ms)]
    edges += [hold.expire_ms for hold in view.holds]
    change = min((edge for edge in edges if edge > at_ms), default=FOREVER_MS)
    if currency_id is None or currency_id not in world.catalog.currencies:
        return change
    purse = view.wallet(world.catalog, currency_id, resource_id=world.resource_id, at_ms=at_ms)
    return min(change, purse.valid_until_ms)


def fallback_ways(question: Question, answer: Entitlement, ask: Ask, given: Any = None) -> tuple[Way, ...]:
    """The largest request of something that a fallback grants, or those of the requested values that it does.

    Args:
        question, answer: What was asked, and the fallback's no.
        ask: Asks the same with another request.
        given: The call's own fallback; None without one.
    """
    if answer.has_access:
        return ()
    call, arguments = _asked(question)
    arguments |= {} if given is None else {"fallback": given}
    if isinstance(answer, EnumEntitlement):
        values = tuple(value for value in dict.fromkeys(question.requested_values) if value in answer.enum_values)
        after = ask(0, values) if values else None
        arguments["requested_values"] = list(values)
        way = None if after is None else Way(kind="LESS", entitlement=after, requested_values=values)
    else:
        most = answer.usage_limit if isinstance(answer, MeteredEntitlement) else None
        most = answer.current_balance if isinstance(answer, CreditEntitlement) else most
        after = ask(most, ()) if most is not None and most > 0 else None
        arguments["requested_usage"] = most
        way = None
        if after is not None:
            left = to_decimal(question.requested_usage, name="requested_usage") - to_decimal(most, name="limit")
            way = Way(kind="LESS", entitlement=after, requested_usage=most, units_less=json_number(left))
    return () if way is None or not way.entitlement.has_access else (replace(way, call=call, arguments=arguments),)


def _asked(question: Question) -> tuple[str, dict[str, Any]]:
    """The getter of a question and its arguments, without what is requested."""
    asked: dict[str, Any] = {
        "customer_id": question.customer_id,
        "currency_id" if question.type == CREDIT else "feature_id": question.feature_id,
    }
    if question.resource_id is not None:
        asked["resource_id"] = question.resource_id
    return "get_entitlement" if question.type is None else f"get_{question.type.lower()}_entitlement", asked


def _less(world: World, compiled: Compiled) -> Iterator[Way]:
    """The largest request of something that is granted now, or those of the requested values that are."""
    question = world.question
    call, asked = _asked(question)
    if compiled.kind == ENUM:
        values = tuple(
            value
            for value in dict.fromkeys(question.requested_values)
            if answer_request(compiled, 0, (value,)).has_access
        )
        answer = answer_request(compiled, 0, values)
        if values and answer.has_access:
            arguments = asked | {"requested_values": list(values)}
            yield Way(kind="LESS", call=call, arguments=arguments, entitlement=answer, requested_values=values)
        return
    if compiled.kind not in (METERED, CREDIT):
        return
    scale = compiled.gate.scale
    requested = requested_raw(question.requested_usage, scale)

    def refused(raw: int) -> bool:
        return not answer_request(compiled, _exact(raw, scale), ()).has_access

    first = least(refused, 1, requested)
    if first is None or first == 1:
        return
    amount = _exact(first - 1, scale)
    yield Way(
        kind="LESS",
        call=call,
        arguments=asked | {"requested_usage": amount},
        entitlement=answer_request(compiled, amount, ()),
        requested_usage=amount,
        units_less=_exact(requested - first + 1, scale),
    )


def _exact(raw: int, scale: int) -> Any:
    """A fixed-point number as a caller passes it: int or float, a Decimal where a float cannot hold it."""
    value = from_raw(raw, scale)
    exact = raw_to_decimal(raw, scale)
    return value if to_decimal(value, name="amount") == exact else exact


def _credits(world: World, compiled: Compiled, answer: Entitlement) -> Iterator[Way]:
    """The smallest credit grant that makes it yes."""
    currency_id = currency_id_of(world, world.now_ms)
    currency = None if currency_id is None else world.catalog.currencies.get(currency_id)
    room = compiled.gate.credits
    if currency is None or room is None or answer.access_denied_reason is not AccessDeniedReason.InsufficientCredits:
        return
    question = world.question

    def would_do(credits: int) -> bool:
        supposed = replace(compiled, most=None, gate=replace(compiled.gate, credits=credits))
        return answer_request(supposed, question.requested_usage, ()).has_access

    def arguments(raw: int) -> dict[str, Any]:
        given = {
            "customer_id": question.customer_id,
            "currency_id": currency.id,
            "amount": _exact(raw, currency.scale),
        }
        return given | ({} if question.resource_id is None else {"resource_id": question.resource_id})

    @cache
    def after(raw: int) -> Entitlement | None:
        return world.after("grant_credits", arguments(raw))

    enough = least(would_do, room, 2 * RAW_MAX)
    if enough is None:
        return
    raw = least(lambda raw: after(raw) is not None, 1, RAW_MAX, guess=enough - room)
    found = None if raw is None else after(raw)
    if raw is not None and found is not None:
        yield Way(
            kind="CREDITS",
            call="grant_credits",
            arguments=arguments(raw),
            entitlement=found,
            amount=_exact(raw, currency.scale),
        )


def _promotion(world: World, answer: Entitlement) -> Iterator[Way]:
    """A promotional grant of the feature, with the smallest whole limit that is enough."""
    question = world.question
    feature = world.catalog.features.get(question.feature_id)
    if feature is None or answer.type == CREDIT:
        return
    item: dict[str, Any] = {"feature_id": feature.id}
    if answer.type == ENUM:
        item["enum_values"] = list(question.requested_values or feature.enum_values)
    if isinstance(answer, MeteredEntitlement) and answer.reset_period is not None and world.view is not None:
        winner, _, _, _ = find_winner(world.catalog, world.view.snapshot, feature, world.resource_id, world.now_ms)
        if winner is not None:
            # The promotion counts as the winner does, so that a new window takes back the usage of the old one.
            item["reset_period"] = winner.contribution.reset_period
            item["reset_period_configuration"] = winner.contribution.configuration
    item = {key: value for key, value in item.items() if value is not None}

    def arguments(limit: int | None) -> dict[str, Any]:
        given = item if limit is None else item | {"usage_limit": limit}
        return {"customer_id": question.customer_id, "entitlements": [given]}

    @cache
    def found(limit: int | None) -> Entitlement | None:
        return world.after("grant_promotional_entitlements", arguments(limit))

    limit = None
    if answer.type == METERED:
        most = found(LIMIT_MAX)
        if isinstance(most, MeteredEntitlement):
            used = most.current_usage if most.transformed_usage is None else most.transformed_usage
            wanted = 0 if feature.unit_transformation else to_decimal(question.requested_usage, name="requested_usage")
            guess = min(Decimal(LIMIT_MAX), to_decimal(used, name="usage") + wanted)
            limit = least(lambda limit: found(limit) is not None, 0, LIMIT_MAX, guess=-int(-guess // 1))
    after = found(limit)
    if after is not None:
        yield Way(
            kind="PROMOTION",
            call="grant_promotional_entitlements",
            arguments=arguments(limit),
            entitlement=after,
            limit=limit,
        )
