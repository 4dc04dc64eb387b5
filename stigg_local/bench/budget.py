"""The budget file: what each operation may cost, and the verdict on what it did cost.

Laws: every key of the file is judged or refused, with its line; what cannot be judged is not kept.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stigg_local.bench.operations import ALL, CALLED, HOT, NAMES
from stigg_local.bench.samples import ASCENDING, RANKS, needed
from stigg_local.bench.words import amount_text, key_text, times_text
from stigg_local.core.nearest import nearest
from stigg_local.core.source_lines import Keys, line_of, toml_lines, toml_place
from stigg_local.errors import CatalogInvalid, InvalidInput

SIZE_MAX = 1_000_000
AMOUNT_MAX = 1e18
_LATENCIES = (*RANKS, "max")
# As they are shown, too: `"p99.9"`, which TOML wants in quotes.
_SPELLINGS = {shown: key for key, (_, shown) in RANKS.items()}
# Operation -> the keys that it can have a budget for.
KEYS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(CALLED, (*_LATENCIES, "throughput")),
    **dict.fromkeys(HOT, (*_LATENCIES, "throughput", "ratio")),
    "open": _LATENCIES,
    "memory": ("preloaded", "held", "preload_time"),
    "mix": ("throughput",),
}
FLOORS = frozenset({"throughput"})
UNITS = {**dict.fromkeys((*_LATENCIES, "preload_time"), "ns"), "throughput": "/s", "ratio": "x"}
UNITS |= {"preloaded": "B", "held": "B"}
_FACTORS: dict[str, dict[str, float]] = {
    "ns": {"ns": 1, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9},
    "B": {"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3},
    "/s": {"": 1, "/s": 1},
    "x": {"": 1, "x": 1},
}
_EXAMPLES = {"ns": '"300ns", "5us" or "2ms"', "B": '"2KB" or "60MB"', "/s": '"500_000/s" or 500_000', "x": "8 or 12.5"}
# `p99.9 = …` without quotes is a key in a table called `p99` for TOML.
_BARE = re.compile(r"^\s*p99\.9", re.MULTILINE)
_IN_QUOTES = 'a key with a dot in it stands in quotes: "p99.9"; or write p99_9'
_AMOUNT = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-zµ/]*)")


class Limit(NamedTuple):
    """One line of a budget: the operation's figure under `key` is at most, or for throughput at least, `bound`."""

    operation: str
    key: str
    bound: float
    line: int


class Problem(NamedTuple):
    """One mistake of a budget file: where it stands, what is wrong and, as a hint, the way out."""

    file: str
    line: int
    path: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        path = f" {self.path}:" if self.path else ""
        return f"{self.file}:{self.line}:{path} {self.message}" + (f" ({self.hint})" if self.hint else "")

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return self._asdict()


class BudgetInvalid(CatalogInvalid):
    """A budget file has mistakes; `problems` holds all of them."""

    default_code = "BudgetInvalid"


class Verdict(NamedTuple):
    """What became of one limit.

    Attributes:
        limit: Which.
        found: The figure that was held against it; None where there is none.
        state: `kept`, `broken`, or `unjudged` where too little was measured to say.
        why: What has to be said beside the figure.
    """

    limit: Limit
    found: float | None
    state: str
    why: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether the figure was measured and is within its bound."""
        return self.state == "kept"

    @property
    def by(self) -> float | None:
        """How many times the bound was exceeded, or missed."""
        if self.found is None or self.state != "broken":
            return None
        if self.limit.key in FLOORS:
            return self.limit.bound / self.found if self.found else None
        return self.found / self.limit.bound

    @property
    def excess(self) -> float | None:
        """By how much the figure is beyond the bound, in its unit."""
        return None if self.found is None or self.state != "broken" else abs(self.found - self.limit.bound)

    def __str__(self) -> str:
        unit = UNITS[self.limit.key]
        name = f"{self.limit.operation} {key_text(self.limit.key)}"
        bound = f"{'at least' if self.limit.key in FLOORS else 'at most'} {amount_text(self.limit.bound, unit)}"
        if self.found is None or self.state == "unjudged":
            return f"{name} cannot be judged ({bound}): {self.why}"
        text = f"{name} is {amount_text(self.found, unit)}, {bound}"
        if self.excess is not None:
            way = "too few" if self.limit.key in FLOORS else "too much"
            times = "" if self.by is None else f" ({times_text(self.by)} times)"
            text += f": {amount_text(self.excess, unit)} {way}{times}"
        return f"{text}; {self.why}" if self.why else text

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "operation": self.limit.operation,
            "key": self.limit.key,
            "line": self.limit.line,
            "bound": self.limit.bound,
            "found": self.found,
            "unit": UNITS[self.limit.key],
            "state": self.state,
            "isKept": self.is_kept,
            "by": self.by,
            "excess": self.excess,
            "why": self.why,
            "text": str(self),
        }


def load_budget(path: str) -> list[Limit]:
    """The limits of a budget file.

    Raises:
        InvalidInput: The file cannot be read, or holds nothing.
        BudgetInvalid: It has mistakes; all of them are in `.problems`.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise InvalidInput(f"`{path}` cannot be read: {error.strerror}", hint="name a budget file") from error
    if len(raw) > SIZE_MAX:
        raise InvalidInput(f"`{path}` is {len(raw):,} bytes", hint=f"a budget has at most {SIZE_MAX:,}")
    text, tables = _parsed(path, raw)
    lines = toml_lines(text, every_key=True)
    limits: list[Limit] = []
    problems: list[Problem] = []

    def wrong(keys: Keys, message: str, hint: str) -> None:
        shown = ".".join(f'"{key}"' if "." in str(key) else str(key) for key in keys)
        problems.append(Problem(path, line_of(lines, keys), shown[:200], message, hint))

    for operation, table in tables.items():
        name = NAMES.get(operation, operation)
        if name not in KEYS:
            wrong((operation,), f"there is no operation `{operation[:60]}`", _way(operation, KEYS, NAMES))
        elif not isinstance(table, Mapping):
            wrong((operation,), "is not a table", f"write [{operation}] and its limits below")
        else:
            for written, value in table.items():
                key = _SPELLINGS.get(written, written)
                keys = (operation, written)
                if key not in KEYS[name]:
                    wrong(keys, f"`{name}` has no limit `{written[:60]}`", _way(written, KEYS[name], ()))
                elif isinstance(value, Mapping) and key == "p99":
                    wrong(keys, "is a table", _IN_QUOTES)
                elif (bound := parse_amount(value, UNITS[key])) is None:
                    wrong(keys, f"is `{str(value)[:60]}`", f"for example {_EXAMPLES[UNITS[key]]}")
                else:
                    limits.append(Limit(name, key, bound, line_of(lines, keys)))
    if problems:
        raise _invalid(problems)
    if not limits:
        raise InvalidInput(f"`{path}` holds no limits", hint='for example [metered] with p99 = "5us" below')
    return limits


def _parsed(path: str, raw: bytes) -> tuple[str, dict[str, Any]]:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _invalid([Problem(path, line, "", "is not UTF-8", "save the file as UTF-8")]) from error
    try:
        return text, tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        message, line, _ = toml_place(str(error), text)
        hint = _IN_QUOTES if _BARE.search(text) else None
        raise _invalid([Problem(path, line, "", message, hint)]) from error


def _invalid(problems: Sequence[Problem]) -> BudgetInvalid:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return BudgetInvalid(f"{problems[0]}{more}", problems=tuple(problems))


def parse_amount(value: object, unit: str) -> float | None:
    """A number with its unit, in nanoseconds, bytes, calls a second or times; None where it is none above 0."""
    if type(value) in (int, float) and "" in _FACTORS[unit]:
        # Compared before it is converted: TOML's whole numbers may be larger than any float.
        return float(value) if 0 < value < AMOUNT_MAX else None  # type: ignore[arg-type, operator]
    found = _AMOUNT.fullmatch(value.strip()) if isinstance(value, str) and len(value) < 60 else None
    if found is None or found[2] not in _FACTORS[unit]:
        return None
    amount = float(found[1].replace("_", "")) * _FACTORS[unit][found[2]]
    return amount if 0 < amount < AMOUNT_MAX else None


def judge(limits: list[Limit], result: Mapping[str, Any]) -> list[Verdict]:
    """The verdict on each limit.

    Args:
        limits: Of the budget file.
        result: The JSON form of what was measured.
    """
    found: dict[str, Any] = {}
    for item in result["operations"]:
        # An operation that was measured alone says more of itself than its part in a mix.
        if item["run"] == "alone" or item["name"] not in found:
            found[item["name"]] = item
    if result["memory"] is not None:
        found["memory"] = result["memory"]
    if result["mix"] is not None:
        found["mix"] = result["mix"]
    skipped = {item["name"]: item["why"] for item in result["skipped"]}
    return [_verdict(limit, found.get(limit.operation), skipped) for limit in limits]


def _verdict(limit: Limit, item: Mapping[str, Any] | None, skipped: Mapping[str, str]) -> Verdict:
    if item is None:
        way = f"it was not measured; add --operation {limit.operation}"
        if limit.operation == "mix":
            way = "there was no mix; add --mix with operations and their weights"
        return Verdict(limit, None, "unjudged", skipped.get(limit.operation, way))
    found = item.get(limit.key)
    if found is None:
        why = f"it has this figure only where it is measured alone; add --operation {limit.operation}"
        return Verdict(limit, None, "unjudged", why)
    if limit.key in item.get("tooFew", ()):
        return _of_few(limit, item)
    is_kept = found >= limit.bound if limit.key in FLOORS else found <= limit.bound
    return Verdict(limit, float(found), "kept" if is_kept else "broken")


def _of_few(limit: Limit, item: Mapping[str, Any]) -> Verdict:
    """A percentile with too few calls: what the others say of it, since none is below a lower one."""
    rank, shown = RANKS[limit.key]
    needs = f"{shown} needs {needed(rank):,} calls and {item['calls']:,} were made"
    if item["max"] <= limit.bound:
        return Verdict(limit, float(item["max"]), "kept", f"{needs}, but no call took longer than that")
    for key in reversed(ASCENDING[: ASCENDING.index(limit.key)]):
        if key not in item["tooFew"] and item[key] > limit.bound:
            return Verdict(limit, float(item[key]), "broken", f"{needs}, but {RANKS[key][1]} is that already")
    return Verdict(limit, float(item[limit.key]), "unjudged", f"{needs}; raise --seconds or --iterations")


def _way(word: str, known: Iterable[str], also: Iterable[str]) -> str:
    """The name that was probably meant, else all there are; `also` holds names that are taken, but not told."""
    near = nearest(word, [*known, *also])
    return f"did you mean `{near}`?" if near else f"there are {', '.join(known)}"


assert set(KEYS) == {*ALL, "mix"}
