"""Every vector about raw events, meters, bulk reports, thresholds and history, at the public client.

What filters let in is asked of the core and of the slow model alike.
"""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from stigg_local.core.catalog import Feature
from stigg_local.core.meter import CompiledMeter, fold
from stigg_local.testing import ManualClock
from tests.usage.model import Said, metered
from tests.vectors.runner import ClientLevel, differences, run, snake, vectors

USAGE = list(vectors("usage"))
METER = list(vectors("meter"))


class UsageLevel(ClientLevel):
    """The steps at the public client, with the questions that only these vectors ask."""

    def __init__(self, vector: dict[str, Any], clock: ManualClock) -> None:
        super().__init__(vector, clock)
        self._told: list[int] = []
        self.client.add_listener(
            "entitlement.usage_exceeded", lambda event: self._told.append(int(event.data["threshold"]))
        )

    def do(self, do: dict[str, Any], expect: dict[str, Any] | None = None) -> None:
        if do["type"] not in ("reportEvent", "reportUsageBulk"):
            super().do(do)
            return
        arguments = {snake(key): value for key, value in do.items() if key != "type"}
        result = getattr(self.client, snake(do["type"]))(**arguments)
        if expect is not None:
            assert not differences(expect, result.to_dict(), "")

    def check(self, check: dict[str, Any]) -> dict[str, Any]:
        if check["get"] == "thresholds":
            return {"thresholds": list(self._told)}
        if check["get"] != "history":
            return super().check(check)
        arguments = {snake(key): value for key, value in check.items() if key != "get"}
        found = self.client.get_usage_history(**arguments).to_dict()
        return {name: [list(item.values()) for item in found[name]] for name in ("points", "markers")}


class _Told(UsageLevel):
    """A level whose steps say what they must return."""

    expects: dict[int, dict[str, Any]]

    def do(self, do: dict[str, Any], expect: dict[str, Any] | None = None) -> None:
        super().do(do, self.expects.get(id(do)))


@pytest.mark.parametrize("vector", [vector for _, vector in USAGE], ids=[name for name, _ in USAGE])
def test_client_counts_as_the_vector_says(vector: dict[str, Any]) -> None:
    """The public client in process is the level that applications see."""

    def make(clock: ManualClock) -> _Told:
        level = _Told(vector, clock)
        level.expects = {
            id(step["do"]): step["expect"] for step in vector["steps"] if "do" in step and "expect" in step
        }
        return level

    run(vector, make)


@pytest.mark.parametrize("vector", [vector for _, vector in METER], ids=[name for name, _ in METER])
def test_filters_let_in_what_the_vector_says(vector: dict[str, Any]) -> None:
    """Core and slow model, on one vector."""
    record = {
        "id": "feature",
        "featureType": "Numeric",
        "meterType": "Incremental",
        "meter": {"function": "COUNT", "filters": vector["filters"]},
    }
    feature = msgspec.convert(record, Feature)
    assert feature.meter is not None
    counted = fold(CompiledMeter(feature, feature.meter), [(name, found) for name, found in vector["events"]])
    said = [Said(0, "", name=name, dimensions=found) for name, found in vector["events"]]
    expected = vector["expect"]["count"]
    assert (expected, Decimal(expected)) == (counted.count, metered(record, said))
