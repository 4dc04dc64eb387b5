"""Any interleaving of reports, events, late arrivals, resets, plan changes, compactions and reopenings.

The engine on a directory against the slow model: after every step every feature's usage is the same, and at the end
the numbers rebuilt from the logs are those that were kept.
"""

import shutil
import tempfile
from decimal import Decimal
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

from stigg_local import InvalidInput, NotAllowed, Stigg
from stigg_local.core.period import to_ms, to_text
from stigg_local.testing import ManualClock
from tests.usage.model import DAY, Model
from tests.usage.worlds import FEATURES, ages, catalog, events

HOUR = 3600 * 1000
START = "2025-01-31T10:00:00Z"
RETENTION_DAYS = 2

# Feature, value, behavior, and how many hours ago; None for now.
reports = st.tuples(
    st.sampled_from(["calls", "seats"]),
    st.sampled_from(["3", "1.25", "-2", "0.01", "5"]),
    st.sampled_from(["DELTA", "SET"]),
    ages,
)


class UsageMachine(RuleBasedStateMachine):
    """One customer."""

    client: Stigg
    model: Model

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp(prefix="usage-machine-")
        self.clock = ManualClock(START)
        self.now = to_ms(START, name="start")
        self.folded = 0

    @initialize(kind=st.sampled_from(["ALWAYS_RESET", "NEVER_RESET"]), plan=st.sampled_from(["daily", "forever"]))
    def begin(self, kind: str, plan: str) -> None:
        self.catalog = catalog(kind)
        self.client = self.opened(self.catalog)
        self.model = Model(self.catalog, never_resets=kind == "NEVER_RESET")
        self.client.provision_customer("c", subscription_params=None)
        self.change(plan)

    def opened(self, source: Any = None) -> Stigg:
        return Stigg(catalog=source, data_dir=self.directory, clock=self.clock, usage_retention_days=RETENTION_DAYS)

    @rule(batch=st.lists(st.tuples(events, ages), min_size=1, max_size=6))
    def report_events(self, batch: list[tuple[dict[str, Any], int | None]]) -> None:
        told = []
        for event, age in batch:
            stamp = None if age is None else self.now - age * HOUR
            told.append((event, stamp))
        sent = [
            {"customer_id": "c", **event} | ({} if stamp is None else {"timestamp": to_text(stamp)})
            for event, stamp in told
        ]
        if any(stamp is not None and stamp < self.folded for _, stamp in told):
            with pytest.raises(InvalidInput):
                self.client.report_event(sent)
            return
        result = self.client.report_event(sent, durability="os")
        new = [
            self.model.event(event["event_name"], event["idempotency_key"], event["dimensions"], stamp, self.now)
            for event, stamp in told
        ]
        assert (new.count(True), new.count(False)) == (result.accepted, result.duplicates)

    @rule(report=reports)
    def report(self, report: tuple[str, str, str, int | None]) -> None:
        self.tell("os", *report)

    @rule(several=st.lists(reports, min_size=2, max_size=12))
    def queue(self, several: list[tuple[str, str, str, int | None]]) -> None:
        """Stored together, as far as they are of one feature: in packs."""
        for report in several:
            self.tell("queued", *report)
        self.client.flush()

    def tell(self, durability: str, feature: str, value: str, behavior: str, age: int | None) -> None:
        at = self.now if age is None else self.now - age * HOUR
        arguments: dict[str, Any] = {} if age is None else {"created_at": to_text(at)}
        try:
            self.client.report_usage(
                "c", feature, Decimal(value), update_behavior=behavior, durability=durability, **arguments
            )
        except InvalidInput:
            assert at < self.folded
        except NotAllowed as error:
            assert error.code == "UsageMeasurementDiffOutOfRangeError"
            assert value == "-2"
        else:
            assert at >= self.folded
            self.model.report(feature, Decimal(value), behavior, at)

    @rule(hours=st.sampled_from([1, 7, 24, 30]))
    def wait(self, hours: int) -> None:
        self.clock.advance(seconds=hours * 3600)
        self.now += hours * HOUR

    @rule(plan=st.sampled_from(["daily", "forever", "small"]))
    def change(self, plan: str) -> None:
        self.client.provision_subscription("c", plan)
        self.model.subscribe(plan, self.now)

    @precondition(lambda self: hasattr(self, "client"))
    @rule()
    def reopen(self) -> None:
        self.client.close()
        self.client = self.opened()

    @precondition(lambda self: hasattr(self, "client"))
    @rule()
    def compact(self) -> None:
        if self.client.tick()["folded_usage"]:
            # The key of an event is forgotten with the event.
            self.folded = self.now - RETENTION_DAYS * DAY
            self.model.keys = [key for key in self.model.keys if key[3] >= self.folded]

    @invariant()
    def usage_is_what_the_model_counts(self) -> None:
        if not hasattr(self, "client"):
            return
        for feature in FEATURES:
            expected = self.model.usage(feature, self.now)
            actual = self.client.get_metered_entitlement("c", feature).current_usage
            if expected is not None:
                assert expected == Decimal(repr(actual)), feature

    @invariant()
    def history_ends_with_the_usage(self) -> None:
        if not hasattr(self, "client") or self.model.usage("sum", self.now) is None:
            return
        for feature in ("sum", "calls"):
            found = self.client.get_usage_history("c", feature, start_date=START)
            last = found.points[-1].value if found.points else 0
            assert self.client.get_metered_entitlement("c", feature).current_usage == last, feature

    def teardown(self) -> None:
        if hasattr(self, "client"):
            before = [self.client.get_metered_entitlement("c", item).current_usage for item in FEATURES]
            assert self.client._embedded is not None
            self.client._embedded.authority.runner.repair("c")
            after = [self.client.get_metered_entitlement("c", item).current_usage for item in FEATURES]
            self.client.close()
            assert before == after
        shutil.rmtree(self.directory)


_CALM = [HealthCheck.too_slow, HealthCheck.filter_too_much]
TestUsage = UsageMachine.TestCase
TestUsage.settings = settings(max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=_CALM)


@pytest.mark.stress
@pytest.mark.timeout(3600)
def test_usage_is_what_the_model_counts_in_many_long_lives() -> None:
    """The same, longer."""
    run_state_machine_as_test(
        UsageMachine,
        settings=settings(max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=_CALM),
    )
