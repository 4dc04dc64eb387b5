"""The operations that can be measured, each one row of a table, and the mix of them that is asked for.

Law: an operation is known here and nowhere else: options, budgets, figures and colours follow from the table.
"""

from collections.abc import Iterable
from typing import NamedTuple

from stigg_local.core.answer import BOOLEAN, CREDIT, ENUM, METERED, NUMERIC
from stigg_local.core.nearest import nearest
from stigg_local.errors import InvalidInput

WEIGHT_MAX = 1_000_000


class Kind(NamedTuple):
    """One operation.

    Attributes:
        name: What it is called in options, budgets and results.
        meaning: What is measured, for people.
        method: The client's method that is called; empty where it is not made of calls in this process.
        types: Types of answers that its questions are about; none for all of them.
        aliases: Other names for it.
        is_hot: Whether it is answered from memory, which makes it comparable to a dictionary lookup.
        is_write: Whether it changes what other operations are answered.
        is_cold: Whether each call is about a customer who is not in memory.
        asks: Whether each call asks with another `requested_usage`.
    """

    name: str
    meaning: str
    method: str = ""
    types: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    is_hot: bool = False
    is_write: bool = False
    is_cold: bool = False
    asks: bool = False


KINDS = {
    kind.name: kind
    for kind in (
        Kind("boolean", "a boolean answer from memory", "get_boolean_entitlement", (BOOLEAN,), is_hot=True),
        Kind("numeric", "a numeric answer from memory", "get_numeric_entitlement", (NUMERIC,), is_hot=True),
        Kind("enum", "an enum answer from memory", "get_enum_entitlement", (ENUM,), is_hot=True),
        Kind("metered", "a metered answer from memory", "get_metered_entitlement", (METERED,), is_hot=True),
        Kind("credit", "a credit answer from memory", "get_credit_entitlement", (CREDIT,), is_hot=True),
        Kind(
            "generic",
            "the generic getter, features of all types",
            "get_entitlement",
            aliases=("get_entitlement", "check"),
            is_hot=True,
        ),
        Kind(
            "requested",
            "a metered answer with another requested_usage each time",
            "get_metered_entitlement",
            (METERED,),
            is_hot=True,
            asks=True,
        ),
        Kind(
            "disk",
            "an answer about a customer who is not in memory",
            "get_entitlement",
            aliases=("cold",),
            is_cold=True,
        ),
        Kind(
            "report",
            "a usage report, on disk when it returns",
            "report_usage",
            (METERED,),
            aliases=("report_usage",),
            is_write=True,
        ),
        Kind("open", "the constructor and the first answer, in a fresh process"),
        Kind("memory", "customers preloaded and held, in a fresh process"),
    )
}
ALL = tuple(KINDS)
# Those that are made of calls in this process; the others need a fresh one.
CALLED = tuple(kind.name for kind in KINDS.values() if kind.method)
HOT = tuple(kind.name for kind in KINDS.values() if kind.is_hot)
# Every name that means an operation, the client's own method names included.
NAMES = {name: name for name in ALL} | {alias: kind.name for kind in KINDS.values() for alias in kind.aliases}
for _name in ("boolean", "numeric", "enum", "metered", "credit"):
    NAMES[KINDS[_name].method] = _name


class Run(NamedTuple):
    """What is measured together: one operation alone, or a mix with weights."""

    weights: tuple[tuple[str, int], ...]
    is_mix: bool = False


def parse_runs(given: Iterable[str], mix: Iterable[str] = ()) -> list[Run]:
    """`--operation` and `--mix` as they were given, in lists with commas or several times.

    Args:
        given: Names of operations that are measured alone; one with a weight (`metered=8`) is part of the mix.
        mix: Names with weights.

    Returns:
        The mix first, then each operation alone; all of them where nothing is asked for.

    Raises:
        InvalidInput: An unknown operation, a weight that is none, or the same operation twice.
    """
    alone: list[str] = []
    mixed: dict[str, int] = {}
    for text, is_mix in [*((item, False) for item in _split(given)), *((item, True) for item in _split(mix))]:
        written, is_weighted, weight = text.partition("=")
        name = _known(written.strip())
        if is_mix and not is_weighted:
            raise InvalidInput(f"`{name}` has no weight in the mix", hint=f"for example --mix {name}=8")
        if name in mixed if is_weighted else name in alone:
            raise InvalidInput(f"`{name}` is given twice", hint="state each operation once")
        if not is_weighted:
            alone.append(name)
            continue
        if name not in CALLED:
            raise InvalidInput(f"`{name}` takes no weight", hint=f"it needs a process of its own: --operation {name}")
        mixed[name] = _weight(name, weight.strip())
    runs = [Run(((name, 1),)) for name in alone or (() if mixed else ALL)]
    return ([Run(tuple(mixed.items()), is_mix=True)] if mixed else []) + runs


def _split(given: Iterable[str]) -> list[str]:
    return [part.strip() for text in given for part in text.split(",")]


def _known(name: str) -> str:
    if name in NAMES:
        return NAMES[name]
    near = nearest(name, NAMES)
    raise InvalidInput(
        f"there is no operation `{name[:60]}`",
        hint=f"did you mean `{near}`" if near else f"operations: {', '.join(ALL)}",
    )


def _weight(name: str, text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(WEIGHT_MAX))
    if not is_number or not 1 <= int(text) <= WEIGHT_MAX:
        hint = f"from 1 to {WEIGHT_MAX:,}: --mix {name}=8"
        raise InvalidInput(f"the weight of `{name}` is `{text[:60]}`", hint=hint)
    return int(text)
