"""An explanation as a tree of short lines for people; `lines` draws it without colour."""

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from stigg_local.core.answer import CREDIT
from stigg_local.core.period import to_datetime
from stigg_local.core.quantity import json_number

if TYPE_CHECKING:
    from stigg_local.core.answer import Entitlement
    from stigg_local.core.explanation import (
        CounterLine,
        CreditLine,
        Explanation,
        Gives,
        GrantLine,
        PackageLine,
        Question,
        SourceLine,
        Way,
    )

Tone = Literal["good", "bad", "dim", "title"]

# Every rule by which a source, a package or a fallback counts or does not, as a sentence.
RULES = {
    "ONLY_SOURCE": "the only source in force",
    "GRANTED": "a grant beats a denial",
    "UNLIMITED": "unlimited beats a limit",
    "LARGER_LIMIT": "the larger limit wins",
    "SOFT_LIMIT": "a soft limit beats a hard one",
    "SHORTER_RESET": "the shorter reset period wins",
    "SUBSCRIPTION_FIRST": "equal: a subscription goes before trials and promotions",
    "TRIAL_FIRST": "equal: a trial goes before promotions",
    "EARLIER_SOURCE": "equal: the first one stays",
    "EXPLICIT_DENIAL": "denied by name, and nothing in force grants it",
    "ADDS_VALUES": "its values are allowed too",
    "SAYS_NOTHING": "says nothing about it",
    "NOT_IN_FORCE": "does not count now",
    "CALL_FIRST": "the call's fallback goes before configured ones",
    "FILE_FIRST": "the fallback file goes before the dictionaries",
    "AUTHORITY_FIRST": "not looked at: there is an authoritative answer",
    "PRIORITY": "the smaller priority number is spent first",
    "EARLIER_EXPIRY": "what expires earlier is spent first",
    "PROMOTIONAL_FIRST": "promotional credits are spent before paid ones that expire with them",
    "EARLIER_START": "equal: what was in force earlier is spent first",
    "EARLIER_GRANT": "equal: what was granted earlier is spent first",
    "USED_UP": "used up",
    "BASE": "the base of the limit",
    "PAY_AS_YOU_GO": "paid as it is used, without a limit",
    "ADDS": "adds to the plan",
    "OVERRIDES": "overrides the plan and what adds to it",
    "OVERRIDDEN": "not counted: an override beats it",
    "SMALLER_OVERRIDE": "not counted: a larger override beats it",
    "NOT_GRANTED": "not counted: it grants nothing",
    "COMMITTED_UNITS": "the committed units are the limit",
    "CUSTOM_VALUE": "this subscription's own value is the limit",
}
_STATES = {
    "FUTURE": "not in force yet",
    "ENDED": "ended",
    "OTHER_RESOURCE": "of another resource",
}
# How many ways of one kind the tree shows.
WAYS_SHOWN = 6
_TIMES = "\u00d7"


class Branch(Struct, frozen=True):
    """A line of the tree and what stands below it."""

    text: str
    branches: "tuple[Branch, ...]" = ()
    tone: Tone | None = None


def lines(branch: Branch) -> Iterator[str]:
    """The tree as lines, drawn with characters; what would break a line, as in a hostile id, is escaped."""
    yield _printable(branch.text)
    yield from _below(branch, "")


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _below(branch: Branch, indent: str) -> Iterator[str]:
    for index, child in enumerate(branch.branches):
        is_last = index == len(branch.branches) - 1
        yield indent + ("└─ " if is_last else "├─ ") + _printable(child.text)
        yield from _below(child, indent + ("   " if is_last else "│  "))


def branch_of(explanation: "Explanation") -> Branch:
    """The tree of an explanation."""
    answer, question = explanation.entitlement, explanation.question
    reason = answer.access_denied_reason
    verdict = "access" if answer.has_access else "denied" + (f": {reason.value}" if reason is not None else "")
    found: list[Branch] = []
    if reason is not None and answer.has_access:
        found.append(Branch(f"but: {reason.value}"))
    if answer.is_fallback:
        found.append(Branch("nothing authoritative answered", tone="dim"))
    sources = tuple(_source(source) for source in explanation.sources)
    if sources:
        found.append(Branch("sources", sources, "title"))
    else:
        text = "nothing has ever brought credits" if answer.type == CREDIT else "no source says anything about it"
        found.append(Branch(text, tone="dim"))
    if explanation.counter is not None:
        found.append(_counter(explanation.counter))
    if explanation.credits is not None:
        found.append(_credits(explanation.credits))
    if explanation.ways:
        found.append(Branch("ways to yes", tuple(_ways(explanation.ways)), "title"))
    elif not answer.has_access:
        found.append(Branch("no way to yes was found", tone="dim"))
    if explanation.hint is not None:
        found.append(Branch(f"hint: {explanation.hint}"))
    if explanation.error is not None:
        found.append(Branch(f"not all could be looked at: {explanation.error}", tone="bad"))
    return Branch(
        f"{verdict}  {_asked(question)}  at {instant(explanation.now_ms)}",
        tuple(found),
        "good" if answer.has_access else "bad",
    )


def instant(ms: int | None) -> str:
    """An instant as people read it, with seconds only where there are any."""
    moment = to_datetime(ms)
    if moment is None:
        return "never"
    text = f"{moment:%Y-%m-%d %H:%M}"
    if moment.second or moment.microsecond:
        text += f":{moment:%S}" + (f".{moment.microsecond // 1000:03d}" if moment.microsecond else "")
    return text + " UTC"


def number(value: Any) -> str:
    """A number with thousands apart."""
    return f"{json_number(value) if isinstance(value, Decimal) else value:,}"


def _asked(question: "Question") -> str:
    text = f"{question.customer_id} {question.feature_id}"
    if question.resource_id is not None:
        text += f" of {question.resource_id}"
    if question.requested_usage:
        text += f", {number(question.requested_usage)} requested"
    if question.requested_values:
        text += f", {', '.join(question.requested_values)} requested"
    return text


def _span(start_ms: int | None, end_ms: int | None) -> str:
    return f"from {instant(start_ms)}" + ("" if end_ms is None else f" to {instant(end_ms)}")


def _source(source: "SourceLine") -> Branch:
    name = source.kind.lower()
    if source.kind == "FALLBACK":
        text = f"fallback from the {source.origin}"
    elif source.kind == "CREDIT_GRANT":
        text = f"{(source.origin or '').lower()} credits {source.grant_id}"
    else:
        text = name if source.plan_id is None else f"{name} {source.subscription_id} of {source.plan_id}"
        if source.resource_id is not None:
            text += f" for {source.resource_id}"
    if source.gives is not None:
        text += f": {_gives(source.gives)}"
    marks = _STATES.get(source.state) or source.rule_text
    if source.wins:
        marks = f"{'spent next' if source.grant_id else 'wins'}: {marks}"
    below = [_package(package) for package in source.packages]
    if source.start_ms is not None:
        below.append(Branch(_span(source.start_ms, source.end_ms), tone="dim"))
    tone: Tone | None = "good" if source.wins else None if source.counts else "dim"
    return Branch(f"{text} ({marks})", tuple(below), tone)


def _gives(gives: "Gives") -> str:
    if not gives.is_granted:
        return "denies"
    words = []
    if gives.is_unlimited:
        words.append("unlimited")
    elif gives.limit is not None:
        words.append(number(gives.limit))
    if gives.enum_values is not None:
        words.append(", ".join(gives.enum_values) or "no values")
    if gives.has_soft_limit:
        words.append("soft")
    if gives.reset_period is not None:
        configuration = gives.reset_period_configuration
        words.append(f"a {gives.reset_period.lower()}" + (f" ({configuration})" if configuration else ""))
    if gives.credit_rate is not None:
        words.append(f"at {number(gives.credit_rate)} {gives.credit_currency_id} each")
    if gives.credit_amount is not None:
        words.append(f"{number(gives.credit_amount)} credits")
        words += [] if gives.credit_cadence is None else [f"a {gives.credit_cadence.lower()}"]
    return " ".join(words) or "granted"


def _package(package: "PackageLine") -> Branch:
    text = f"{package.kind.lower().replace('addon', 'add-on')} {package.package_id} v{package.version}"
    if package.quantity != 1:
        text += f" {_TIMES} {package.quantity}"
    if package.base_plan_id is not None:
        text += f", inherited from {package.base_plan_id}"
    text += f": {_gives(package.gives)}"
    if package.units is not None:
        text += f", {number(package.units)} units"
    if package.is_custom:
        text += ", unlimited here" if package.custom_value is None else f", {number(package.custom_value)} here"
    if package.adds is not None and package.quantity != 1:
        text += f" = {number(package.adds)}"
    return Branch(f"{text} ({RULES[package.rule]})", tone=None if package.counts else "dim")


def _counter(counter: "CounterLine") -> Branch:
    text = f"counter: {number(counter.usage)} used"
    if counter.transformed_usage is not None:
        text += f", {number(counter.transformed_usage)} in the unit of the limit"
    if counter.limit is not None:
        text += f", limit {number(counter.limit)}"
    if counter.reserved is not None:
        text += f", {number(counter.reserved)} reserved"
    if counter.remaining is not None:
        text += f", {number(counter.remaining)} left"
    below = []
    if counter.reset_period is not None:
        below.append(Branch(f"window {_span(counter.window_start_ms, counter.window_end_ms)}"))
        configuration = counter.reset_period_configuration
        way = f" ({configuration})" if configuration else ""
        below.append(Branch(f"a {counter.reset_period.lower()}{way}, anchored at {instant(counter.anchor_ms)}"))
        below.append(Branch(f"reset at {instant(counter.window_end_ms)}"))
        if counter.counted_from_ms != counter.window_start_ms:
            below.append(Branch(f"counted from {instant(counter.counted_from_ms)}, when the subscription began"))
    else:
        below.append(Branch("counted for ever: it has no reset period"))
    return Branch(text, tuple(below), "title")


def _credits(credits: "CreditLine") -> Branch:
    text = f"credits {credits.currency_id}: {number(credits.remaining)} left"
    if credits.rate is not None:
        text += f", {number(credits.rate)} for each unit"
    if credits.has_soft_limit:
        text += ", soft"
    return Branch(text, tuple(_grant(grant) for grant in credits.grants), "title")


def _grant(grant: "GrantLine") -> Branch:
    name = f"{grant.grant_type.lower()} {grant.id}"
    if grant.grant_type == "OVERDRAFT":
        return Branch(f"{name}: {number(grant.consumed)} owed", tone="bad")
    text = f"{name}: {number(grant.remaining)} of {number(grant.amount)} left, priority {grant.priority}"
    text += ", never expires" if grant.expire_ms is None else f", expires {instant(grant.expire_ms)}"
    if grant.state == "FUTURE":
        text += f" (not in force before {instant(grant.effective_ms)})"
    elif grant.state == "ENDED":
        text += " (ended)"
    return Branch(text, tone=None if grant.state == "IN_FORCE" else "dim")


def _ways(ways: "tuple[Way, ...]") -> Iterator[Branch]:
    """The first ways of each kind: a large catalog has more plans that would do than a person reads."""
    seen: dict[str, int] = {}
    for way in ways:
        seen[way.kind] = seen.get(way.kind, 0) + 1
        if seen[way.kind] <= WAYS_SHOWN:
            yield Branch(way_text(way))
    for kind, count in seen.items():
        if count > WAYS_SHOWN:
            yield Branch(f"and {count - WAYS_SHOWN} more of {kind}; to_dict() and --json have them all", tone="dim")


def way_text(way: "Way") -> str:
    """What to do, and what the answer allows afterwards."""
    match way.kind:
        case "WAIT":
            text = f"wait until {instant(way.at_ms)}"
        case "LESS" if way.requested_values is not None:
            text = f"ask for {', '.join(way.requested_values)} alone"
        case "LESS":
            text = f"ask for {number(way.requested_usage)} or less, {number(way.units_less)} less than now"
        case "UNITS":
            text = f"{way.plan_id} with {number(way.quantity)} units"
        case "CUSTOM":
            text = f"{way.plan_id} with a custom value of {number(way.quantity)}"
        case "ADDON":
            text = f"add-on {way.addon_id} {_TIMES} {way.quantity} on {way.plan_id}"
        case "PLAN":
            text = f"plan {way.plan_id}" + ("" if way.quantity is None else f" with {number(way.quantity)}")
        case "CREDITS":
            text = f"{number(way.amount)} more credits"
        case _:
            text = "a promotional grant" + ("" if way.limit is None else f" of {number(way.limit)}")
    result = _result(way.entitlement)
    return text + (f" → {result}" if result and way.kind != "LESS" else "")


def _result(answer: "Entitlement") -> str:
    """What the answer allows afterwards."""
    for attribute in ("usage_limit", "value"):
        value = getattr(answer, attribute, None)
        if value is not None:
            return f"limit {number(value)}" + (", soft" if getattr(answer, "has_soft_limit", False) else "")
    if getattr(answer, "is_unlimited", False):
        return "unlimited"
    if answer.type == CREDIT:
        return f"{number(getattr(answer, 'current_balance', 0))} credits"
    return ", ".join(getattr(answer, "enum_values", ()))
