"""Whether a result has the shape that the documentation prints: its keys and the kinds of its values."""

import json
from pathlib import Path
from typing import Any

RESPONSES = Path(__file__).parents[2] / "fixtures/responses"


def response(name: str) -> Any:
    """A printed result."""
    return json.loads((RESPONSES / f"{name}.json").read_text())


def check_shape(name: str, actual: Any, *, without: tuple[str, ...] = ()) -> None:
    """Every printed key is there with a value of its kind.

    Args:
        name: The printed result.
        actual: What `to_dict` gives, or a list of such.
        without: Keys that the printed example has and this one has not, for a reason that the test states.
    """
    json.dumps(actual)
    wrong = list(_differences(response(name), actual, name, without))
    assert not wrong, (wrong, actual)


def _differences(expected: Any, actual: Any, path: str, without: tuple[str, ...]) -> list[str]:
    if path.rpartition(".")[2].lower().endswith("metadata"):
        return []  # Its keys are the user's.
    if isinstance(expected, dict):
        if not isinstance(actual, dict):
            return [f"{path}: {actual} is no object"]
        wrong = [f"{path}.{key} is missing" for key in expected if key not in actual and key not in without]
        for key, value in expected.items():
            if key in actual:
                wrong += _differences(value, actual[key], f"{path}.{key}", without)
        return wrong
    if isinstance(expected, list):
        if not isinstance(actual, list):
            return [f"{path}: {actual} is no list"]
        if expected and not actual:
            return [f"{path}: nothing in the list"]
        # What a list holds is of one kind; entitlements differ by type, so each printed one needs one that fits.
        wrong = []
        for place, item in enumerate(expected):
            found = [_differences(item, other, f"{path}[{place}]", without) for other in actual]
            if all(found):
                wrong += sorted(found, key=len)[0]
        return wrong
    if expected is None or actual is None:
        # A key that is printed as null is there and may hold something here.
        return [] if expected is None else [f"{path} is null"]
    if isinstance(expected, bool) or isinstance(actual, bool):
        fits = isinstance(expected, bool) and isinstance(actual, bool)
    elif isinstance(expected, int | float):
        fits = isinstance(actual, int | float)
    else:
        fits = isinstance(actual, str)
        if fits and expected.endswith(".000Z"):
            fits = actual.endswith("Z") and len(actual) == len(expected)
    return [] if fits else [f"{path}: {actual!r} is not like {expected!r}"]
