"""Why a source wins, what its packages do, and the search for the smallest number that is enough."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from stigg_local.core.answer import Entitlement
from stigg_local.core.catalog import Inherited, PackageEntitlement
from stigg_local.core.credit import overdraft_of
from stigg_local.core.customer import TRIAL, Source
from stigg_local.core.explain import explain_answer, explain_sources
from stigg_local.core.explanation import Question
from stigg_local.core.fallback import Fallback, fallback_answer
from stigg_local.core.period import DAY_MS, to_ms
from stigg_local.core.ways import fallback_ways, find_ways
from stigg_local.core.world import World, least
from tests.builders import (
    NOW_MS,
    addon,
    catalog,
    credits,
    customer,
    feature,
    gives,
    grant,
    plan,
    promotion,
    source,
    subscription,
    view,
)

CALLS = feature(scale=0)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300), st.none() | st.integers(-5, 400))
def test_least_finds_the_smallest_yes(low: int, high: int, first: int, guess: int | None) -> None:
    """Also where the guess is wrong or out of range; None where there is no yes."""
    expected = next((number for number in range(low, high + 1) if number >= first), None)
    assert expected == least(lambda number: number >= first, low, high, guess=guess)


@given(st.integers(0, 2**62))
def test_least_takes_few_looks(first: int) -> None:
    """A look may be a rehearsal, so their number is that of the digits."""
    looks: list[int] = []

    def yes(number: int) -> bool:
        looks.append(number)
        return number >= first

    assert first == least(yes, 0, 2**62)
    assert len(looks) <= 2 * 62 + 4


def rules(*sources: Source, **packages: Any) -> list[tuple[str, str, bool, str]]:
    """(kind, state, wins, rule) of each source."""
    compiled = catalog(
        CALLS,
        plan(),
        plan("large", entitlements=(gives(usage_limit=20),)),
        plan("endless", entitlements=(gives(is_unlimited=True),)),
        plan("soft", entitlements=(gives(has_soft_limit=True),)),
        plan("day", entitlements=(gives(reset_period="DAY"),)),
        plan("month", entitlements=(gives(reset_period="MONTH"),)),
        plan("no", entitlements=(PackageEntitlement(feature_id="calls", is_granted=False),)),
        plan("bare", entitlements=()),
        **packages,
    )
    found, _ = explain_sources(compiled, view(*sources), CALLS, resource_id="", now_ms=NOW_MS)
    return [(line.kind, line.state, line.wins, line.rule) for line in found]


def of(plan_id: str, **fields: Any) -> Source:
    return source(packages=((plan_id, 1, 1),), **fields)


@pytest.mark.parametrize(
    ("winner", "loser", "rule"),
    [
        ("large", "plan-a", "LARGER_LIMIT"),
        ("endless", "large", "UNLIMITED"),
        ("soft", "plan-a", "SOFT_LIMIT"),
        ("day", "month", "SHORTER_RESET"),
        ("month", "plan-a", "SHORTER_RESET"),
        ("plan-a", "no", "GRANTED"),
    ],
)
def test_the_rule_is_the_first_difference(winner: str, loser: str, rule: str) -> None:
    """Whatever the order of the sources."""
    expected = [("SUBSCRIPTION", "IN_FORCE", True, rule), ("SUBSCRIPTION", "IN_FORCE", False, rule)]
    assert expected == rules(of(winner), of(loser))
    assert expected[::-1] == rules(of(loser), of(winner))


def test_equal_sources_are_told_apart_by_kind_and_order() -> None:
    paid, trial, gift = of("plan-a"), of("plan-a", kind=TRIAL), promotion(gives())
    assert "SUBSCRIPTION_FIRST" == rules(trial, paid)[1][3]
    assert "SUBSCRIPTION_FIRST" == rules(gift, paid)[0][3]
    assert [("TRIAL", "IN_FORCE", True, "TRIAL_FIRST")] == rules(gift, trial)[1:]
    assert "EARLIER_SOURCE" == rules(paid, paid)[0][3]
    assert [("PROMOTION", "IN_FORCE", True, "ONLY_SOURCE")] == rules(gift)


def test_what_is_not_in_force_is_listed_and_does_not_count() -> None:
    later = of("large", start_ms=NOW_MS + DAY_MS)
    before = of("large", start_ms=NOW_MS - 2 * DAY_MS, end_ms=NOW_MS)
    elsewhere = of("large", resource_id="site")
    assert [
        ("SUBSCRIPTION", "FUTURE", False, "NOT_IN_FORCE"),
        ("SUBSCRIPTION", "ENDED", False, "NOT_IN_FORCE"),
        ("SUBSCRIPTION", "OTHER_RESOURCE", False, "NOT_IN_FORCE"),
        ("SUBSCRIPTION", "IN_FORCE", True, "ONLY_SOURCE"),
    ] == rules(later, before, elsewhere, of("plan-a"))
    assert [("SUBSCRIPTION", "IN_FORCE", False, "SAYS_NOTHING")] == rules(of("bare"))
    assert [("SUBSCRIPTION", "IN_FORCE", True, "ONLY_SOURCE")] == rules(of("plan-a"), of("bare"))
    assert [("SUBSCRIPTION", "IN_FORCE", True, "EXPLICIT_DENIAL")] == rules(of("no"))


def test_packages_say_what_becomes_of_their_statement() -> None:
    """A base plan's statement, increments, and the override that beats them."""
    made = [
        addon("more", entitlements=(gives(usage_limit=3),)),
        addon("over", entitlements=(gives(usage_limit=50, behavior="Override"),)),
        addon("under", entitlements=(gives(usage_limit=9, behavior="Override"),)),
    ]
    heir = replace(plan("heir", entitlements=()), inherited=(Inherited(plan_id="plan-a", entitlement=gives()),))
    compiled = catalog(CALLS, plan(), heir, *made)

    def shown(*addons: tuple[str, int], **fields: Any) -> list[tuple[str, int, str | None, bool, str]]:
        at = source(packages=(("heir", 1, 1), *((name, 1, many) for name, many in addons)), **fields)
        (line,), _ = explain_sources(compiled, view(at), CALLS, resource_id="", now_ms=NOW_MS)
        return [(item.package_id, item.quantity, item.base_plan_id, item.counts, item.rule) for item in line.packages]

    assert [("heir", 1, "plan-a", True, "BASE"), ("more", 4, None, True, "ADDS")] == shown(("more", 4))
    assert [
        ("heir", 1, "plan-a", False, "OVERRIDDEN"),
        ("more", 1, None, False, "OVERRIDDEN"),
        ("over", 1, None, True, "OVERRIDES"),
        ("under", 1, None, False, "SMALLER_OVERRIDE"),
    ] == shown(("more", 1), ("over", 1), ("under", 1))
    assert [("heir", 1, "plan-a", True, "COMMITTED_UNITS")] == shown(units=(("calls", 7),))
    assert [("heir", 1, "plan-a", True, "COMMITTED_UNITS"), ("more", 2, None, True, "ADDS")] == shown(
        ("more", 2), units=(("calls", 7),)
    )
    assert [("heir", 1, "plan-a", True, "CUSTOM_VALUE")] == shown(custom=(("calls", 25),))


def test_waiting_needs_no_rehearsal_and_less_is_exact() -> None:
    """Where every change is refused, time and a smaller request are what is left."""
    compiled = catalog(CALLS, plan(entitlements=(gives(reset_period="DAY"),)))
    seen = view(source(), counters={("", "calls", NOW_MS, NOW_MS + DAY_MS): 7})
    question = Question(customer_id="c", feature_id="calls", requested_usage=5)
    ways = find_ways(World(compiled, seen, None, question, lambda *_: None, NOW_MS))
    assert [("WAIT", NOW_MS + DAY_MS, None), ("LESS", None, 3)] == [
        (way.kind, way.at_ms, way.requested_usage) for way in ways
    ]
    too_much = Question(customer_id="c", feature_id="calls", requested_usage=11)
    assert ["LESS"] == [way.kind for way in find_ways(World(compiled, seen, None, too_much, lambda *_: None, NOW_MS))]


def test_waiting_goes_past_many_empty_windows() -> None:
    """A plan that begins in two months is behind 1,440 hourly windows, which are all alike."""
    compiled = catalog(
        CALLS,
        plan(entitlements=(gives(reset_period="HOUR"),)),
        plan("large", entitlements=(gives(usage_limit=20),)),
    )
    seen = view(source(), of("large", start_ms=NOW_MS + 60 * DAY_MS + 7))
    question = Question(customer_id="c", feature_id="calls", requested_usage=15)
    ways = find_ways(World(compiled, seen, None, question, lambda *_: None, NOW_MS))
    assert [("WAIT", NOW_MS + 60 * DAY_MS + 7), ("LESS", None)] == [(way.kind, way.at_ms) for way in ways]


def test_waiting_sees_a_debt_paid_off() -> None:
    """100 owed and 10 a month, less the month that is running: after ten months eight can be spent."""
    compiled = catalog(CALLS, plan(credit_entitlements=(credits(10),)))
    owed = replace(overdraft_of("ai", "", at_ms=NOW_MS, new_id="o"), consumed=100)
    spent = grant("s-1:ai:MONTH:0", 10, grant_type="RECURRING", consumed=10, source="s-1")
    seen = view(source(), grants=(replace(spent, expire_ms=NOW_MS + 28 * DAY_MS), owed))
    question = Question(customer_id="c", feature_id="ai", requested_usage=8)
    (way, *_) = find_ways(World(compiled, seen, None, question, lambda *_: None, NOW_MS))
    # From 31 January the eleventh month after this one begins on 31 December.
    assert ("WAIT", to_ms("2025-12-31T10:00:00Z", name="at")) == (way.kind, way.at_ms)


def test_waiting_gives_up_where_no_month_is_enough() -> None:
    compiled = catalog(CALLS, plan(credit_entitlements=(credits(10),)))
    owed = replace(overdraft_of("ai", "", at_ms=NOW_MS, new_id="o"), consumed=100)
    question = Question(customer_id="c", feature_id="ai", requested_usage=11)
    ways = find_ways(World(compiled, view(source(), grants=(owed,)), None, question, lambda *_: None, NOW_MS))
    assert [] == [way for way in ways if way.kind == "WAIT"]


def test_credits_come_from_packages_and_grants() -> None:
    """In burn order, each with the rule that puts the next one behind it."""
    compiled = catalog(
        CALLS,
        plan(credit_entitlements=(credits(10),)),
        addon("more", credit_entitlements=(credits(3),)),
    )
    at = source(packages=(("plan-a", 1, 1), ("more", 1, 2)))
    seen = view(at, grants=(grant("paid", 5, grant_type="PAID"), grant("first", 4, priority=-1)))
    question = Question(customer_id="c", feature_id="ai")
    answer = World(compiled, seen, None, question, lambda *_: None, NOW_MS).answer(seen)
    assert answer is not None
    found = explain_answer(compiled, seen, question, answer, resource_id="", now_ms=NOW_MS)
    assert [
        ("CREDIT_GRANT", "PROMOTIONAL", True, "PRIORITY"),
        ("SUBSCRIPTION", "RECURRING", False, "PRIORITY"),
        ("CREDIT_GRANT", "PAID", False, "PRIORITY"),
    ] == [(line.kind, line.origin, line.wins, line.rule) for line in found.sources]
    assert [("plan-a", 10, "BASE"), ("more", 6, "ADDS")] == [
        (part.package_id, part.adds, part.rule) for part in found.sources[1].packages
    ]


def test_an_override_of_credits_replaces_what_comes_as_often() -> None:
    """The largest with its quantity, of equal ones the first; what is given once a year stays."""
    compiled = catalog(
        CALLS,
        plan(credit_entitlements=(credits(10), credits(7, "YEAR"))),
        addon("over", credit_entitlements=(credits(4, behavior="Override"),)),
        addon("same", credit_entitlements=(credits(2, behavior="Override"),)),
        addon("under", credit_entitlements=(credits(5, behavior="Override"),)),
    )
    packages = (("plan-a", 1, 1), ("over", 1, 2), ("same", 1, 4), ("under", 1, 1))
    monthly = [
        ("plan-a", None, "OVERRIDDEN"),
        ("over", 8, "OVERRIDES"),
        ("same", None, "SMALLER_OVERRIDE"),
        ("under", None, "SMALLER_OVERRIDE"),
    ]
    yearly = ("plan-a", 7, "BASE")
    running = source(packages=packages)
    later = source(packages=packages, subscription_id="s-2", start_ms=NOW_MS + DAY_MS)
    seen = view(running, later)
    question = Question(customer_id="c", feature_id="ai")
    answer = World(compiled, seen, None, question, lambda *_: None, NOW_MS).answer(seen)
    assert answer is not None
    found = explain_answer(compiled, seen, question, answer, resource_id="", now_ms=NOW_MS)
    shown = [[(part.package_id, part.adds, part.rule) for part in line.packages] for line in found.sources]
    # Each grant that is there has its own cadence alone; what comes later is told whole.
    assert [monthly, [yearly], [monthly[0], yearly, *monthly[1:]]] == shown


def test_a_question_about_a_resource_does_not_see_the_credits_of_none() -> None:
    compiled = catalog(CALLS, plan(credit_entitlements=(credits(10),)))
    seen = view(source())
    seen = replace(seen, snapshot=replace(seen.snapshot, resource_ids=("site",)))
    question = Question(customer_id="c", feature_id="ai", resource_id="site")
    answer = World(compiled, seen, None, question, lambda *_: None, NOW_MS).answer(seen)
    assert answer is not None
    found = explain_answer(compiled, seen, question, answer, resource_id="site", now_ms=NOW_MS)
    assert [("SUBSCRIPTION", "OTHER_RESOURCE", "NOT_IN_FORCE")] == [
        (line.kind, line.state, line.rule) for line in found.sources
    ]


def test_of_a_fallbacks_values_those_that_it_grants_are_left_in_the_order_of_the_question() -> None:
    question = Question(
        customer_id="c", feature_id="regions", type="ENUM", requested_values=("us", "mars", "eu", "us")
    )
    fallback = Fallback(True, enum_values=("eu", "us"))

    def ask(requested_usage: Any, values: tuple[str, ...]) -> Entitlement:
        return fallback_answer(
            fallback,
            kind="ENUM",
            feature=None,
            currency=None,
            requested_usage=requested_usage,
            requested_values=values,
            reason=None,
        )

    (way,) = fallback_ways(question, ask(0, question.requested_values), ask)
    assert (("us", "eu"), ["us", "eu"]) == (way.requested_values, (way.arguments or {})["requested_values"])


def test_what_ended_before_the_last_change_is_told_from_the_record() -> None:
    old = subscription("s-0", start_ms=NOW_MS - 9 * DAY_MS, end_ms=NOW_MS - DAY_MS, cancel_reason="Immediate")
    record = customer(old, subscription(plan_id="bare"))
    compiled = catalog(CALLS, plan(), plan("bare", entitlements=()))
    seen = view(of("bare"))
    question = Question(customer_id="c", feature_id="calls")
    answer = World(compiled, seen, None, question, lambda *_: None, NOW_MS).answer(seen)
    assert answer is not None
    found = explain_answer(compiled, seen, question, answer, customer=record, resource_id="", now_ms=NOW_MS)
    assert [("bare", "IN_FORCE"), ("plan-a", "ENDED")] == [(line.plan_id, line.state) for line in found.sources]


def test_an_explanation_is_plain_data_and_a_tree() -> None:
    compiled = catalog(CALLS, plan(entitlements=(gives(reset_period="DAY"),)))
    seen = view(source(), counters={("", "calls", NOW_MS, NOW_MS + DAY_MS): 7})
    question = Question(customer_id="c", feature_id="calls", requested_usage=5)
    world = World(compiled, seen, None, question, lambda *_: None, NOW_MS)
    answer = world.answer(seen)
    assert answer is not None
    found = explain_answer(compiled, seen, question, answer, resource_id="", now_ms=NOW_MS)
    told = found.to_dict()
    assert answer.to_dict() == told["entitlement"]
    assert {
        "usage": 7,
        "limit": 10,
        "remaining": 3,
        "resetPeriod": "DAY",
        "anchor": "2025-01-31T10:00:00.000Z",
        "windowStart": "2025-01-31T10:00:00.000Z",
        "windowEnd": "2025-02-01T10:00:00.000Z",
        "resetAt": "2025-02-01T10:00:00.000Z",
        "countedFrom": "2025-01-31T10:00:00.000Z",
    } == told["counter"]
    assert [
        "denied: RequestedUsageExceedsLimit  c calls, 5 requested  at 2025-01-31 10:00 UTC",
        "├─ sources",
        "│  └─ subscription s-1 of plan-a: 10 a day (wins: the only source in force)",
        "│     ├─ plan plan-a v1: 10 a day (the base of the limit)",
        "│     └─ from 2025-01-31 10:00 UTC",
        "├─ counter: 7 used, limit 10, 3 left",
        "│  ├─ window from 2025-01-31 10:00 UTC to 2025-02-01 10:00 UTC",
        "│  ├─ a day, anchored at 2025-01-31 10:00 UTC",
        "│  └─ reset at 2025-02-01 10:00 UTC",
        "└─ no way to yes was found",
    ] == str(found).splitlines()
