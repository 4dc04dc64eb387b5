"""Random commands, outcomes, webhooks and clock jumps with a payment provider: what holds whatever happens."""

import random
from collections import Counter
from typing import Any

import pytest

from stigg_local import StiggError
from stigg_local.testing import ScriptedPayments
from tests.shell.shop import Shop

OUTCOMES = ("PAID", "PAID", "PROCESSING", "ACTION_REQUIRED", "FAILED", "CHECKOUT")
PLANS = ("plan-free", "plan-starter", "plan-pro", "plan-trial", "plan-late", "plan-later", "plan-late-free")
JUMPS_MS = (0, 1, 60_000, 3_600_000, 23 * 3_600_000, 8 * 86_400_000, 31 * 86_400_000, 100 * 86_400_000)
ENDED = ("subscription.canceled", "subscription.expired")


class Dice(ScriptedPayments):
    """A provider whose outcomes are thrown, and that fails now and then."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._dice = dice
        self.asked: Counter[str] = Counter()

    def collect(self, invoice: Any, checkout_options: Any = None) -> Any:
        self.asked[invoice.id] += 1
        if self._dice.random() < 0.1:
            raise TimeoutError
        if invoice.id not in self._answered:
            self._script.append(type(self)._thrown(self._dice))
        return super().collect(invoice, checkout_options)

    @staticmethod
    def _thrown(dice: random.Random) -> Any:
        from stigg_local import PaymentOutcome

        return PaymentOutcome(outcome=dice.choice(OUTCOMES))


class Storm:
    """One run: what was asked, and what has to hold after each step."""

    def __init__(self, seed: int, shop: Shop, dice: random.Random) -> None:
        self.seed, self.shop, self.dice = seed, shop, dice
        self.pages: list[str] = []
        self.calls: list[Any] = []

    def step(self) -> None:
        client, dice = self.shop.client, self.dice
        ids = [item.id for item in client.get_subscriptions("customer-1", limit=1000)]
        one = dice.choice(ids) if ids else "subscription-none"
        key = f"key-{len(self.calls)}"
        plan = dice.choice(PLANS)
        choices: list[Any] = [
            lambda: client.provision_subscription(
                "customer-1",
                plan,
                billing_period=None if plan.endswith("free") else dice.choice(("MONTHLY", "MONTHLY", "ANNUALLY")),
                skip_trial=dice.random() < 0.3,
                start_date=self.later() if dice.random() < 0.15 else None,
                idempotency_key=key,
            ),
            lambda: client.update_subscription(
                one, addons=[{"addon_id": "addon-calls", "quantity": dice.randint(1, 3)}], idempotency_key=key
            ),
            lambda: client.update_subscription(
                one, billing_period=dice.choice(("MONTHLY", "ANNUALLY")), idempotency_key=key
            ),
            lambda: client.cancel_subscription(
                one, cancellation_time=dice.choice((None, "IMMEDIATE", "END_OF_BILLING_PERIOD")), idempotency_key=key
            ),
            lambda: client.cancel_subscription_scheduled_updates(
                one, status=dice.choice(("Scheduled", "PendingPayment"))
            ),
            lambda: client.payments.settle(one, dice.choice(("PAID", "PAID", "FAILED"))),
            lambda: client.payments.settle(dice.choice(self.pages or ["none"]), dice.choice(("PAID", "FAILED"))),
            client.tick,
            client.tick,
            lambda: self.shop.clock.advance(milliseconds=dice.choice(JUMPS_MS)),
            lambda: self.shop.clock.advance(milliseconds=dice.choice(JUMPS_MS)),
        ]
        call = dice.choice(choices)
        state = dice.getstate()
        for _ in range(2 if dice.random() < 0.2 else 1):
            dice.setstate(state)
            try:
                result = call()
            except StiggError:
                continue
            page = getattr(result, "checkout_url", None)
            if page is not None:
                self.pages.append(page)
        self.calls.append(key)

    def later(self) -> str:
        from datetime import UTC, datetime, timedelta

        return (datetime.fromtimestamp(self.shop.clock.time(), UTC) + timedelta(days=20)).isoformat()

    def check(self) -> None:
        client = self.shop.client
        found = list(client.get_subscriptions("customer-1", limit=1000))
        places = Counter(
            (item.plan_id.startswith("plan-late"), item.status == "IN_TRIAL")
            for item in found
            if item.status in ("ACTIVE", "IN_TRIAL")
        )
        assert max(places.values(), default=0) <= 1, self.seed
        limits = {"plan-free": 10, "plan-starter": 100, "plan-pro": 1000, "plan-trial": 5000}
        expected = max(
            (
                limits[item.plan_id] + 50 * sum(addon.quantity for addon in item.addons)
                for item in found
                if item.plan_id in limits and item.status in ("ACTIVE", "IN_TRIAL")
            ),
            default=None,
        )
        assert expected == client.get_metered_entitlement("customer-1", "feature-calls").usage_limit, self.seed

    def end(self) -> None:
        """The log tells each subscription's beginning and end once, in order, and agrees with what is there."""
        client = self.shop.client
        self.shop.clock.advance(days=2)
        for _ in range(6):
            client.tick()
            self.shop.clock.advance(seconds=61)
        events = list(client.get_events(customer_id="customer-1", limit=1000))
        begun = Counter(event.subscription_id for event in events if event.type == "subscription.created")
        ended = Counter(event.subscription_id for event in events if event.type in ENDED)
        found = {item.id: item.status for item in client.get_subscriptions("customer-1", limit=1000)}
        over = {key for key, status in found.items() if status in ("CANCELED", "EXPIRED")}
        assert set(found) == set(begun), self.seed
        assert over == set(ended), self.seed
        assert {1} >= {*begun.values(), *ended.values()}, self.seed
        for key in over:
            story = [event.type for event in events if event.subscription_id == key]
            first = story.index("subscription.created")
            assert all(story.index(kind) > first for kind in ENDED if kind in story), (self.seed, story)


def run(seed: int, steps: int) -> None:
    dice = random.Random(seed)
    with Shop(provider=Dice(dice)) as shop:
        shop.customer()
        storm = Storm(seed, shop, dice)
        for _ in range(steps):
            storm.step()
            storm.check()
        storm.end()


@pytest.mark.parametrize("seed", range(4))
def test_a_short_storm(seed: int) -> None:
    run(seed, 25)


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(100, 160))
def test_a_long_storm(seed: int) -> None:
    run(seed, 80)
