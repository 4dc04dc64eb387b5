"""The demo's stage: steps, what is said in them, and claims that are checked as they are made."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from stigg_local.cli.output import Bar, Output


class Stage:
    """Prints the tour while it happens, or keeps it for one JSON object at the end.

    Attributes:
        failed: The claims that did not hold.
    """

    def __init__(self, out: Output) -> None:
        self._out = out
        self._steps: list[dict[str, Any]] = []
        self.failed: list[str] = []

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._steps.append({"title": title, "lines": [], "tables": [], "claims": []})
        if not self._out.as_json:
            if len(self._steps) > 1:
                self._out.line()
            self._out.line(f"{len(self._steps)}. {title}", "title")

    def say(self, text: str) -> None:
        """One line of the current step."""
        self._steps[-1]["lines"].append(text)
        if not self._out.as_json:
            self._out.line(f"   {text}")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table of the current step."""
        kept = [list(row) for row in rows]
        self._steps[-1]["tables"].append([dict(zip(header, row, strict=True)) for row in kept])
        if not self._out.as_json:
            self._out.table(header, kept, indent=3)

    def progress(self, description: str, total: int) -> AbstractContextManager[Bar]:
        """A bar while something of the current step takes long."""
        return self._out.progress(f"   {description}", total)

    def claim(self, text: str, holds: bool, found: object = None) -> None:
        """State something that was looked at; where it does not hold, say what was found."""
        outcome = {"claim": text, "holds": holds}
        self._steps[-1]["claims"].append(outcome if holds else outcome | {"found": str(found)})
        if not holds:
            self.failed.append(text)
        if self._out.as_json:
            return
        if holds:
            self._out.line(f"   ok  {text}", "good")
        else:
            self._out.line(f"   FAILED  {text}" + ("" if found is None else f": found {found}"), "bad")

    def end(self) -> bool:
        """Say how it went; whether every claim held."""
        claims = sum(len(step["claims"]) for step in self._steps)
        if self._out.as_json:
            self._out.json({"ok": not self.failed, "claims": claims, "failed": self.failed, "steps": self._steps})
        elif self.failed:
            self._out.line()
            self._out.line(f"{len(self.failed)} of {claims} claims FAILED", "bad")
        else:
            self._out.line()
            self._out.line(f"All {claims} claims were checked and hold.", "good")
        return not self.failed
