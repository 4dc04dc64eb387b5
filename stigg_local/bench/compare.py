"""Two results side by side: ratios, and how far they may lie apart by accident.

Law: a difference counts where it is larger than what both runs show between their own slices.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stigg_local.bench.session import SCHEMA
from stigg_local.errors import InvalidInput

SIZE_MAX = 50_000_000
# Two runs of the same code on a quiet machine differ by so much.
BAND_MIN = 0.05
# What is measured once has no slices to tell.
BAND_SINGLE = 0.1
# Nor has a percentile that a slice has too few calls for.
BAND_UNKNOWN = 0.3


class Change(NamedTuple):
    """One figure before and now.

    Attributes:
        operation, key: Which figure.
        before, now: Its two values.
        band: The part by which they differ by accident.
        is_floor: Whether more is better.
    """

    operation: str
    key: str
    before: float
    now: float
    band: float
    is_floor: bool = False

    @property
    def ratio(self) -> float:
        """Now over before."""
        return self.now / self.before

    @property
    def word(self) -> str:
        """`better`, `worse`, or `same` within the noise."""
        if 1 / (1 + self.band) <= self.ratio <= 1 + self.band:
            return "same"
        return "better" if (self.ratio > 1) is self.is_floor else "worse"

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**self._asdict(), "ratio": round(self.ratio, 4), "word": self.word}


def load_result(path: str) -> dict[str, Any]:
    """An earlier result.

    Raises:
        InvalidInput: The file cannot be read, or `bench --output` did not write it.
    """
    try:
        if Path(path).stat().st_size > SIZE_MAX:
            raise InvalidInput(f"`{path}` is larger than any result", hint="name a file that --output wrote")
        found = json.loads(Path(path).read_bytes(), parse_constant=_no_number)
    except OSError as error:
        raise InvalidInput(
            f"`{path}` cannot be read: {error.strerror}", hint="name a file that --output wrote"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"`{path}` is not JSON: {error}", hint="name a file that --output wrote") from error
    if not isinstance(found, dict) or not isinstance(found.get("operations"), list):
        raise InvalidInput(f"`{path}` is no result of a benchmark", hint="name a file that --output wrote")
    if found.get("schema") != SCHEMA:
        raise InvalidInput(
            f"`{path}` has the form {str(found.get('schema'))[:20]}, not {SCHEMA}",
            hint="measure again with this version",
        )
    try:
        # Whatever is wrong with it is said before anything is measured: a whole result compares with itself.
        for change in _changes(found, found):
            change.to_dict()
        unlike(found, found)
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise InvalidInput(f"`{path}` is damaged", hint="name a file that --output wrote") from error
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Every figure that both have, in the order of `now`."""
    return list(_changes(before, now))


def unlike(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is different about the two runs beside their figures, in words."""
    found = []
    for part, names in (
        ("environment", ("stiggLocal", "python", "sqlite", "processor", "processors", "fileSystem")),
        ("data", ("customers", "features", "workingSet")),
        ("settings", ("threads", "seed")),
    ):
        for name in names:
            old, new = before[part].get(name), now[part][name]
            if old != new:
                found.append(f"{_spaced(name)} {str(old)[:60]} before, {new} now")
    if (before["data"]["source"], before["settings"]["seed"]) == (now["data"]["source"], now["settings"]["seed"]):
        found += _other_answers(before, now)
    return found


def _other_answers(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Which operations answered something else: on the same data a figure beside a wrong answer is worth nothing."""
    old = {item["name"]: item.get("answers") for item in before["operations"]}
    names = {item["name"]: None for item in now["operations"] if item["answers"] and old.get(item["name"])}
    new = {item["name"]: item["answers"] for item in now["operations"]}
    return [f"the answers of `{name}` are others than before" for name in names if old[name] != new[name]]


def _spaced(name: str) -> str:
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    if before["lookup"] and now["lookup"]:
        yield Change("(dictionary lookup)", "p50", before["lookup"], now["lookup"], BAND_SINGLE)
    earlier = {(item["name"], item["run"]): item for item in before["operations"]}
    for item in now["operations"]:
        old = earlier.get((item["name"], item["run"]))
        if old is None or not old["calls"] or not item["calls"]:
            continue
        name = item["name"] if item["run"] == "alone" else f"{item['name']} in the mix"
        for key in ("p50", "p99"):
            if key not in (*old["tooFew"], *item["tooFew"]) and old[key] and item[key]:
                yield Change(name, key, old[key], item[key], _band(old, item, key))
        for key in ("ratio", "throughput"):
            if old[key] and item[key]:
                yield Change(name, key, old[key], item[key], _band(old, item, key), key == "throughput")
    # Of another number of customers it would say nothing.
    if before["memory"] and now["memory"] and before["memory"]["customers"] == now["memory"]["customers"]:
        for key in ("preloaded", "held"):
            if before["memory"][key] and now["memory"][key]:
                yield Change("memory", key, before["memory"][key], now["memory"][key], BAND_SINGLE)


def _band(old: Mapping[str, Any], new: Mapping[str, Any], key: str) -> float:
    """Both runs' own noise, and never less than what is always there."""
    own: list[float | None] = [old["noise"].get(key), new["noise"].get(key)]
    known = [part for part in own if part is not None]
    return round(max(BAND_MIN, sum(known)), 4) if len(known) == len(own) else BAND_UNKNOWN
