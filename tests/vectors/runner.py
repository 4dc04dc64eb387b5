"""Running vectors: their format, how `expect` is compared, and the client level.

A level is an object with `do(at, do)` and `check(at, check)`; the same steps run at every level.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from stigg_local import Stigg, StiggError
from stigg_local.testing import ManualClock

FIXTURES = Path(__file__).parents[2] / "fixtures"
GETTERS = ("entitlement", "boolean", "numeric", "metered", "enum", "credit")


class Level(Protocol):
    """Where the steps of a vector run."""

    def do(self, do: dict[str, Any]) -> None: ...

    def check(self, check: dict[str, Any]) -> dict[str, Any]: ...

    def close(self) -> None: ...


def vectors(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every vector of a kind with its id."""
    index = json.loads((FIXTURES / "vectors/index.json").read_text())
    for entry in index["files"]:
        if entry["kind"] != kind:
            continue
        file = json.loads((FIXTURES / "vectors" / entry["file"]).read_text())
        assert entry["vectors"] == len(file["vectors"]), f"{entry['file']} and index.json disagree"
        for vector in file["vectors"]:
            yield f"{entry['file'].removesuffix('.json')}: {vector['name']}", vector


def catalog_path(stem: str) -> Path:
    """The catalog file of a stem."""
    path = FIXTURES / f"catalogs/{stem}.json"
    return path if path.exists() else FIXTURES / f"catalogs/{stem}.toml"


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class ClientLevel:
    """The steps at the public client."""

    def __init__(self, vector: Mapping[str, Any], clock: ManualClock, **arguments: Any) -> None:
        constructor = {snake(key): value for key, value in vector.get("constructor", {}).items()}
        self.client = Stigg(catalog=catalog_path(vector["catalog"]), clock=clock, **constructor, **arguments)

    def do(self, do: dict[str, Any]) -> None:
        arguments = {snake(key): value for key, value in do.items() if key != "type"}
        if do["type"] == "applyCatalog":
            self.client.catalog.apply(catalog_path(do["catalog"]), migrate=do.get("migrate", "new"))
        else:
            getattr(self.client, snake(do["type"]))(**arguments)

    def check(self, check: dict[str, Any]) -> dict[str, Any]:
        arguments = {snake(key): value for key, value in check.items() if key != "get"}
        get = check["get"]
        if get in GETTERS:
            name = "get_entitlement" if get == "entitlement" else f"get_{get}_entitlement"
            first = getattr(self.client, name)(**arguments)
            # The second answer comes from memory and must be the same.
            second = getattr(self.client, name)(**arguments)
            assert first.to_dict() == second.to_dict()
            return dict(first.to_dict())
        state = self.client.get_entitlements_state(**arguments)
        return state_dict(get, state.to_dict())

    def close(self) -> None:
        self.client.close()


def state_dict(get: str, state: dict[str, Any]) -> dict[str, Any]:
    """An entitlements state in the shape that vectors compare."""
    found = state["entitlements"]
    if get == "state":
        return {"accessDeniedReason": state.get("accessDeniedReason"), "count": len(found)}
    return {"features": {item["feature"]["id"]: item for item in found}, "count": len(found)}


def run(vector: Mapping[str, Any], make: Callable[[ManualClock], Level]) -> None:
    """Run the steps of a client vector at a level."""
    clock = ManualClock(vector["steps"][0]["at"])
    level = make(clock)
    try:
        for number, step in enumerate(vector["steps"]):
            clock.set(step["at"])
            run_step(level, step, f"step {number} at {step['at']}")
    finally:
        level.close()


def run_step(level: Level, step: Mapping[str, Any], where: str) -> None:
    code = step.get("raises")
    try:
        if "do" in step:
            level.do(step["do"])
            answer = None
        else:
            answer = level.check(step["check"])
    except StiggError as error:
        if code in (error.code, type(error).__name__):
            return
        raise AssertionError(f"{where}: {step.get('do') or step.get('check')} raised {error}") from error
    assert code is None, f"{where}: {step} did not raise"
    if answer is not None:
        wrong = differences(step["expect"], answer, step["at"])
        assert not wrong, f"{where}: {step['check']} {wrong} in {answer}"


def differences(expected: Mapping[str, Any], actual: Mapping[str, Any], at: str) -> list[str]:
    """What of `expect` the answer does not hold."""
    wrong: list[str] = []
    for key, value in expected.items():
        found = actual.get(key)
        if key == "validUntil" and value is not None:
            if found is None or not at.replace("Z", ".000Z") < found <= value:
                wrong.append(f"{key}: {found} is not after {at} and by {value}")
        elif isinstance(value, Mapping):
            if not isinstance(found, Mapping):
                wrong.append(f"{key}: {found} is not {value}")
            else:
                wrong += [f"{key}.{item}" for item in differences(value, found, at)]
        elif found != value:
            wrong.append(f"{key}: expected {value}, got {found}")
    return wrong
