"""Why an answer came out: its sources and the rule by which one of them won, the counter, the credits.

Law: an explanation decides nothing; winner, contributions and wallet are those that the answer was computed from.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from stigg_local.core.answer import CREDIT, Entitlement, MeteredEntitlement
from stigg_local.core.catalog import Feature, Number
from stigg_local.core.customer import (
    TRIAL,
    Customer,
    PromotionalSource,
    Source,
    SubscriptionSource,
)
from stigg_local.core.entitlement import CustomerView, Winner, before, find_winner, in_scope
from stigg_local.core.explain_credits import explain_wallet
from stigg_local.core.explanation import (
    ENDED,
    FUTURE,
    IN_FORCE,
    OTHER_RESOURCE,
    CounterLine,
    Explanation,
    Gives,
    PackageLine,
    Question,
    SourceLine,
)
from stigg_local.core.fallback import Fallback
from stigg_local.core.period import FOREVER_MS
from stigg_local.core.quantity import json_number
from stigg_local.core.snapshot import derive_snapshot
from stigg_local.core.sources import RANKS, Catalog, Contribution, Part, contribution, stated, winning_override

# How many of the sources that ended before the last change of the customer are told of, the last ones.
ENDED_MAX = 5

# source, what it gives, in force or not
_Found = tuple[Source, Contribution | None, str]


def explain_answer(
    catalog: Catalog,
    view: CustomerView | None,
    question: Question,
    answer: Entitlement,
    *,
    customer: Customer | None = None,
    resource_id: str,
    now_ms: int,
) -> Explanation:
    """The explanation of an authoritative answer, without the ways.

    Args:
        catalog, view: The state that the answer is of.
        question, answer: What was asked, and the answer.
        customer: The record, for what ended before the last change of it; None: that is not told.
        resource_id: The question's, empty for none.
        now_ms: The time of the answer.
    """
    found = Explanation(question=question, entitlement=answer, now_ms=now_ms)
    if view is None or view.snapshot.is_archived or (resource_id and resource_id not in view.snapshot.resource_ids):
        return found
    ended = () if customer is None else ended_sources(catalog, customer, view, now_ms)
    feature = catalog.features.get(question.feature_id)
    if answer.type == CREDIT or feature is None:
        currency = catalog.currencies.get(question.feature_id)
        if currency is None:
            return found
        lines, credits = explain_wallet(
            catalog, view, currency, None, ended=ended, resource_id=resource_id, now_ms=now_ms
        )
        return Explanation(question=question, entitlement=answer, now_ms=now_ms, sources=lines, credits=credits)
    sources, winner = explain_sources(catalog, view, feature, ended=ended, resource_id=resource_id, now_ms=now_ms)
    rate = None if winner is None or not isinstance(answer, MeteredEntitlement) else winner.contribution.rate
    rated = None if rate is None else catalog.currencies.get(rate.currency_id)
    wallet = None
    if rate is not None and rated is not None:
        _, wallet = explain_wallet(catalog, view, rated, rate.amount, resource_id=resource_id, now_ms=now_ms)
    return Explanation(
        question=question,
        entitlement=answer,
        now_ms=now_ms,
        sources=sources,
        counter=explain_counter(answer, winner),
        credits=wallet,
    )


def explain_sources(
    catalog: Catalog,
    view: CustomerView,
    feature: Feature,
    *,
    ended: Iterable[Source] = (),
    resource_id: str,
    now_ms: int,
) -> tuple[tuple[SourceLine, ...], Winner | None]:
    """Every source that states the feature, the one that wins as `find_winner` says, and why.

    Where nothing in force states it, the subscriptions in force are listed too.
    """
    winner, _, _, _ = find_winner(catalog, view.snapshot, feature, resource_id, now_ms)
    found: list[_Found] = []
    for source in (*view.snapshot.sources, *ended):
        state = state_of(source, resource_id, now_ms)
        given = contribution(catalog, source, feature)
        is_bystander = given is None and winner is None and state == IN_FORCE
        if given is not None or (is_bystander and isinstance(source, SubscriptionSource)):
            found.append((source, given, state))
    # By place, for a source that comes twice wins once.
    place = next((index for index, item in enumerate(found) if winner is not None and item[0] is winner.source), None)
    rivals = [item for index, item in enumerate(found) if item[2] == IN_FORCE and item[1] and index != place]
    made = []
    for index, (source, given, state) in enumerate(found):
        wins = index == place
        counts = wins
        if state != IN_FORCE:
            rule = "NOT_IN_FORCE"
        elif given is None or winner is None:
            rule = "SAYS_NOTHING"
        elif wins:
            rule = _winning_rule(winner, rivals)
        elif given.is_granted and given.values and winner.contribution.is_granted:
            rule, counts = "ADDS_VALUES", True
        else:
            rule = _rule(winner.source, winner.contribution, source, given)
        made.append(_line(catalog, source, feature, given, state, wins=wins, counts=counts, rule=rule))
    return tuple(made), winner


def ended_sources(catalog: Catalog, customer: Customer, view: CustomerView, now_ms: int) -> tuple[Source, ...]:
    """What the record knows to have ended and the snapshot no longer holds, the last ones."""
    everything = derive_snapshot(customer, catalog, as_of_ms=now_ms, sure_ms=0)
    gone = [item for item in everything.sources if item.end_ms <= now_ms and item not in view.snapshot.sources]
    gone.sort(key=lambda item: item.end_ms)
    return tuple(gone[-ENDED_MAX:])


def explain_fallbacks(candidates: Sequence[tuple[str, Fallback]], *, is_used: bool = True) -> tuple[SourceLine, ...]:
    """The fallback values that there are, the first one used; those after it are shadowed by it.

    Args:
        candidates: Origin and value, in the order in which they are looked for.
        is_used: False where something authoritative answered, so that none was looked for.
    """
    made = []
    for index, (origin, value) in enumerate(candidates):
        gives = Gives(
            is_granted=value.has_access,
            is_unlimited=value.is_unlimited,
            limit=value.value if value.usage_limit is None else value.usage_limit,
            has_soft_limit=value.has_soft_limit,
            enum_values=value.enum_values,
        )
        rule = "ONLY_SOURCE" if len(candidates) == 1 else f"{candidates[0][0].upper()}_FIRST"
        wins = is_used and index == 0
        made.append(
            SourceLine(
                kind="FALLBACK",
                origin=origin,
                gives=gives,
                wins=wins,
                counts=wins,
                rule=rule if is_used else "AUTHORITY_FIRST",
            )
        )
    return tuple(made)


def explain_counter(answer: Entitlement, winner: Winner | None) -> CounterLine | None:
    """The counter of a metered answer; None for other types and where nothing won."""
    if winner is None or not winner.contribution.is_granted or not isinstance(answer, MeteredEntitlement):
        return None
    is_hard = not answer.is_unlimited and not answer.has_soft_limit and answer.usage_limit is not None
    feature_scale = answer.transformed_usage is None
    remaining = None
    if is_hard and feature_scale and answer.usage_limit is not None:
        left = Decimal(repr(answer.usage_limit)) - Decimal(repr(answer.current_usage))
        remaining = json_number(left - Decimal(repr(answer.reserved_usage)))
    has_period = answer.reset_period is not None
    return CounterLine(
        usage=answer.current_usage,
        limit=answer.usage_limit,
        remaining=remaining,
        reserved=answer.reserved_usage or None,
        transformed_usage=answer.transformed_usage,
        reset_period=answer.reset_period,
        reset_period_configuration=winner.contribution.configuration if has_period else None,
        anchor_ms=answer.usage_period_anchor_ms,
        window_start_ms=answer.usage_period_start_ms,
        window_end_ms=answer.usage_period_end_ms,
        counted_from_ms=winner.from_ms if has_period else None,
    )


def state_of(source: Source, resource_id: str, now_ms: int) -> str:
    """Whether a source is in force for a question of that resource, and why not."""
    if not in_scope(source, resource_id):
        return OTHER_RESOURCE
    if source.end_ms <= now_ms:
        return ENDED
    return FUTURE if source.start_ms > now_ms else IN_FORCE


def kind_of_source(source: Source) -> str:
    """What a source is called."""
    if isinstance(source, PromotionalSource):
        return "PROMOTION"
    return "TRIAL" if source.kind == TRIAL else "SUBSCRIPTION"


def _rule(winner: Source, best: Contribution, loser: Source, other: Contribution) -> str:
    """What the winner has before a loser: the first place of the rank that differs, else the kind, else the order."""
    for name, mine, theirs in zip(RANKS, best.rank, other.rank, strict=True):
        if mine != theirs:
            return name
    if before(winner, loser):
        return "SUBSCRIPTION_FIRST" if kind_of_source(winner) == "SUBSCRIPTION" else "TRIAL_FIRST"
    return "EARLIER_SOURCE"


def _winning_rule(winner: Winner, rivals: Sequence[_Found]) -> str:
    """Why the winner wins: what it has before the best of the others."""
    if not winner.contribution.is_granted:
        return "EXPLICIT_DENIAL"
    best: tuple[Source, Contribution] | None = None
    for source, given, _ in rivals:
        if given is not None and (
            best is None or given.rank > best[1].rank or (given.rank == best[1].rank and before(source, best[0]))
        ):
            best = source, given
    return "ONLY_SOURCE" if best is None else _rule(winner.source, winner.contribution, *best)


def _line(
    catalog: Catalog,
    source: Source,
    feature: Feature,
    given: Contribution | None,
    state: str,
    *,
    wins: bool,
    counts: bool,
    rule: str,
) -> SourceLine:
    subscription = source if isinstance(source, SubscriptionSource) else None
    return SourceLine(
        kind=kind_of_source(source),
        state=state,
        start_ms=source.start_ms,
        end_ms=None if source.end_ms >= FOREVER_MS else source.end_ms,
        subscription_id=None if subscription is None else subscription.subscription_id,
        plan_id=None if subscription is None else subscription.packages[0][0],
        plan_version=None if subscription is None else subscription.packages[0][1],
        resource_id=None if subscription is None else subscription.resource_id or None,
        gives=None if given is None else _gives(given, feature),
        packages=() if subscription is None else _packages(catalog, subscription, feature),
        wins=wins,
        counts=counts,
        rule=rule,
    )


def _gives(given: Contribution, feature: Feature) -> Gives:
    is_numeric = feature.feature_type == "Numeric"
    return Gives(
        is_granted=given.is_granted,
        is_unlimited=given.is_unlimited,
        limit=given.limit if is_numeric else None,
        has_soft_limit=given.has_soft_limit,
        enum_values=tuple(value for value in feature.enum_values if value in given.values)
        if feature.feature_type == "Enum"
        else None,
        reset_period=given.reset_period,
        reset_period_configuration=given.configuration,
        credit_currency_id=None if given.rate is None else given.rate.currency_id,
        credit_rate=None if given.rate is None else given.rate.amount,
    )


def _packages(catalog: Catalog, source: SubscriptionSource, feature: Feature) -> tuple[PackageLine, ...]:
    parts = stated(catalog, source, feature)
    override = winning_override(parts) if feature.feature_type == "Numeric" else None
    units = dict(source.units).get(feature.id)
    customs = dict(source.custom)
    made = []
    for part in parts:
        entitlement = part.entitlement
        package = catalog.packages[part.package_id, part.version]
        is_custom = part.is_plan and units is None and feature.id in customs
        committed = units if part.is_plan else None
        is_payg = (
            part.is_plan
            and not is_custom
            and committed is None
            and entitlement.limit is None
            and package.prices.get(feature.id) == "USAGE_BASED"
        )
        counts, rule = _part_rule(part, override, is_custom=is_custom, is_committed=committed is not None)
        if is_payg and rule == "BASE":
            rule = "PAY_AS_YOU_GO"
        rate = entitlement.credit_rate
        is_numeric = feature.feature_type == "Numeric"
        made.append(
            PackageLine(
                kind="PLAN" if part.is_plan else "ADDON",
                package_id=part.package_id,
                version=part.version,
                quantity=part.quantity,
                base_plan_id=None if part.stated_by == part.package_id else part.stated_by,
                behavior=None if part.is_plan else entitlement.behavior,
                gives=Gives(
                    is_granted=entitlement.is_granted,
                    is_unlimited=is_numeric and (entitlement.is_unlimited or is_payg),
                    limit=entitlement.limit if is_numeric else None,
                    has_soft_limit=entitlement.has_soft_limit or (part.is_plan and feature.id in package.soft),
                    enum_values=(feature.enum_values if entitlement.enum_values is None else entitlement.enum_values)
                    if feature.feature_type == "Enum"
                    else None,
                    reset_period=entitlement.reset_period,
                    reset_period_configuration=entitlement.reset_period_configuration,
                    credit_currency_id=None if rate is None else rate.currency_id,
                    credit_rate=None if rate is None else rate.amount,
                ),
                units=committed,
                is_custom=is_custom,
                custom_value=customs.get(feature.id) if is_custom else None,
                counts=counts,
                adds=_adds(part, rule, committed=committed, custom=customs.get(feature.id))
                if counts and is_numeric
                else None,
                rule=rule,
            )
        )
    return tuple(made)


def _part_rule(part: Part, override: Part | None, *, is_custom: bool, is_committed: bool) -> tuple[bool, str]:
    if override is not None:
        if part is override:
            return True, "OVERRIDES"
        return False, "SMALLER_OVERRIDE" if part.is_override else "OVERRIDDEN"
    if not part.entitlement.is_granted:
        return False, "NOT_GRANTED"
    if is_custom:
        return True, "CUSTOM_VALUE"
    if is_committed:
        return True, "COMMITTED_UNITS"
    return True, "BASE" if part.is_plan else "ADDS"


def _adds(part: Part, rule: str, *, committed: Number | None, custom: Number | None) -> Number | None:
    """What a package brings to the source's number."""
    if rule == "CUSTOM_VALUE":
        return custom
    if rule == "COMMITTED_UNITS":
        return committed
    if part.entitlement.is_unlimited or part.entitlement.limit is None:
        return None
    return json_number(part.amount())
