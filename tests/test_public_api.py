"""What users meet: the exported names, their docstrings, and the README's examples, run as they stand."""

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import stigg_local
from stigg_local.cli.main import commands as command_line

PACKAGE = Path(stigg_local.__file__).parent
ROOT = Path(__file__).parents[1]
# What a user has without this package; a path in front of a name is the virtual environment's.
KNOWN_COMMANDS = frozenset({"cat", "cd", "cp", "echo", "git", "mkdir", "pip", "python", "python3", "stigg-local"})
RUNNABLE = "<!-- runnable -->"


class Block(NamedTuple):
    """One code fence of a Markdown text: its language, its text, its line, the line of text above it."""

    language: str
    text: str
    line: int
    above: str


def blocks(markdown: str) -> Iterator[Block]:
    """The code fences of a Markdown text, in order."""
    lines = markdown.splitlines()
    start: int | None = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
        else:
            above = lines[start - 1] if start else ""
            yield Block(lines[start][3:].strip(), "\n".join(lines[start + 1 : number]) + "\n", start + 1, above)
            start = None
    assert start is None, f"the code fence of line {start} is never closed"


def commands(shell: str) -> Iterator[list[str]]:
    """The single commands of a shell text, as words, without comments and assignments."""
    for line in shell.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        words.whitespace_split = True
        words.commenters = "#"
        command: list[str] = []
        for word in [*words, ";"]:
            if set(word) <= set("|&;"):
                if command:
                    yield command
                command = []
            elif command or not re.fullmatch(r"[A-Z_]+=.*", word):
                command.append(word)


def unknown_commands(shell: str) -> list[str]:
    """Commands whose first word no user has, and subcommands that `stigg-local` does not have."""
    unknown = []
    for command in commands(shell):
        name = command[0].rpartition("/")[2]
        if name not in KNOWN_COMMANDS:
            unknown.append(command[0])
        elif name == "stigg-local" and not has_subcommand(command[1:]):
            unknown.append(" ".join(command))
    return unknown


def has_subcommand(words: list[str]) -> bool:
    """Whether the words after `stigg-local` lead to a command, or are options of the whole."""
    found: object = command_line
    for word in words:
        children = getattr(found, "commands", None)
        if children is None or word.startswith("-"):
            return True
        if word not in children:
            return False
        found = children[word]
    return True


def readme_blocks(language: str) -> list[Block]:
    """The README's code fences in one language."""
    return [block for block in blocks((ROOT / "README.md").read_text("utf-8")) if block.language == language]


def undocumented(owner: object, names: list[str]) -> list[str]:
    """The names whose own docstring is missing; values that are not code carry none."""
    found = []
    for name in names:
        value = inspect.getattr_static(owner, name)
        code = getattr(value, "__func__", value)
        documents_itself = inspect.isclass(code) or inspect.isroutine(code) or isinstance(code, property)
        if documents_itself and not (code.__doc__ or "").strip():
            found.append(name)
    return found


def public(names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith("_")]


def test_all_is_sorted_and_every_name_exists() -> None:
    names = list(stigg_local.__all__)
    assert sorted(set(names)) == names
    assert [name for name in names if not hasattr(stigg_local, name)] == []


def test_every_public_name_has_a_docstring() -> None:
    for name in stigg_local.__all__:
        getattr(stigg_local, name)  # A name that is loaded when asked for is in the module afterwards.
    values = {name: getattr(stigg_local, name) for name in stigg_local.__all__}
    classes = {name: value for name, value in values.items() if inspect.isclass(value) or callable(value)}
    assert [name for name, value in classes.items() if not (value.__doc__ or "").strip()] == []


def test_every_public_method_of_the_client_has_a_docstring() -> None:
    assert undocumented(stigg_local.Stigg, public(dir(stigg_local.Stigg))) == []


def test_every_public_class_documents_its_public_methods() -> None:
    missing = {
        name: undocumented(value, public(list(vars(value))))
        for name in stigg_local.__all__
        if inspect.isclass(value := getattr(stigg_local, name))
    }
    assert {name: names for name, names in missing.items() if names} == {}


def test_the_readmes_python_examples_run(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """Each in a directory of its own with the fixtures' example files, in a process of its own."""
    examples = [block for block in readme_blocks("python") if block.above == RUNNABLE]
    assert examples
    for block in examples:
        place = tmp_path / f"line-{block.line}"
        place.mkdir()
        for example in example_files():
            shutil.copy(example, place)
        (place / "example.py").write_text(block.text, "utf-8")
        with subtests.test(line=block.line):
            path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
            ran = subprocess.run(
                [sys.executable, "-W", "error", "example.py"],
                cwd=place,
                env=os.environ | {"PYTHONPATH": path.rstrip(os.pathsep)},
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert (0, "") == (ran.returncode, ran.stderr)


def example_files() -> list[Path]:
    """The files that the README's examples name, such as `catalog.toml`: the package's and the fixtures'."""
    return [path for place in (PACKAGE, ROOT / "fixtures") for path in sorted(place.rglob("*.toml"))]


def test_the_readmes_commands_are_known(subtests: pytest.Subtests) -> None:
    shells = [*readme_blocks("bash"), *readme_blocks("sh")]
    assert shells
    for block in shells:
        with subtests.test(line=block.line):
            assert unknown_commands(block.text) == []


def test_a_planted_command_is_unknown() -> None:
    shell = "python3 -m venv .venv && .venv/bin/stigg-local demo  # the tour\nstigg-locl demo | A=1 frobnicate\n"
    assert ["stigg-locl", "frobnicate"] == unknown_commands(shell)
    assert ["stigg-local no-such-command"] == unknown_commands("stigg-local no-such-command")


def test_code_fences_are_found_with_the_line_above() -> None:
    markdown = "text\n<!-- runnable -->\n```python\nprint(1)\n```\n\n```bash\nls\n```\n"
    assert [
        Block("python", "print(1)\n", 3, RUNNABLE),
        Block("bash", "ls\n", 7, ""),
    ] == list(blocks(markdown))


def test_a_missing_docstring_is_seen() -> None:
    class Undocumented:
        def method(self) -> None: ...

        @classmethod
        def made(cls) -> None: ...

        @property
        def value(self) -> int:
            return 1

        def documented(self) -> None:
            """It has one."""

    assert ["made", "method", "value"] == undocumented(Undocumented, public(dir(Undocumented)))
