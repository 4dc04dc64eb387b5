"""The client against the core level: whatever happens to customers, both must say the same.

The client keeps counters, a memo and a file; the model has a list of what was said and folds it anew each time.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stigg_local import Stigg, StiggError
from stigg_local.testing import ManualClock
from tests.strategies import CURRENCY, CUSTOMERS, FEATURES, LIVES, SITES, WORLDS, Step, dated
from tests.vectors.model import CoreLevel
from tests.vectors.runner import snake

GETTERS = {
    "flag": "boolean",
    "days": "numeric",
    "regions": "enum",
    "seats": "metered",
    "calls": "metered",
    "total": "metered",
    "images": "metered",
    "bytes": "metered",
    CURRENCY: "credit",
}


class Pair:
    """A client and the model, given the same steps."""

    def __init__(self, directory: Path, **arguments: Any) -> None:
        self.clock = ManualClock("2025-01-31T10:00:00Z")
        self.directory = directory
        self.arguments = arguments
        self.client = Stigg(catalog=WORLDS[0], data_dir=directory, clock=self.clock, **arguments)
        self.model = CoreLevel({"catalog": WORLDS[0]}, self.clock)

    def step(self, step: Step) -> None:
        """Do one step at both; they must refuse it with the same code or accept it both."""
        match step["type"]:
            case "advance":
                self.clock.advance(milliseconds=step["ms"])
            case "apply":
                world = WORLDS[step["world"]]
                self.client.catalog.apply(world, migrate=step["migrate"])
                self.model.apply(world, migrate=step["migrate"])
            case "preload":
                self.client.preload()
            case "drop":
                assert self.client._embedded is not None
                self.client._embedded.replica.drop()
            case "reload":
                for customer_id in CUSTOMERS:
                    self.client.reload_entitlements(customer_id)
            case "reopen":
                self.client.close()
                self.client = Stigg(data_dir=self.directory, clock=self.clock, **self.arguments)
            case _:
                self._both(dated(step, round(self.clock.time() * 1000)))

    def _both(self, step: Step) -> None:
        arguments = {snake(key): value for key, value in step.items() if key != "type"}
        method = getattr(self.client, snake(step["type"]))
        codes = _code(lambda: method(**arguments)), _code(lambda: self.model.do(step))
        assert codes[0] == codes[1], step

    def agree(self, requested: float = 1) -> None:
        """Every question about every customer has the same answer at both."""
        for customer_id in CUSTOMERS:
            for resource_id in (None, *SITES):
                for item in (*FEATURES, CURRENCY, "unknown"):
                    self._agree_on(customer_id, resource_id, item, requested)
                state = self.client.get_entitlements_state(customer_id, resource_id, include_credits=True)
                assert self.model.state(customer_id, resource_id, include_credits=True) == state.to_dict()

    def _agree_on(self, customer_id: str, resource_id: str | None, item: str, requested: float) -> None:
        kind = GETTERS.get(item, "boolean")
        requests: list[dict[str, Any]] = [{}]
        if kind in ("metered", "credit"):
            requests.append({"requested_usage": requested})
        if kind == "enum":
            requests.append({"requested_values": ("eu",)})
        getter = getattr(self.client, f"get_{kind}_entitlement")
        for request in requests:
            expected = self.model.ask(kind.upper(), customer_id, item, resource_id=resource_id, **request)
            answers = [getter(customer_id, item, resource_id, **request)]
            if item != "unknown":
                answers.append(self.client.get_entitlement(customer_id, item, resource_id, **request))
            for answer in answers:
                assert expected.to_dict() == answer.to_dict(), (customer_id, resource_id, item, request)


def _code(call: Callable[[], object]) -> str | None:
    try:
        call()
    except StiggError as error:
        return error.code
    return None


def live(life: list[Step], requested: float) -> None:
    """A whole life, with every question asked after every step."""
    with TemporaryDirectory(prefix="stigg-model-") as directory:
        pair = Pair(Path(directory) / "data")
        try:
            pair.step({"type": "provisionCustomer", "customerId": CUSTOMERS[0]})
            for step in life:
                pair.step(step)
                pair.agree(requested)
        finally:
            pair.client.close()


REQUESTED = st.sampled_from((1, 0.5, 3, 5, 0.01, 10**9))


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    # Lives are long, and shrinking one takes minutes.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(LIVES, REQUESTED)
def test_client_and_model_agree_after_every_step(life: list[Step], requested: float) -> None:
    """Counters, memo and file are a cache of the log: they may cost less and never say something else."""
    live(life, requested)


@pytest.mark.stress
@settings(max_examples=600, deadline=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
@given(LIVES, REQUESTED)
@pytest.mark.timeout(1200)
def test_client_and_model_agree_through_many_lives(life: list[Step], requested: float) -> None:
    """The same at length."""
    live(life, requested)


ALLOW_ALL = {item: {"hasAccess": True, "isUnlimited": True} for item in (*FEATURES, "unknown")}


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(LIVES)
def test_a_fallback_never_overrides_a_no(life: list[Step]) -> None:
    """A permissive fallback must not grant everyone everything: it answers only where nothing else does."""
    with TemporaryDirectory(prefix="stigg-fallback-") as directory:
        pair = Pair(Path(directory) / "data", entitlements_fallback=ALLOW_ALL)
        try:
            for step in life:
                pair.step(step)
            for customer_id in (*CUSTOMERS, "nobody"):
                for item in FEATURES:
                    expected = pair.model.ask(None, customer_id, item).to_dict()
                    found = pair.client.get_entitlement(customer_id, item, fallback={"hasAccess": True})
                    assert expected == found.to_dict()
                    assert not found.is_fallback
                assert pair.client.get_boolean_entitlement(customer_id, "unknown").has_access == (
                    customer_id in pair.model.customers
                )
        finally:
            pair.client.close()
