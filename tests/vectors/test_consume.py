"""The vectors of consuming and reserving, at the client: what each step returns is expected too."""

from collections.abc import Mapping
from typing import Any

import pytest

from stigg_local import StiggError
from stigg_local.testing import ManualClock
from tests.vectors.runner import ClientLevel, differences, snake, vectors

CONSUME = list(vectors("consume"))


class Steps:
    """Runs steps; `as` names a hold or a grant that a later step speaks of."""

    def __init__(self, level: ClientLevel) -> None:
        self._level = level
        self._ids: dict[str, str] = {}

    def run(self, step: Mapping[str, Any]) -> Any:
        if "check" in step:
            return self._level.check(step["check"])
        do = {snake(key): value for key, value in step["do"].items()}
        method, name = snake(do.pop("type")), do.pop("as", None)
        for reference, argument in (("hold", "hold_id"), ("grant", "grant_id")):
            if reference in do:
                do[argument] = self._ids[do.pop(reference)]
        result = getattr(self._level.client, method)(**do)
        if name is not None and result.id is not None:
            self._ids[name] = result.id
        return result.to_dict()


@pytest.mark.parametrize("is_dropped", [False, True], ids=["held", "dropped"])
@pytest.mark.parametrize("is_ticked", [False, True], ids=["lazy", "ticked"])
@pytest.mark.parametrize("vector", [vector for _, vector in CONSUME], ids=[name for name, _ in CONSUME])
def test_client_does_as_the_vector_says(vector: dict[str, Any], is_ticked: bool, is_dropped: bool) -> None:
    """Neither what is held in memory nor whether maintenance ever runs changes an answer."""
    clock = ManualClock(vector["steps"][0]["at"])
    level = ClientLevel(vector, clock)
    steps = Steps(level)
    try:
        for number, step in enumerate(vector["steps"]):
            clock.set(step["at"])
            if is_ticked:
                level.client.tick()
            if is_dropped:
                level.client._embedded.replica.drop()  # type: ignore[union-attr]
            where = f"step {number} at {step['at']}: {step.get('do') or step.get('check')}"
            code = step.get("raises")
            try:
                result = steps.run(step)
            except StiggError as error:
                assert code in (error.code, type(error).__name__), f"{where} raised {error}"
                continue
            assert code is None, f"{where} did not raise"
            wrong = differences(step.get("expect", {}), result, step["at"])
            assert not wrong, f"{where}: {wrong} in {result}"
    finally:
        level.close()
