"""The rules of the rooms, held from the source text: imports, clocks, sizes, words, what an import costs.

Each rule is a function from a module to what is wrong with it, so that planted breaches prove it.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import stigg_local

PACKAGE = Path(stigg_local.__file__).parent
ROOT = Path(__file__).parents[1]
LINES_MAX = 600

# Room -> the rooms it may import beside itself. The empty name is the package itself (the public names), for
# the rooms that stand on the client.
ROOMS = {
    "errors": frozenset[str](),
    "clock": frozenset({"errors"}),
    "log": frozenset[str](),
    "core": frozenset({"errors"}),
    "store": frozenset({"errors", "clock", "log", "core"}),
    "formats": frozenset({"errors", "core"}),
    "edge": frozenset({"errors", "clock", "log", "core", "store", "formats"}),
    "authority": frozenset({"errors", "clock", "log", "core", "store", "formats"}),
    "client": frozenset({"errors", "clock", "log", "core", "store", "edge", "authority"}),
    "": frozenset({"errors", "core", "client"}),
    "bench": frozenset({"", "errors", "clock", "core", "store", "authority", "client"}),
    "cli": frozenset({"", "errors", "clock", "log", "core", "store", "authority", "client", "testing", "bench"}),
    "testing": frozenset({"", "errors", "clock", "core", "client"}),
}
# The client is one room in several modules at the top of the package; any other module there is its own room.
CLIENT_PARTS = frozenset(
    "aio calls catalog_calls consume_arguments consume_calls customer_calls database doctor embedded "
    "event_arguments event_calls explain_calls getters import_commands listeners payment_calls "
    "product_calls queued_calls reserve_calls status subscription_calls usage_calls writing".split()
)

# What core may use of the standard library: nothing here reads a file, a clock or a random source.
CORE_STANDARD_LIBRARY = frozenset(
    "abc base64 binascii bisect calendar collections collections.abc copy dataclasses datetime decimal "
    "difflib enum fractions functools hashlib heapq itertools json math numbers operator re string struct "
    "types typing unicodedata zlib".split()
)
CORE_THIRD_PARTY = frozenset({"msgspec"})
CORE_BANNED_CALLS = frozenset({"__import__", "breakpoint", "eval", "exec", "input", "open", "print"})

BANNED_EVERYWHERE = frozenset({"pickle", "shelve", "sqlite3"})
RANDOM_SOURCES = frozenset({"random", "secrets", "uuid"})
# Reading the wall or the boot clock is for `clock` alone; waiting and timing one's own work are not that.
TIME_NAMES = {
    "store": frozenset({"sleep"}),
    "cli": frozenset({"sleep", "perf_counter", "perf_counter_ns"}),
    "bench": frozenset({"perf_counter", "perf_counter_ns"}),
}
NOW_METHODS = frozenset({"now", "today", "utcnow"})

ENTRY_POINTS = frozenset({"stigg_local.cli.main", "stigg_local.testing.plugin", "stigg_local.__main__"})
TOY_WORDS = re.compile(
    r"\b(for now|in a real (?:system|implementation)|simplified|placeholder|not implemented"
    r"|NotImplementedError|TODO|FIXME|XXX)\b",
    re.IGNORECASE,
)
HEAVY_MODULES = (
    "asyncio",
    "click",
    "concurrent.futures",
    "rich",
    "ruamel.yaml",
    "sqlite_utils",
    "structlog",
    "tomllib",
    "urllib3",
    "watchfiles",
)


class Module(NamedTuple):
    """One source file: its dotted name, its text, and whether it is a package's `__init__`."""

    name: str
    text: str
    is_package: bool = False

    @property
    def room(self) -> str:
        """The first part below the package, empty for the package itself."""
        return room_of(self.name)


def modules(package: Path = PACKAGE) -> list[Module]:
    """Every module of the package, in a fixed order."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        found.append(Module(".".join(parts[:-1] if is_package else parts), path.read_text("utf-8"), is_package))
    return found


def room_of(name: str) -> str:
    """The room that a dotted name of the package belongs to."""
    part = name.split(".")[1] if "." in name else ""
    return "client" if part in CLIENT_PARTS else part


class Import(NamedTuple):
    """One imported thing: `target` is the module named, `name` what is taken from it, None for the module."""

    target: str
    name: str | None
    line: int


def imports(module: Module) -> Iterator[Import]:
    """Every import of the module, inside functions and by name at run time too."""
    for node in ast.walk(ast.parse(module.text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, None, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield Import(absolute(module, node), alias.name, node.lineno)
        elif isinstance(node, ast.Call) and called(node) in {"__import__", "import_module"} and node.args:
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield Import(argument.value, None, node.lineno)


def absolute(module: Module, node: ast.ImportFrom) -> str:
    """The absolute name of what a `from` import names."""
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    base = parts[: len(parts) - node.level + module.is_package]
    return ".".join([*base, *(node.module.split(".") if node.module else [])])


def called(node: ast.Call) -> str:
    """The last name of what is called, empty where it has none."""
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def room_imported(found: Import) -> str | None:
    """The room of this package that an import reaches, None for anything outside the package."""
    if found.target == "stigg_local":
        part = room_of(f"stigg_local.{found.name}")
        return part if part in ROOMS else ""
    return room_of(found.target) if found.target.startswith("stigg_local.") else None


# The rules. Each yields sentences. --------------------------------------------------------------------------


def rooms_import_down_only(module: Module) -> Iterator[str]:
    if module.room not in ROOMS:
        yield f"{module.name}: `{module.room}` is not a room in ROOMS"
        return
    for found in imports(module):
        room = room_imported(found)
        if room is not None and room != module.room and room not in ROOMS[module.room]:
            yield f"{module.name}:{found.line}: `{module.room}` may not import `{room}`"


def core_is_pure(module: Module) -> Iterator[str]:
    if module.room != "core":
        return
    for found in imports(module):
        top = found.target.split(".")[0]
        allowed = found.target in CORE_STANDARD_LIBRARY or top in CORE_THIRD_PARTY or top == "stigg_local"
        if not allowed:
            yield f"{module.name}:{found.line}: core imports `{found.target}`"
    for node in ast.walk(ast.parse(module.text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CORE_BANNED_CALLS:
            yield f"{module.name}:{node.lineno}: core calls `{node.func.id}`"


def sqlite_has_one_door(module: Module) -> Iterator[str]:
    for found in imports(module):
        top = found.target.split(".")[0]
        if top in BANNED_EVERYWHERE:
            yield f"{module.name}:{found.line}: nothing imports `{top}`"
        elif top == "apsw" and module.room != "store":
            yield f"{module.name}:{found.line}: only the store imports `apsw`"
        elif top == "sqlite_utils" and module.name != "stigg_local.store.facade":
            yield f"{module.name}:{found.line}: only store/facade.py imports `sqlite_utils`"


def yaml_has_one_door(module: Module) -> Iterator[str]:
    for found in imports(module):
        if found.target.split(".")[0] in {"ruamel", "yaml"} and module.name != "stigg_local.formats.yaml_text":
            yield f"{module.name}:{found.line}: only formats/yaml_text.py imports `{found.target}`"


def one_module_reads_clocks_and_makes_ids(module: Module) -> Iterator[str]:
    if module.name == "stigg_local.clock":
        return
    allowed = TIME_NAMES.get(module.room, frozenset())
    for found in imports(module):
        top = found.target.split(".")[0]
        if top in RANDOM_SOURCES or (found.target == "os" and found.name == "urandom"):
            yield f"{module.name}:{found.line}: only clock.py makes ids (`{found.name or top}`)"
        elif found.target == "time" and (found.name not in allowed if found.name else not allowed):
            yield f"{module.name}:{found.line}: only clock.py reads clocks (`{found.name or top}`)"
    for node in ast.walk(ast.parse(module.text)):
        if not isinstance(node, ast.Attribute):
            continue
        owner = ast.unparse(node.value)
        if owner == "os" and node.attr == "urandom":
            yield f"{module.name}:{node.lineno}: only clock.py makes ids (`os.urandom`)"
        elif owner == "time" and module_is_imported(module, "time") and node.attr not in allowed:
            yield f"{module.name}:{node.lineno}: only clock.py reads clocks (`time.{node.attr}`)"
        elif owner.split(".")[-1] in {"date", "datetime"} and node.attr in NOW_METHODS:
            yield f"{module.name}:{node.lineno}: only clock.py reads clocks (`{owner}.{node.attr}`)"


def module_is_imported(module: Module, name: str) -> bool:
    """Whether the module has `import name`, so that `name.x` means that module."""
    return any(found.target == name and found.name is None for found in imports(module))


def modules_are_short(module: Module) -> Iterator[str]:
    lines = len(module.text.splitlines())
    if lines > LINES_MAX:
        yield f"{module.name}: {lines} lines, {LINES_MAX} are allowed"


def modules_say_what_they_own(module: Module) -> Iterator[str]:
    if not ast.get_docstring(ast.parse(module.text)):
        yield f"{module.name}: no docstring"


def no_toy_words(module: Module) -> Iterator[str]:
    for number, line in enumerate(module.text.splitlines(), 1):
        for word in TOY_WORDS.findall(line):
            yield f"{module.name}:{number}: `{word}`"


RULES: tuple[Callable[[Module], Iterator[str]], ...] = (
    rooms_import_down_only,
    core_is_pure,
    sqlite_has_one_door,
    yaml_has_one_door,
    one_module_reads_clocks_and_makes_ids,
    modules_are_short,
    modules_say_what_they_own,
    no_toy_words,
)


def dead_modules(found: list[Module]) -> list[str]:
    """Modules that nothing imports and that no outside door names."""
    alive = set(ENTRY_POINTS)
    for module in found:
        for item in imports(module):
            # `from a import b` may name the module a.b; a module that imports itself proves nothing.
            alive |= {item.target, f"{item.target}.{item.name}"} - {module.name}
    return [module.name for module in found if not module.is_package and module.name not in alive]


def modules_loaded(statement: str) -> set[str]:
    """The names in `sys.modules` after a fresh interpreter ran the statement."""
    path = f"import json, sys\nsys.path.insert(0, {str(PACKAGE.parent)!r})"
    program = f"{path}\n{statement}\nprint(json.dumps(list(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(shown.stdout))


# The package as it is. --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Callable[[Module], Iterator[str]]) -> None:
    assert [] == [breach for module in modules() for breach in rule(module)]


def test_every_module_is_imported_by_another_or_is_an_entry_point() -> None:
    assert [] == dead_modules(modules())


def test_benchmarks_and_readme_hold_no_toy_words() -> None:
    texts = [*sorted((ROOT / "benchmarks").rglob("*.py")), *sorted(ROOT.glob("README.md"))]
    found = [Module(str(path.relative_to(ROOT)), path.read_text("utf-8")) for path in texts]
    assert [] == [breach for module in found for breach in no_toy_words(module)]


def test_importing_the_package_loads_nothing_heavy() -> None:
    """A process that only asks pays for apsw and msgspec, not for what files, logs and commands need."""
    loaded = modules_loaded("import stigg_local")
    assert "stigg_local" in loaded
    assert [] == [name for name in HEAVY_MODULES if name in loaded]


def test_starting_a_command_loads_what_that_command_needs() -> None:
    """Each command imports its own: what parses catalogs, examines files or talks to a network waits for its use."""
    loaded = modules_loaded("import stigg_local.cli.main")
    late = (
        "authority.authority",
        "authority.catalog_file",
        "bench.session",
        "doctor",
        "explain_calls",
        "store.backup",
    )
    assert "stigg_local.cli.main" in loaded
    assert [] == [name for name in late if f"stigg_local.{name}" in loaded]
    assert [] == [name for name in ("http.client", "rich", "subprocess", "tempfile") if name in loaded]


# Planted breaches: what each rule would catch. --------------------------------------------------------------


def breaches(rule: Callable[[Module], Iterator[str]], name: str, text: str) -> int:
    """How many breaches the rule finds in a module that does not exist."""
    return len(list(rule(Module(f"stigg_local.{name}", text))))


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (rooms_import_down_only, "edge.replica", "from stigg_local.authority import commands"),
        (rooms_import_down_only, "authority.tick", "import stigg_local.edge.replica"),
        (rooms_import_down_only, "authority.tick", "from stigg_local import edge"),
        (rooms_import_down_only, "authority.tick", "def f():\n    from ..edge.replica import Replica"),
        (rooms_import_down_only, "core.meter", "from stigg_local.clock import new_id"),
        (rooms_import_down_only, "core.meter", "from stigg_local.store.tx import Tx"),
        (rooms_import_down_only, "store.tx", "from stigg_local.client import Stigg"),
        (rooms_import_down_only, "store.tx", "from stigg_local import Stigg"),
        (rooms_import_down_only, "client", "from stigg_local.cli import main"),
        (rooms_import_down_only, "store.tx", "from stigg_local import embedded"),
        (rooms_import_down_only, "edge.replica", "from stigg_local.status import Status"),
        (rooms_import_down_only, "errors", "from stigg_local.core import words"),
        (rooms_import_down_only, "utils.text", ""),
        (core_is_pure, "core.meter", "import os"),
        (core_is_pure, "core.meter", "import os.path"),
        (core_is_pure, "core.meter", "def f():\n    from threading import Lock"),
        (core_is_pure, "core.meter", "import importlib"),
        (core_is_pure, "core.meter", "from pathlib import Path"),
        (core_is_pure, "core.meter", "import logging"),
        (core_is_pure, "core.meter", "import apsw"),
        (core_is_pure, "core.meter", "text = open('catalog.toml').read()"),
        (core_is_pure, "core.meter", "print('here')"),
        (sqlite_has_one_door, "store.facade", "import sqlite3"),
        (sqlite_has_one_door, "cli.main", "from sqlite3 import dbapi2"),
        (sqlite_has_one_door, "cli.main", "import importlib\nimportlib.import_module('sqlite3')"),
        (sqlite_has_one_door, "store.tx", "import pickle"),
        (sqlite_has_one_door, "edge.replica", "import apsw"),
        (sqlite_has_one_door, "client", "import apsw.bestpractice"),
        (sqlite_has_one_door, "store.tx", "import sqlite_utils"),
        (sqlite_has_one_door, "cli.main", "from sqlite_utils import Database"),
        (yaml_has_one_door, "authority.catalog_file", "def f():\n    from ruamel.yaml import YAML"),
        (yaml_has_one_door, "formats.toml_text", "import ruamel.yaml"),
        (rooms_import_down_only, "formats.yaml_text", "from stigg_local.store.tx import Tx"),
        (rooms_import_down_only, "core.meter", "from stigg_local.formats import yaml_text"),
        (one_module_reads_clocks_and_makes_ids, "core.meter", "import time"),
        (one_module_reads_clocks_and_makes_ids, "core.meter", "from time import sleep"),
        (one_module_reads_clocks_and_makes_ids, "store.tx", "from time import time"),
        (one_module_reads_clocks_and_makes_ids, "store.tx", "import time\ntime.monotonic()"),
        (one_module_reads_clocks_and_makes_ids, "store.tx", "from os import urandom"),
        (one_module_reads_clocks_and_makes_ids, "store.tx", "import os\nos.urandom(8)"),
        (one_module_reads_clocks_and_makes_ids, "client", "import uuid"),
        (one_module_reads_clocks_and_makes_ids, "client", "import secrets"),
        (one_module_reads_clocks_and_makes_ids, "edge.replica", "from random import random"),
        (one_module_reads_clocks_and_makes_ids, "core.period", "datetime.now(UTC)"),
        (one_module_reads_clocks_and_makes_ids, "core.period", "datetime.datetime.utcnow()"),
        (one_module_reads_clocks_and_makes_ids, "core.period", "date.today()"),
        (modules_are_short, "client", "\n" * (LINES_MAX + 1)),
        (modules_say_what_they_own, "client", "import os"),
        (no_toy_words, "client", "# Enough for now."),
        (no_toy_words, "client", "raise NotImplementedError"),
        (no_toy_words, "client", "# todo: the rest"),
    ],
)
def test_a_planted_breach_is_found(rule: Callable[[Module], Iterator[str]], name: str, text: str) -> None:
    assert breaches(rule, name, text) >= 1


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (rooms_import_down_only, "store.tx", "from stigg_local.core.words import FeatureType\nimport apsw"),
        (rooms_import_down_only, "cli.main", "from stigg_local import Stigg"),
        (rooms_import_down_only, "client", "from stigg_local.embedded import Embedded"),
        (rooms_import_down_only, "core.meter", "from .quantity import scaled"),
        (core_is_pure, "core.meter", "from collections.abc import Sequence\nfrom msgspec import Struct"),
        (sqlite_has_one_door, "store.facade", "import apsw\nimport sqlite_utils"),
        (
            one_module_reads_clocks_and_makes_ids,
            "clock",
            "import os\nimport time\ntime.time()\nos.urandom(8)",
        ),
        (
            one_module_reads_clocks_and_makes_ids,
            "edge.replica",
            "self.clock.time()\ntime = clock.time\ntime()",
        ),
        (one_module_reads_clocks_and_makes_ids, "store.locks", "import time\ntime.sleep(0.001)"),
        (one_module_reads_clocks_and_makes_ids, "core.period", "datetime.fromtimestamp(0, UTC)"),
        (no_toy_words, "client", "# The method `todos` of a customer's task list."),
    ],
)
def test_what_the_rule_allows_is_left_alone(rule: Callable[[Module], Iterator[str]], name: str, text: str) -> None:
    assert 0 == breaches(rule, name, text)


def test_a_module_that_nobody_imports_is_dead() -> None:
    planted = [
        Module("stigg_local", "from stigg_local.client import Stigg", is_package=True),
        Module("stigg_local.client", "def f():\n    from stigg_local.core import meter"),
        Module("stigg_local.core", "", is_package=True),
        Module("stigg_local.core.meter", ""),
        Module("stigg_local.core.forgotten", "from stigg_local.core import forgotten"),
        Module("stigg_local.cli.main", ""),
    ]
    assert ["stigg_local.core.forgotten"] == dead_modules(planted)


def test_a_heavy_import_is_seen() -> None:
    assert "tomllib" in modules_loaded("import tomllib")
