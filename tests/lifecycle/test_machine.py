"""Random lives: whatever is bought, changed, cancelled and slept through, client and model say the same.

Laws after every step: at most one non-trial and one trial subscription for customer, product and resource; no gap
and no overlap where one replaces another; a tick, a repeated key and a refused command change nothing.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from stigg_local.testing import ManualClock
from tests.lifecycle.model import LifeModel
from tests.lifecycle.pair import CUSTOMERS, SITES, Pair
from tests.lifecycle.record import text
from tests.lifecycle.worlds import ADDONS, PLANS, worlds
from tests.vectors.life import ClientLifeLevel, LifeLevel
from tests.vectors.life_core import CoreLife

START = "2025-01-31T10:00:00Z"
PLACES = st.integers(0, 99)
PERIODS = st.sampled_from(("MONTHLY", "MONTHLY", "ANNUALLY", None))
DAYS = st.sampled_from((0, 1, 3, 14, 28, 31, 45, 400))
ADDON_LISTS = st.lists(
    st.fixed_dictionaries({"addon_id": st.sampled_from(ADDONS), "quantity": st.integers(1, 5)}),
    max_size=2,
    unique_by=lambda item: str(item["addon_id"]),
)
UNITS = st.integers(1, 9).map(lambda count: [{"feature_id": "seats", "quantity": count}])


class Lives(RuleBasedStateMachine):
    """One world, two customers, one clock."""

    make: Callable[[dict[str, Any], ManualClock, Path], LifeLevel] = staticmethod(
        lambda catalog, clock, directory: ClientLifeLevel(catalog, clock, data_dir=directory)
    )

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory(prefix="stigg-lives-")
        self.pair: Pair | None = None
        self.tags = 0

    @initialize(editions=worlds())
    def begin(self, editions: list[dict[str, Any]]) -> None:
        self.editions = editions
        self.clock = ManualClock(START)
        subject = type(self).make(editions[0], self.clock, Path(self.directory.name) / "data")
        self.pair = Pair(editions[0], self.clock, subject)
        for customer in CUSTOMERS:
            self.pair.command("provision_customer", customer_id=customer, subscription_params=None)

    def teardown(self) -> None:
        if self.pair is not None:
            self.pair.subject.close()
        self.directory.cleanup()

    @property
    def both(self) -> Pair:
        assert self.pair is not None
        return self.pair

    def instant(self, days: int) -> str:
        return (datetime.fromtimestamp(self.clock.time(), UTC) + timedelta(days=days)).isoformat()

    def pick(self, place: int) -> str | None:
        """A subscription of anybody."""
        found = [sub for customer in self.both.living() for sub in self.both.subs(customer)]
        return found[place % len(found)] if found else None

    # ------------------------------------------------------------------ customers

    @rule(
        customer=st.sampled_from(CUSTOMERS),
        kind=st.sampled_from(("absent", "none", "plan", "update", "archive")),
        plan=st.sampled_from(PLANS),
    )
    def customer(self, customer: str, kind: str, plan: str) -> None:
        name = f"{customer}-{kind}"
        match kind:
            case "update":
                self.both.command("update_customer", customer_id=customer, metadata={plan: plan})
            case "archive":
                if self.tags > 15:
                    self.both.command("archive_customer", customer_id="bob")
            case "absent":
                self.both.command("provision_customer", customer_id=customer, name=name)
            case _:
                params = self._terms(plan, "MONTHLY", [], []) if kind == "plan" else None
                self.both.command("provision_customer", customer_id=customer, name=name, subscription_params=params)

    # ------------------------------------------------------------------ subscriptions

    def _terms(self, plan: str, period: str | None, addons: list[Any], units: list[Any]) -> dict[str, Any]:
        self.tags += 1
        terms: dict[str, Any] = {"plan_id": plan, "metadata": {"tag": str(self.tags)}}
        if period is not None:
            terms["billing_period"] = period
        if plan.startswith("site"):
            terms["resource_id"] = SITES[self.tags % 2]
        if addons:
            terms["addons"] = addons
        if plan == "team":
            terms["billable_features"] = units or [{"feature_id": "seats", "quantity": 3}]
        return terms

    @rule(
        customer=st.sampled_from(CUSTOMERS),
        plan=st.sampled_from(PLANS),
        period=PERIODS,
        addons=ADDON_LISTS,
        units=UNITS,
        options=st.fixed_dictionaries(
            {},
            optional={
                "skip_trial": st.just(True),
                "billing_cycle_anchor": st.sampled_from(("NOW", "UNCHANGED")),
                "schedule_strategy": st.sampled_from(("IMMEDIATE", "END_OF_BILLING_PERIOD", "END_OF_BILLING_MONTH")),
            },
        ),
        start=st.sampled_from((0, 0, 0, 0, 1, 20, 40)),
        trial=st.sampled_from((0, 0, 0, 0, 0, 5, 33)),
    )
    def provision(
        self,
        customer: str,
        plan: str,
        period: str | None,
        addons: list[Any],
        units: list[Any],
        options: dict[str, Any],
        start: int,
        trial: int,
    ) -> None:
        terms = self._terms(plan, period, addons if plan in ("basic", "pro", "tried") else [], units)
        if start:
            terms["start_date"] = self.instant(start)
        elif trial and plan not in ("free", "site-free"):
            terms["trial_override"] = {
                "is_trial": True,
                "trial_end_date": self.instant(trial),
                "trial_end_behavior": "CONVERT_TO_PAID" if trial == 5 else "CANCEL_SUBSCRIPTION",
            }
        self.both.command("provision_subscription", customer_id=customer, **terms, **options)

    @rule(plan=st.sampled_from(PLANS[:6]), period=st.sampled_from(("MONTHLY", "ANNUALLY")))
    def change_plan(self, plan: str, period: str) -> None:
        """The usual case: one product, one plan after another."""
        terms = self._terms(plan, "MONTHLY" if plan == "team" else period, [], [])
        self.both.command("provision_subscription", customer_id="ann", **terms)

    @rule(plan=st.sampled_from(("basic", "pro", "tried")), days=st.sampled_from((1, 10, 31)))
    def start_later(self, plan: str, days: int) -> None:
        terms = self._terms(plan, "MONTHLY", [], [])
        self.both.command("provision_subscription", customer_id="ann", start_date=self.instant(days), **terms)

    @rule(plan=st.sampled_from(PLANS[6:]), customer=st.sampled_from(CUSTOMERS))
    def change_site_plan(self, plan: str, customer: str) -> None:
        self.both.command("provision_subscription", customer_id=customer, **self._terms(plan, "MONTHLY", [], []))

    @rule(
        place=PLACES,
        patch=st.fixed_dictionaries(
            {},
            optional={
                "addons": ADDON_LISTS,
                "billing_period": st.sampled_from(("MONTHLY", "ANNUALLY")),
                "billable_features": UNITS,
            },
        ),
    )
    def update(self, place: int, patch: dict[str, Any]) -> None:
        sub = self.pick(place)
        if sub is not None and patch:
            self.both.command("update_subscription", subscription_id=sub, **patch)

    @rule(place=PLACES, days=st.sampled_from((None, -1, 2, 30, 60)))
    def set_cancellation_date(self, place: int, days: int | None) -> None:
        sub = self.pick(place)
        if sub is not None:
            date = None if days is None else self.instant(days)
            self.both.command("update_subscription", subscription_id=sub, cancellation_date=date)

    @rule(
        place=PLACES,
        time=st.sampled_from((None, "IMMEDIATE", "END_OF_BILLING_PERIOD", "SPECIFIC_DATE")),
        action=st.sampled_from(("DEFAULT", "DEFAULT", "REVOKE_ENTITLEMENTS")),
        days=st.sampled_from((-1, 2, 30)),
    )
    def cancel(self, place: int, time: str | None, action: str, days: int) -> None:
        sub = self.pick(place)
        if sub is not None:
            arguments: dict[str, Any] = {} if time is None else {"cancellation_time": time}
            if time == "SPECIFIC_DATE":
                arguments["end_date"] = self.instant(days)
            self.both.command("cancel_subscription", subscription_id=sub, action=action, **arguments)

    @rule(place=PLACES, status=st.sampled_from(("Scheduled", "Scheduled", "PendingPayment")))
    def cancel_updates(self, place: int, status: str) -> None:
        sub = self.pick(place)
        if sub is not None:
            self.both.command("cancel_subscription_scheduled_updates", subscription_id=sub, status=status)

    @rule(place=PLACES, time=st.sampled_from(("IMMEDIATE", "END_OF_BILLING_PERIOD")))
    def migrate(self, place: int, time: str) -> None:
        sub = self.pick(place)
        if sub is not None:
            self.both.command("migrate_subscription_to_latest", subscription_id=sub, subscription_migration_time=time)

    # ------------------------------------------------------------------ promotions, usage, catalogs

    @rule(
        customer=st.sampled_from(CUSTOMERS),
        limit=st.sampled_from((None, 3, 25, 500)),
        period=st.sampled_from(("ONE_WEEK", "ONE_MONTH", "LIFETIME")),
    )
    def promotion(self, customer: str, limit: int | None, period: str) -> None:
        if limit is None:
            self.both.command("revoke_promotional_entitlements", customer_id=customer, feature_ids=["api"])
            return
        item = {"feature_id": "api", "usage_limit": limit, "period": period, "reset_period": "MONTH"}
        self.both.command("grant_promotional_entitlements", customer_id=customer, entitlements=[item])

    @rule(
        customer=st.sampled_from(CUSTOMERS),
        feature=st.sampled_from(("api", "total")),
        value=st.integers(1, 30),
        resource=st.sampled_from((None, *SITES)),
    )
    def report(self, customer: str, feature: str, value: int, resource: str | None) -> None:
        arguments: dict[str, Any] = {} if resource is None else {"resource_id": resource}
        self.both.command("report_usage", customer_id=customer, feature_id=feature, value=value, **arguments)

    @rule(number=st.integers(0, 2), migrate=st.sampled_from(("new", "all")))
    def publish(self, number: int, migrate: str) -> None:
        self.both.publish(self.editions[number], migrate)

    # ------------------------------------------------------------------ time

    @rule(days=DAYS, seconds=st.integers(0, 86_400))
    def sleep(self, days: int, seconds: int) -> None:
        self.clock.advance(days=days, seconds=seconds)

    @rule()
    def sleep_to_the_next_boundary(self) -> None:
        """The last millisecond before it, and the boundary itself."""
        model = self.both.model.state
        model.pass_time(self.both.model.now)
        found = [item[0] for person in model.people.values() for item in model._boundaries(person, 1 << 60)]
        if not found:
            return
        moment = text(min(found) - 1)
        assert moment is not None
        self.clock.set(moment)
        self.both.agree()
        self.clock.advance(milliseconds=1)

    @rule()
    def tick(self) -> None:
        self.both.tick()

    @rule(place=PLACES)
    def again(self, place: int) -> None:
        self.both.again(place)

    @invariant()
    def all_agree(self) -> None:
        if self.pair is not None:
            self.pair.agree()


class ModelAgainstItself(Lives):
    """The harness alone: a model beside a model must agree with it."""

    make = staticmethod(lambda catalog, clock, directory: _Twin(catalog, clock))


class _Twin:
    def __init__(self, catalog: dict[str, Any], clock: ManualClock) -> None:
        self.model = LifeModel(catalog, clock)

    def do(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return self.model.do(name, arguments)

    def check(self, get: str, arguments: dict[str, Any]) -> Any:
        return self.model.check(get, arguments)

    def close(self) -> None:
        """Nothing is open."""


class CoreLives(Lives):
    """The pure decisions against the model."""

    make = staticmethod(lambda catalog, clock, directory: CoreLife(catalog, clock))


QUIET = list(HealthCheck)
# Shrinking a life takes minutes; a failure prints its steps as they are.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


def test_the_model_agrees_with_itself_and_keeps_the_laws() -> None:
    """A law that the model breaks would hide in every comparison."""
    run_state_machine_as_test(
        ModelAgainstItself,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            phases=PHASES,
            suppress_health_check=QUIET,
        ),
    )


def test_core_and_model_live_the_same_lives() -> None:
    """The rules alone, before a store and threads come in."""
    run_state_machine_as_test(
        CoreLives,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            phases=PHASES,
            suppress_health_check=QUIET,
        ),
    )


def test_client_and_model_live_the_same_lives() -> None:
    """Any order of commands, any clock."""
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            phases=PHASES,
            suppress_health_check=QUIET,
        ),
    )


@pytest.mark.stress
@pytest.mark.timeout(3600)
def test_client_and_model_live_hundreds_of_lives() -> None:
    """The same at length."""
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=300,
            stateful_step_count=40,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=QUIET,
        ),
    )
