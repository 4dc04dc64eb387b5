"""Constraints and holds: small examples, then the laws that join them to the getters."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stigg_local.core.answer import METERED, MeteredEntitlement
from stigg_local.core.consume import Constraint, constraints, credit_cost, refusal
from stigg_local.core.credit import Grant, burn, burn_key, hold_from, overdraft_of, without_held
from stigg_local.core.entitlement import Compiled, Gate, answer_request
from stigg_local.core.hold import (
    HOLDS_MAX,
    TTL_S_MAX,
    Hold,
    check_ttl,
    held_credits,
    is_active,
    reserved_units,
    used,
)
from stigg_local.core.period import FOREVER_MS
from stigg_local.core.words import AccessDeniedReason
from stigg_local.errors import InvalidInput

EXCEEDS, INSUFFICIENT = AccessDeniedReason.RequestedUsageExceedsLimit, AccessDeniedReason.InsufficientCredits
BUDGET = AccessDeniedReason.BudgetExceeded


def hold(**fields: Any) -> Hold:
    whole: dict[str, Any] = {
        "id": "hold-1",
        "resource_id": "",
        "feature_id": "feature",
        "currency_id": "ai",
        "amount": 5,
        "cost": 50,
        "rate": "10",
        "taken": (("a", 30), ("b", 20)),
        "start_ms": 1000,
        "expire_ms": 2000,
    }
    return Hold(**(whole | fields))


def grant(name: str, amount: int, **fields: Any) -> Grant:
    whole: dict[str, Any] = {"consumed": 0, "priority": 0, "effective_ms": 0, "expire_ms": FOREVER_MS, "created_ms": 0}
    return Grant(name, "ai", "", "PROMOTIONAL", amount, **(whole | fields))


def test_the_first_constraint_without_room_gives_the_reason() -> None:
    """Any other constraint, as a budget is one, only has to stand in its place."""
    full, empty = Constraint(EXCEEDS, 3, 4), Constraint(INSUFFICIENT, 0, 1)
    assert refusal(()) is None
    assert refusal([Constraint(EXCEEDS, None, 10**18), Constraint(INSUFFICIENT, 4, 4)]) is None
    assert refusal([full, empty]) == EXCEEDS
    assert refusal([Constraint(EXCEEDS, 4, 4), empty]) == INSUFFICIENT
    assert refusal([Constraint(BUDGET, 0, 1), full, empty]) == BUDGET


def test_a_denied_gate_has_no_room_for_anything() -> None:
    denied = Gate(denied=AccessDeniedReason.Revoked, headroom=100)
    assert refusal(constraints(denied, 1)) == AccessDeniedReason.Revoked


gates = st.builds(
    Gate,
    scale=st.integers(0, 6),
    headroom=st.none() | st.integers(-(10**9), 10**9),
    rate=st.none() | st.decimals(Decimal("0.001"), 100, places=3),
    credit_scale=st.integers(0, 6),
    credits=st.none() | st.integers(-(10**9), 10**9),
    denied=st.sampled_from([None, None, None, AccessDeniedReason.CustomerNotFound]),
)


@given(gates, st.integers(1, 10**6))
def test_a_refusal_has_the_reason_that_a_getter_gives(gate: Gate, units: int) -> None:
    """Two ways to the same decision must not come apart."""
    granted: tuple[Any, ...] = (True, None, False, None, "snapshot", 0, FOREVER_MS, *(None,) * 10)
    compiled = Compiled(MeteredEntitlement(*granted), METERED, FOREVER_MS, gate, granted)
    answer = answer_request(compiled, units, ())
    assert answer.access_denied_reason == refusal(constraints(gate, units * 10**gate.scale))


@given(gates, st.integers(1, 10**9), st.integers(1, 10**9))
def test_asking_for_more_never_turns_no_into_yes(gate: Gate, raw: int, more: int) -> None:
    if refusal(constraints(gate, raw)) is not None:
        assert refusal(constraints(gate, raw + more)) is not None
    assert credit_cost(gate, raw) <= credit_cost(gate, raw + more)


@pytest.mark.parametrize(("at_ms", "expected"), [(999, False), (1000, True), (1999, True), (2000, False)])
def test_a_hold_counts_from_its_start_to_its_end(at_ms: int, expected: bool) -> None:
    """Half open, as every interval."""
    assert expected == is_active(hold(), at_ms)


def test_units_are_held_in_the_window_of_the_start() -> None:
    holds = [hold(), hold(id="hold-2", start_ms=1100, expire_ms=1500), hold(id="hold-3", resource_id="site")]

    def reserved(from_ms: int, to_ms: int, at_ms: int, resource_id: str = "") -> tuple[int, int]:
        return reserved_units(
            holds, resource_id=resource_id, feature_id="feature", from_ms=from_ms, to_ms=to_ms, at_ms=at_ms
        )

    assert (10, 1500) == reserved(0, FOREVER_MS, 1200)
    assert (5, 2000) == reserved(0, FOREVER_MS, 1500)
    assert (5, 1500) == reserved(1100, FOREVER_MS, 1200)
    assert (5, 2000) == reserved(0, 1100, 1200)
    assert (5, 2000) == reserved(0, FOREVER_MS, 1200, "site")
    assert (0, FOREVER_MS) == reserved(0, FOREVER_MS, 2000)


def test_credits_are_held_by_grant_and_beyond_them() -> None:
    short = [hold(id=f"short-{cost}", cost=cost, taken=(("b", 5),), expire_ms=1500) for cost in (15, 8)]
    held = held_credits(
        [hold(), *short, hold(id="other", currency_id="x")], currency_id="ai", resource_id="", at_ms=1200
    )
    assert ({"a": 30, "b": 30}, 13, 1500) == (held.parts, held.short, held.until_ms)


@given(st.integers(0, 120))
def test_what_is_used_comes_from_the_grants_that_held_it_in_their_order(cost: int) -> None:
    parts, rest = used(hold(), cost)
    assert cost == sum(part for _, part in parts) + rest
    assert {"a": min(cost, 30), "b": min(max(0, cost - 30), 20)} == {"a": 0, "b": 0} | dict(parts)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 2), st.integers(1, 5)), max_size=5),
    st.integers(0, 120),
    st.integers(0, 120),
)
def test_holding_then_burning_takes_what_burning_both_at_once_takes(
    given_grants: list[tuple[int, int, int]], first: int, second: int
) -> None:
    """A hold stands in the burn order like a consumption, and is not stored as one."""
    grants = sorted(
        (
            grant(f"g{number}", amount, priority=priority, expire_ms=expire)
            for number, (amount, priority, expire) in enumerate(given_grants)
        ),
        key=burn_key,
    )
    empty = overdraft_of("ai", "", at_ms=0, new_id="debt")
    taken = dict(hold_from(grants, first))
    seen = [grant(item.id, item.amount, priority=item.priority, consumed=taken.get(item.id, 0)) for item in grants]
    burned = without_held(burn(seen, second, overdraft=empty), taken)
    whole = dict(burn(grants, first + second, overdraft=empty).taken)
    debt = whole.pop("debt", 0)
    both = {item.id: item.consumed + taken.get(item.id, 0) for item in burned.changed if item.id != "debt"}
    assert whole == {key: part for key, part in (taken | both).items() if part}
    assert debt == first - sum(taken.values()) + dict(burned.taken).get("debt", 0)


@pytest.mark.parametrize("ttl", [0, -1, TTL_S_MAX + 1, True, "60", None, float("nan"), float("inf"), 1e300])
def test_a_life_that_is_none_or_too_long_is_refused(ttl: object) -> None:
    with pytest.raises(InvalidInput):
        check_ttl(ttl)


def test_a_life_is_taken_to_the_millisecond() -> None:
    assert (1, 1500, TTL_S_MAX * 1000) == (check_ttl(0.001), check_ttl(1.5), check_ttl(TTL_S_MAX))
    assert HOLDS_MAX >= 100
