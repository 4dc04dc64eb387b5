"""`doctor`: one page about the state of a data directory, with a way out for everything that is wrong."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from stigg_local.cli.options import command_clock, data_dir_option, json_option, named_directory, pass_output
from stigg_local.cli.output import Output, Tone
from stigg_local.core.period import to_text
from stigg_local.errors import InvalidInput

if TYPE_CHECKING:
    from stigg_local.doctor import Finding, Report

FINDINGS = 5

_TONES: dict[str, Tone] = {"error": "bad", "warning": "bad", "note": "dim"}


@click.command(short_help="What is wrong with a data directory.")
@click.option("--fallback-file", metavar="F", help="Look at a fallback file too.")
@click.option("--catalog", metavar="FILE", help="Compare a catalog file with what was applied.")
@data_dir_option
@json_option
@pass_output
def doctor(out: Output, *, fallback_file: str | None, catalog: str | None, data_dir: str | None) -> int:
    """Look at a data directory, in use or not, and say what is wrong with it and what to do.

    It looks at versions, permissions, owner, file system and free space, at the database's header, schema, pages and
    indexes, at the digest of every row, at counters and credits against their logs, at the write-ahead log, the files
    beside the database, who has it open and who leads, the clock, the fallback file and the catalog. It works on a
    copy in the system's temporary directory (TMPDIR) and changes nothing.

    Exit code 0: healthy; 5: something was found.

    \b
    Examples:
      stigg-local doctor --data-dir var/stigg
      stigg-local doctor --data-dir var/stigg --catalog catalog.toml --fallback-file fallback.toml
      stigg-local doctor --data-dir var/stigg --json
    """
    from stigg_local.doctor import examine

    path = named_directory(data_dir)
    if not path.is_dir():
        raise InvalidInput(f"`{path}` does not exist", hint="name the data_dir of a client")
    with out.progress("looking") as bar:
        report = examine(
            path,
            fallback_file=fallback_file,
            catalog=catalog,
            clock=command_clock(),
            progress=lambda _, done, total: bar.reach(done, total or None),
        )
    if out.as_json:
        out.json(report.to_dict())
    else:
        _show(out, report)
    return 0 if report.is_healthy else FINDINGS


def _show(out: Output, report: "Report") -> None:
    facts = report.facts
    out.line(_verdict(report), "good" if report.is_healthy else "bad")
    out.fields([(topic, text(facts[key])) for key, topic, text in _TOPICS if key in facts])
    for finding in (*report.findings, *report.notes):
        _tell(out, finding)


def _verdict(report: "Report") -> str:
    from stigg_local.store.finding import SEVERITIES

    severities = [finding.severity for finding in (*report.findings, *report.notes)]
    counts = {severity: severities.count(severity) for severity in SEVERITIES}
    told = ", ".join(f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items() if count)
    if report.is_healthy:
        return f"healthy ({told})" if told else "healthy"
    return told


def _tell(out: Output, finding: "Finding") -> None:
    out.line()
    out.line(f"{finding.severity}: {finding.id}: {finding.what}", _TONES[finding.severity])
    out.line(f"  where    {finding.where}")
    out.line(f"  way out  {finding.way_out}")


def _versions(facts: dict[str, Any]) -> str:
    return (
        f"stigg-local {facts['stiggLocal']}, Python {facts['python']}, SQLite {facts['sqlite']}, apsw {facts['apsw']}"
    )


def _directory(facts: dict[str, Any]) -> str:
    kind = f", {facts['fileSystem']}" if facts["fileSystem"] else ""
    free = "read-only" if facts["freeBytes"] is None else f"{facts['freeBytes'] >> 20:,} MiB free"
    return f"{facts['path']} (mode {facts['mode']}, owner {facts['owner']}{kind}, {free})"


def _database(facts: dict[str, Any]) -> str:
    size = f"{facts['bytes']:,} bytes, write-ahead log {facts['walBytes']:,}"
    if facts["seq"] is None:
        return size
    return (
        f"{size}, schema {facts['schemaVersion']}, version {facts['epoch']}:{facts['seq']}, `{facts['environment']}`"
    )


def _rows(facts: dict[str, Any]) -> str:
    shown = [f"{count:,} {name}" for name, count in facts["rows"].items() if count]
    return ", ".join(shown) or "none"


def _processes(facts: dict[str, Any]) -> str:
    if not facts["open"]:
        return "none has the database open"
    count = len(facts["pids"])
    who = f" in {count} process{'es' if count > 1 else ''}" if count else ""
    pid = f"process {facts['leaderPid']}" if facts["leaderPid"] else "one process"
    return f"the database is open{who}, {pid if facts['leader'] else 'none'} leads"


def _generation(facts: dict[str, Any]) -> str:
    if facts["seq"] is None:
        return "none: the next opening makes it"
    in_flight = f", {facts['inFlight']:,} slots in flight" if facts["inFlight"] else ""
    return f"up to transaction {max(facts['seq'], facts['markSeq'] or 0)}{in_flight}"


def _outbox(_: dict[str, Any]) -> str:
    return "none: usage is recorded here"


def _clock(facts: dict[str, Any]) -> str:
    mark = facts["highWaterMs"]
    stored = "nothing stored" if mark is None else f"last stored time {to_text(mark)}"
    return f"{to_text(facts['wallMs'])}, {stored}" + (", suspect" if facts["suspect"] else "")


def _fallback(facts: dict[str, Any]) -> str:
    if not facts["readable"]:
        return f"{facts['path']}: cannot be used"
    return f"{facts['path']}: readable, {facts['features']} features, {facts['credits']} credits"


def _catalog(facts: dict[str, Any]) -> str:
    if "path" in facts:
        return f"{facts['path']}: {facts.get('state', 'valid') if facts['valid'] else 'has mistakes'}"
    return f"`{facts['name']}` applied {to_text(facts['appliedMs'])}"


_TOPICS: tuple[tuple[str, str, Callable[[dict[str, Any]], str]], ...] = (
    ("versions", "versions", _versions),
    ("directory", "directory", _directory),
    ("database", "database", _database),
    ("database", "rows", _rows),
    ("generation", "generation", _generation),
    ("processes", "processes", _processes),
    ("outbox", "outbox", _outbox),
    ("clock", "clock", _clock),
    ("catalog", "catalog", _catalog),
    ("fallbackFile", "fallback file", _fallback),
)
