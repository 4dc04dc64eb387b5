"""Any interleaving of consuming, reserving, granting, time, maintenance and reopening against a slow model."""

import shutil
import tempfile
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from stigg_local import IdempotencyConflict, NotAllowed, Stigg
from stigg_local.testing import ManualClock
from tests.consume.model import FOREVER, Grant, Hold, World

CUSTOMER, CURRENCY = "customer-1", "currency-ai"
START = datetime(2025, 1, 15, tzinfo=UTC)
CATALOG: dict[str, Any] = {
    "schema": 1,
    "features": [
        {"id": name, "featureType": "Numeric", "meterType": "Incremental"}
        for name in ("feature-calls", "feature-tokens", "feature-images")
    ],
    "creditCurrencies": [{"id": CURRENCY}],
    "products": [{"id": "product"}],
    "plans": [
        {
            "id": "plan",
            "productId": "product",
            "pricingType": "FREE",
            "entitlements": [
                {"featureId": "feature-calls", "usageLimit": 10, "resetPeriod": "MONTH"},
                {
                    "featureId": "feature-tokens",
                    "usageLimit": 8,
                    "creditRate": {"currencyId": CURRENCY, "amount": 2},
                },
                {
                    "featureId": "feature-images",
                    "isUnlimited": True,
                    "creditRate": {"currencyId": CURRENCY, "amount": 10},
                },
            ],
        }
    ],
}

items = st.sampled_from(["feature-calls", "feature-tokens", "feature-images", None])
amounts = st.integers(1, 7)
seconds = st.sampled_from([1, 10, 30, 60])


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()


class Consuming(RuleBasedStateMachine):
    """The client and the model side by side."""

    def __init__(self) -> None:
        super().__init__()
        # Ids decide the order of grants that are alike; a failing run must be repeatable.
        self.numbers = count(1)
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("stigg_local.authority.usage.new_id", lambda prefix="": f"{prefix}{next(self.numbers):09d}")
        self.directory = Path(tempfile.mkdtemp(prefix="stigg-local-consume-"))
        self.clock = ManualClock(START.isoformat())
        self.client = Stigg(catalog=CATALOG, data_dir=self.directory, clock=self.clock)
        self.client.provision_customer(CUSTOMER, subscription_params={"plan_id": "plan"})
        months = [ms(datetime(year, month, 15, tzinfo=UTC)) for year in range(2025, 2040) for month in range(1, 13)]
        self.world = World(ms(START), months)
        self.holds: list[tuple[str, Hold]] = []
        self.grants: list[tuple[str, Grant]] = []

    @initialize(amount=st.integers(0, 120))
    def begin(self, amount: int) -> None:
        if amount:
            self.grant(amount, 0, 0, None)

    def teardown(self) -> None:
        self.client.close()
        self.patch.undo()
        shutil.rmtree(self.directory, ignore_errors=True)

    @rule(item=items, amount=amounts)
    def consume(self, item: str | None, amount: int) -> None:
        named: dict[str, Any] = {"currency_id": CURRENCY} if item is None else {"feature_id": item}
        result = self.client.consume(CUSTOMER, value=amount, **named)
        assert self.world.consume(item, amount) == result.access_denied_reason

    @rule(item=st.sampled_from(["feature-calls", "feature-tokens", "feature-images"]), amount=amounts)
    def report(self, item: str, amount: int) -> None:
        self.client.report_usage(CUSTOMER, item, amount)
        self.world.record(item, amount, self.world.now)

    @rule(amount=amounts)
    def consume_credits(self, amount: int) -> None:
        result = self.client.consume_credits(CUSTOMER, CURRENCY, amount)
        self.world.record(None, amount, self.world.now)
        assert self.world.balance() == result.current_balance

    @rule(item=items, amount=amounts, ttl=seconds)
    def reserve(self, item: str | None, amount: int, ttl: int) -> None:
        named: dict[str, Any] = {"currency_id": CURRENCY} if item is None else {"feature_id": item}
        made = self.client.reserve(CUSTOMER, amount=amount, ttl_seconds=ttl, **named)
        reason, hold = self.world.reserve(item, amount, ttl * 1000)
        assert reason == made.access_denied_reason
        if hold is not None and made.id is not None:
            self.holds.append((made.id, hold))

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), actual=st.integers(0, 9))
    def settle(self, data: st.DataObject, actual: int) -> None:
        hold_id, hold = data.draw(st.sampled_from(self.holds))
        try:
            result = self.client.settle(hold_id, actual)
        except IdempotencyConflict:
            assert not self.world.settle(hold, actual)
            return
        was_settled, was_open = hold.settled is not None, hold.is_open
        assert self.world.settle(hold, actual)
        assert was_settled or was_open != result.is_late

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        hold_id, hold = data.draw(st.sampled_from(self.holds))
        self.client.release(hold_id)
        self.world.release(hold)

    @rule(
        amount=st.integers(1, 60),
        priority=st.integers(0, 2),
        delay=st.sampled_from([0, 0, 20]),
        life=st.sampled_from([None, 25, 70]),
    )
    def grant(self, amount: int, priority: int, delay: int, life: int | None) -> None:
        start = self.world.now + delay * 1000
        end = FOREVER if life is None else start + life * 1000
        made = self.client.grant_credits(
            CUSTOMER,
            CURRENCY,
            amount,
            priority=priority,
            effective_at=iso(start),
            expire_at=None if life is None else iso(end),
        )
        name = int(made.id.removeprefix("grant-"))
        self.grants.append((made.id, self.world.grant(name, amount, priority, start, end)))

    @precondition(lambda self: self.grants)
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        grant_id, grant = data.draw(st.sampled_from(self.grants))
        code = None
        try:
            self.client.void_credit_grant(grant_id)
        except NotAllowed as error:
            code = error.code
        assert self.world.void(grant) == code

    @rule(gap=st.sampled_from([1, 9, 10, 30, 61, 20 * 86400]))
    def pass_time(self, gap: int) -> None:
        self.clock.advance(seconds=gap)
        self.world.advance(self.world.now + gap * 1000)

    @rule()
    def tick(self) -> None:
        self.client.tick()

    @rule()
    def drop(self) -> None:
        assert self.client._embedded is not None
        self.client._embedded.replica.drop()

    @rule()
    def reopen(self) -> None:
        self.client.close()
        self.client = Stigg(data_dir=self.directory, clock=self.clock)

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "client"):
            return
        for feature in ("feature-calls", "feature-tokens", "feature-images"):
            shown = self.client.get_metered_entitlement(CUSTOMER, feature)
            assert (self.world.used(feature), self.world.reserved(feature)) == (
                shown.current_usage,
                shown.reserved_usage,
            ), feature
            for amount in (1, 5):
                asked = self.client.get_metered_entitlement(CUSTOMER, feature, requested_usage=amount)
                assert self.world.refusal(feature, amount) == asked.access_denied_reason, (feature, amount)
        purse = self.client.get_credit_entitlement(CUSTOMER, CURRENCY)
        assert self.world.balance() == purse.current_balance
        consumed = {row.id: row.consumed_amount for row in self.client.get_credit_grants(CUSTOMER, limit=1000)}
        assert {key: grant.consumed + grant.held for key, grant in self.grants} == {
            key: consumed[key] for key, _ in self.grants
        }

    @invariant()
    def the_ledger_sums_up_to_the_balance(self) -> None:
        rows = self.client.get_credit_ledger(CUSTOMER, limit=1000)
        # What is held is in no line.
        held = sum(
            part
            for hold in self.world.holds
            if hold.is_open
            for grant, part in hold.parts
            if grant.is_spendable(self.world.now)
        )
        short = sum(hold.short for hold in self.world.holds if hold.is_open)
        assert self.world.balance() + held + short == sum(row.amount for row in rows)


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Consuming,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_interleaving_agrees_with_the_model() -> None:
    """No rule of consuming and reserving may depend on when somebody looks."""
    run(20, 40)


@pytest.mark.stress
def test_many_interleavings_agree_with_the_model() -> None:
    """The same, longer."""
    run(400, 60)
