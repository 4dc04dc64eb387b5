"""The state of a data directory and of the files that go with it, as findings with a way out each.

Law: it changes nothing in the directory, however broken that is, and is safe beside clients of the same process.
"""

import os
import shlex
import stat
import sys
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

import stigg_local.authority.catalog_file as catalog_file
from stigg_local.clock import Clock, SystemClock
from stigg_local.errors import CatalogInvalid, FallbackFileError, InvalidInput, StiggError
from stigg_local.store.examine import Applied, examine_store
from stigg_local.store.finding import Finding, Findings

Path = str | os.PathLike[str]

__all__ = ["Finding", "Report", "examine"]


class Report(Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        findings: Errors, then warnings; empty for a healthy directory.
        notes: What is worth knowing and no illness, in the same form.
        facts: What was seen, by topic: versions, directory, database, generation, processes, outbox, clock,
            fallbackFile, catalog.
    """

    findings: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    facts: dict[str, dict[str, Any]]

    @property
    def is_healthy(self) -> bool:
        """True without findings."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return {
            "healthy": self.is_healthy,
            "findings": [finding.to_dict() for finding in self.findings],
            "notes": [note.to_dict() for note in self.notes],
            "facts": msgspec.to_builtins(self.facts),
        }

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return msgspec.json.encode(self.to_dict()).decode()


def examine(
    data_dir: Path,
    *,
    fallback_file: Path | None = None,
    catalog: Path | None = None,
    clock: Clock | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Look at a data directory, in use or not, and say what is wrong with it.

    The database is copied first, to the system's temporary directory, and looked into there.

    Args:
        data_dir: The directory of a client.
        fallback_file: A fallback file to look at too.
        catalog: A catalog file to compare with what was applied.
        clock: Compared with the stored time; default: the machine's.
        progress: Called now and then with what is looked at, how much is done and how much there is (0: unknown).

    Raises:
        InvalidInput: `data_dir` is no directory.
        StoreError: There is no room for the copy, or no process to make it.
    """
    directory = os.fspath(data_dir)
    if not os.path.isdir(directory):
        raise InvalidInput(f"`{directory}` is not a directory", hint="name the data_dir of a client")
    named = frozenset(os.path.realpath(path) for path in (fallback_file, catalog) if path is not None)
    examined = examine_store(directory, clock=clock or SystemClock(), progress=progress or _silent, ignore=named)
    # Through the module that is loaded anyway: no part of the client imports the package's front.
    version = str(vars(sys.modules["stigg_local"])["__version__"])
    facts = {"versions": {"stiggLocal": version} | examined.facts["versions"]}
    facts |= {name: values for name, values in examined.facts.items() if name != "versions"}
    findings = Findings()
    if fallback_file is not None:
        facts["fallbackFile"] = _fallback_file(fallback_file, findings)
    if catalog is not None:
        facts["catalog"] = _catalog(catalog, directory, examined.applied, examined.environment, findings)
    elif examined.applied:
        facts["catalog"] = _facts_of(examined.applied[-1])
    found = (*examined.findings, *findings.listed())
    return Report(
        findings=tuple(one for severity in ("error", "warning") for one in found if one.severity == severity),
        notes=tuple(one for one in found if one.severity == "note"),
        facts=facts,
    )


def _silent(what: str, done: int, total: int) -> None:
    """Nobody wants to know how far it is."""


def _fallback_file(path: Path, findings: Findings) -> dict[str, Any]:
    from stigg_local.edge.fallback_reader import read_fallback_file

    where = os.fspath(path)
    try:
        read = read_fallback_file(path)
    except FallbackFileError as error:
        findings.add(
            "FallbackFileError",
            "error",
            error.message,
            where=where,
            hint=error.hint or "correct the file; a running client keeps the last good values meanwhile",
        )
        return {"path": where, "readable": False}
    mode = stat.S_IMODE(os.stat(path).st_mode)
    way_out = f"chmod u+r,o-w {shlex.quote(where)}"
    if not mode & stat.S_IRUSR:
        # The superuser reads it all the same; whoever runs the engine does not.
        what = f"its owner may not read it (mode {mode:04o})"
        findings.add("WrongPermissions", "error", what, where=where, hint=way_out)
    if mode & stat.S_IWOTH:
        what = f"everybody may write it (mode {mode:04o}), and it says who has access"
        findings.add("WrongPermissions", "warning", what, where=where, hint=way_out)
    return {
        "path": where,
        "readable": bool(mode & stat.S_IRUSR),
        "features": len(read.features),
        "credits": len(read.credits),
    }


def _facts_of(applied: Applied) -> dict[str, Any]:
    return {"name": applied.name, "hash": applied.hash[:12], "appliedMs": applied.applied_ms}


def _catalog(
    path: Path, directory: str, applied: tuple[Applied, ...] | None, environment: str | None, findings: Findings
) -> dict[str, Any]:
    where = os.fspath(path)
    apply = f"stigg-local catalog apply {shlex.quote(where)} --data-dir {shlex.quote(directory)}"
    try:
        loaded = catalog_file.load(path)
    except CatalogInvalid as error:
        for problem in error.problems:
            findings.add(
                "CatalogInvalid",
                "error",
                str(problem),
                where=where,
                hint=f"correct it: stigg-local catalog validate {shlex.quote(where)} shows every mistake",
            )
        return {"path": where, "valid": False}
    except StiggError as error:
        findings.add("CatalogInvalid", "error", error.message, where=where, hint=error.hint or "correct the path")
        return {"path": where, "valid": False}
    facts: dict[str, Any] = {"path": where, "valid": True, "hash": loaded.hash[:12]}
    if environment is not None and loaded.catalog.environment not in ("", environment):
        findings.add(
            "AnotherEnvironment",
            "error",
            f"the catalog is of the environment `{loaded.catalog.environment}`, the directory of `{environment}`",
            where=where,
            hint="name the catalog or the directory that belongs to the other",
        )
        return facts
    if applied is None:
        return facts
    mine = [file for file in applied if file.environment == environment]
    facts["state"] = "applied"
    if all(file.hash != loaded.hash for file in mine):
        facts["state"] = "not applied"
        findings.add(
            "CatalogNotApplied",
            "warning",
            "this content was never applied to the directory",
            where=where,
            hint=apply,
        )
    elif mine[-1].hash != loaded.hash:
        facts["state"] = "older"
        findings.add(
            "CatalogOlder",
            "warning",
            f"a newer catalog (`{mine[-1].name}`) was applied since; this one is ignored when a client names it",
            where=where,
            hint=f"name the newer file, or go back on purpose: {apply}",
        )
    return facts
