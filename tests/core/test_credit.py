"""Wallets: what can be spent, the order it is burned in, and debts that are settled without anybody there."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stigg_local.core.credit import (
    Grant,
    Wallet,
    burn,
    burn_key,
    is_debt,
    is_spendable,
    overdraft_of,
    recurring_grants,
    settle_debt,
    wallet,
)
from stigg_local.core.customer import CustomerSnapshot
from stigg_local.core.ledger import CONSUMED, GRANTED, LedgerEntry, rebuild
from stigg_local.core.period import DAY_MS, FOREVER_MS
from stigg_local.core.sources import Catalog
from tests.builders import NOW_MS, addon, catalog, credits, feature, gives, grant, ms, plan, snapshot, source

EMPTY = overdraft_of("ai", "", at_ms=NOW_MS, new_id="debt")
MONTHLY = catalog(plan(credit_entitlements=(credits(),)))


def purse(
    *grants: Grant, compiled: Catalog = MONTHLY, sources: CustomerSnapshot | None = None, at_ms: int = NOW_MS
) -> Wallet:
    return wallet(compiled, sources or snapshot(), grants, resource_id="", currency_id="ai", at_ms=at_ms)


@st.composite
def wallets(draw: st.DrawFn) -> list[Grant]:
    """Up to six grants, used up in part, in burn order; with a debt where nothing is left."""
    grants: list[Grant] = []
    for index in range(draw(st.integers(0, 6))):
        amount = draw(st.integers(1, 50))
        fields: dict[str, Any] = {
            "consumed": draw(st.integers(0, amount)),
            "priority": draw(st.integers(0, 2)),
            "grant_type": draw(st.sampled_from(("PROMOTIONAL", "PAID", "RECURRING"))),
            "expire_ms": draw(st.sampled_from((FOREVER_MS, NOW_MS + 1, NOW_MS + DAY_MS))),
        }
        grants.append(grant(f"g-{index}", amount, **fields))
    if all(item.remaining == 0 for item in grants) and draw(st.booleans()):
        grants.append(grant("old-debt", 0, grant_type="OVERDRAFT", consumed=draw(st.integers(1, 9))))
    return sorted(grants, key=burn_key)


def burned(grants: list[Grant], cost: int) -> list[Grant]:
    changed = {item.id: item for item in burn(grants, cost, overdraft=EMPTY).changed}
    kept = [changed.pop(item.id, item) for item in grants]
    return [*kept, *changed.values()]


@given(wallets(), st.integers(0, 200), st.integers(0, 200))
def test_burning_in_two_steps_is_burning_at_once(grants: list[Grant], first: int, second: int) -> None:
    """The order of grants does not depend on how consumption is cut up."""
    assert burned(grants, first + second) == burned(burned(grants, first), second)


@given(wallets(), st.integers(0, 200))
def test_what_was_granted_is_consumed_or_remains(grants: list[Grant], cost: int) -> None:
    """Nothing is lost: a grant is never overdrawn, and what none covers is debt."""
    after = burned(grants, cost)
    consumed = sum(item.consumed for item in after) - sum(item.consumed for item in grants)
    assert cost == consumed
    for item in after:
        assert item.amount == item.consumed + item.remaining
        assert item.grant_type == "OVERDRAFT" or 0 <= item.consumed <= item.amount
    if any(is_debt(item) for item in after):
        assert all(item.remaining == 0 for item in after if item.grant_type != "OVERDRAFT")


@given(wallets(), st.integers(0, 200))
def test_the_wallet_adds_up(grants: list[Grant], cost: int) -> None:
    """Granted less consumed is the balance, debt included."""
    found = purse(*burned(grants, cost))
    assert found.remaining == found.granted - found.consumed == sum(item.remaining for item in found.grants)
    assert [burn_key(item) for item in found.grants] == sorted(burn_key(item) for item in found.grants)


@given(wallets(), st.integers(0, 80), st.integers(1, 80))
def test_a_debt_takes_what_is_granted_later(grants: list[Grant], cost: int, amount: int) -> None:
    """Settling moves consumption and charges nothing twice: the balance grows by what was granted."""
    before = burned(grants, cost)
    later = grant("later", amount, effective_ms=NOW_MS + 5, created_ms=NOW_MS + 5)
    found = purse(*before, later, at_ms=NOW_MS + 5)
    expired = sum(item.remaining for item in before if item.expire_ms <= NOW_MS + 5)
    assert sum(item.remaining for item in before) - expired + amount == found.remaining
    assert not any(is_debt(item) for item in found.grants) or all(
        item.remaining == 0 for item in found.grants if not is_debt(item)
    )


def test_a_grant_counts_from_its_start_to_its_end() -> None:
    """The end is exclusive, and what is voided never counts."""
    item = grant(effective_ms=10, expire_ms=20)
    assert [False, True, True, False] == [is_spendable(item, at_ms) for at_ms in (9, 10, 19, 20)]
    assert not is_spendable(grant(voided_ms=5), NOW_MS)


def test_a_debt_is_paid_by_a_period_that_nobody_looked_at() -> None:
    """The month in between paid it, although nothing was read or written then."""
    sources = snapshot(source())
    debt = grant("debt", 0, grant_type="OVERDRAFT", consumed=30)
    first = recurring_grants(MONTHLY, sources, resource_id="", currency_id="ai", at_ms=NOW_MS)[0][0]
    used = Grant(**{name: getattr(first, name) for name in first.__struct_fields__} | {"consumed": 100})
    balances = [
        purse(used, debt, sources=sources, at_ms=ms(at)).remaining
        for at in ("2025-02-28T09:59:59Z", "2025-02-28T10:00:00Z", "2025-03-31T10:00:00Z")
    ]
    assert [-30, 70, 100] == balances
    paid = settle_debt(MONTHLY, sources, (used, debt), debt, at_ms=ms("2025-03-31T10:00:00Z"))
    assert (("s-1:ai:MONTH:1", 30),) == paid.taken
    assert (0, ms("2025-03-31T10:00:00Z")) == (paid.changed[-1].consumed, paid.changed[-1].voided_ms)


def test_a_debt_is_left_alone_by_what_ended_before_it() -> None:
    """A grant whose time was over when the debt was made cannot pay it."""
    debt = grant("debt", 0, grant_type="OVERDRAFT", consumed=30)
    over = grant(effective_ms=NOW_MS - 9, created_ms=NOW_MS - 9, expire_ms=NOW_MS)
    other = grant("g-2", currency_id="other")
    left = settle_debt(MONTHLY, snapshot(), (debt, over, other), debt, at_ms=NOW_MS + 9)
    assert () == left.taken
    assert (30, NOW_MS + 9, None) == (
        left.changed[0].consumed,
        left.changed[0].effective_ms,
        left.changed[0].voided_ms,
    )


def test_recurring_grants_have_one_name_for_each_period() -> None:
    """Computing them again anywhere issues nothing twice."""
    named = [
        recurring_grants(MONTHLY, snapshot(source()), resource_id="", currency_id=None, at_ms=NOW_MS + days * DAY_MS)
        for days in (0, 27, 28, 60)
    ]
    assert ["s-1:ai:MONTH:0", "s-1:ai:MONTH:0", "s-1:ai:MONTH:1", "s-1:ai:MONTH:2"] == [
        found[0][0].id for found in named
    ]


def test_recurring_grants_need_a_running_subscription_and_a_known_currency() -> None:
    """What begins later only says when."""
    later = snapshot(source(start_ms=NOW_MS + 7))
    assert ([], False, NOW_MS + 7) == recurring_grants(MONTHLY, later, resource_id="", currency_id="ai", at_ms=NOW_MS)
    unknown = catalog(plan(credit_entitlements=(credits(currency_id="gone"), credits())))
    found = recurring_grants(unknown, snapshot(source()), resource_id="", currency_id=None, at_ms=NOW_MS)
    assert ["ai"] == [item.currency_id for item in found[0]]
    assert [] == recurring_grants(MONTHLY, snapshot(source()), resource_id="", currency_id="other", at_ms=NOW_MS)[0]


def test_amounts_combine_by_cadence() -> None:
    """Increments add up, the largest override replaces, custom credits take the plan's place, seats multiply."""
    compiled = catalog(
        feature("seats", meter_type="Fluctuating"),
        plan(
            entitlements=(gives("seats", usage_limit=3),),
            credit_entitlements=(
                credits(10),
                credits(5, "YEAR", dependency_feature_id="seats"),
                credits(7, currency_id="b", dependency_feature_id="none"),
            ),
        ),
        addon("plus", entitlements=(), credit_entitlements=(credits(4),)),
        addon("over", entitlements=(), credit_entitlements=(credits(20, behavior="Override", has_soft_limit=True),)),
    )

    def amounts(**fields: Any) -> tuple[dict[str, int], bool]:
        found, soft, _ = recurring_grants(
            compiled, snapshot(source(**fields)), resource_id="", currency_id=None, at_ms=NOW_MS
        )
        return {item.id.split(":")[-2]: item.amount for item in found}, soft

    plain = ("plan-a", 1, 1)
    assert ({"MONTH": 10, "YEAR": 15}, False) == amounts()
    assert ({"MONTH": 18, "YEAR": 15}, False) == amounts(packages=(plain, ("plus", 1, 2)))
    assert ({"MONTH": 40, "YEAR": 15}, True) == amounts(packages=(plain, ("plus", 1, 2), ("over", 1, 2)))
    assert ({"MONTH": 12, "YEAR": 15}, False) == amounts(
        packages=(plain, ("plus", 1, 1), ("gone", 1, 1)), custom_credits=(("ai", 8, "MONTH"),)
    )


def test_the_most_that_was_issued_in_a_period_stays() -> None:
    """Down and up again issues nothing twice."""
    stored = grant("s-1:ai:MONTH:0", 150, grant_type="RECURRING", consumed=20, source="s-1")
    assert (150, 20) == (
        purse(stored, sources=snapshot(source())).granted,
        purse(stored, sources=snapshot(source())).consumed,
    )


def test_the_ledger_ends_with_the_grants() -> None:
    """The last entry of each grant is the grant."""
    made, used = grant(), grant(consumed=40)
    entries = [LedgerEntry(GRANTED, 100, NOW_MS, made), LedgerEntry(CONSUMED, -40, NOW_MS, used, "images", "m-1")]
    assert {"g-1": used} == rebuild(entries)


def test_a_recurring_grant_begins_with_the_cut_of_its_subscription() -> None:
    """Usage from before a plan change is not paid from what the new plan gives; its period goes on."""
    start, cut = NOW_MS - 10 * DAY_MS, NOW_MS - DAY_MS
    sources = snapshot(source(start_ms=start, cut_ms=cut))
    (found,), _, _ = recurring_grants(MONTHLY, sources, resource_id="", currency_id="ai", at_ms=NOW_MS)
    assert (cut, cut, "s-1:ai:MONTH:0") == (found.effective_ms, found.created_ms, found.id)
