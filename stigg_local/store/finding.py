"""What an examination of a directory finds: single findings, and their list, which holds only so many alike."""

import os
import shlex
from typing import Any, Literal

import msgspec
from msgspec import Struct

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

# A file with a thousand damaged rows is told by the first of them and their number.
ALIKE_MAX = 10


def restoring(directory: str) -> str:
    """The command that puts a backup in the place of a directory."""
    return f"stigg-local db restore BACKUP --data-dir {shlex.quote(directory)} --replace"


def opening(directory: str) -> str:
    """The command that opens a client once and closes it, which repairs what can be."""
    return f"stigg-local status --data-dir {shlex.quote(directory)}"


def keeping_open(directory: str) -> str:
    """The command that keeps a client open until it has worked off the log, which the client of a command does not."""
    client = f"c = Stigg(data_dir={directory!r})"
    code = f"import time; from stigg_local import Stigg; {client}; time.sleep(3); c.close()"
    return f"python -c {shlex.quote(code)}"


def removing(directory: str, name: str) -> str:
    """The command that deletes a file which the next opening makes anew, and what to look to before."""
    return f"when no process uses the directory: rm {shlex.quote(os.path.join(directory, name))}"


class Finding(Struct, frozen=True, kw_only=True, rename="camel"):
    """One thing that is not as it should be.

    Attributes:
        id: The kind of finding, one word.
        severity: `error` (something is lost or cannot be used), `warning` (it will be), `note` (worth knowing).
        what: What is wrong, with the value that is.
        where: File, table and row, or setting.
        way_out: A command, or what to do.
    """

    id: str
    severity: Severity
    what: str
    where: str
    way_out: str

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return dict(msgspec.to_builtins(self))


class Findings:
    """Findings as they come in; of those alike only the first are kept, the rest is counted."""

    def __init__(self) -> None:
        self._found: list[Finding] = []
        self._counts: dict[tuple[str, str], int] = {}
        self._last: dict[tuple[str, str], Finding] = {}

    def add(self, id: str, severity: Severity, what: str, *, where: str, hint: str, of: str = "") -> None:
        """Add one; `of` is what it is counted with, beside its id."""
        finding = Finding(id=id, severity=severity, what=what, where=where, way_out=hint)
        count = self._counts[id, of] = self._counts.get((id, of), 0) + 1
        if count <= ALIKE_MAX:
            self._found.append(finding)
        self._last[id, of] = finding

    def has(self, *ids: str) -> bool:
        """Whether there is one of these kinds."""
        return any(finding.id in ids for finding in self._found)

    def listed(self) -> tuple[Finding, ...]:
        """All that are kept and one for each kind that had more: errors first, then warnings, then notes."""
        found = list(self._found)
        for (kind, of), count in self._counts.items():
            if count > ALIKE_MAX:
                last = self._last[kind, of]
                found.append(
                    Finding(
                        id=kind,
                        severity=last.severity,
                        what=f"{count - ALIKE_MAX} more like it",
                        where=of or last.where,
                        way_out=last.way_out,
                    )
                )
        return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))
