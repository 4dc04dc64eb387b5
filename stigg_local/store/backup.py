"""Backups: one verified file with one committed state of a directory, made while others write.

Laws: what was acknowledged before it began is in it; it comes into its place whole, synced and verified, or not at
all; it never takes the place of another file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from stigg_local.clock import Clock, SystemClock, new_short_id, wall_ms
from stigg_local.core.period import to_text
from stigg_local.errors import InvalidInput, StorageFull, StoreCorrupt, StoreError
from stigg_local.store.connection import check_version, connect, create_file, store_error
from stigg_local.store.digest import SEQUENCE, row_digest
from stigg_local.store.environment import remember_environment, stored_environment
from stigg_local.store.examine_logs import examine_logs
from stigg_local.store.examine_rows import Progress, Rows
from stigg_local.store.finding import Finding, Findings
from stigg_local.store.manifest import Manifest, seal
from stigg_local.store.schema import schema_version
from stigg_local.store.sequence import read_meta, read_position
from stigg_local.store.site import DEFAULT_FILENAME

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

# 4 MiB between two looks at how far it is.
STEP_PAGES = 1024

# The header's two bytes that say which versions of the format may write and read the file.
_JOURNAL_AT = 18
_ROLLBACK, WAL = b"\x01\x01", b"\x02\x02"

_DRAFT = re.compile(r"\..+\.[0-9a-f]{10}\.draft(-wal|-shm|-journal)?")


def quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody looks."""


class Examined(NamedTuple):
    """What a database holds and what is damaged in it; `environment` is empty where nothing tells it."""

    environment: str
    file_id: str
    epoch: int
    seq: int
    schema_version: int
    rows: dict[str, int]
    findings: tuple[Finding, ...]


class Backup(NamedTuple):
    """A backup that was made: its file, what it holds, and what is damaged in it."""

    path: str
    manifest: Manifest
    findings: tuple[Finding, ...]


def backup(
    data_dir: str,
    target: str,
    *,
    clock: Clock | None = None,
    progress: Progress = quiet,
    damaged_too: bool = False,
) -> Backup:
    """Write a consistent, verified copy of a directory into one file, also while it is written to.

    Args:
        data_dir: A directory that holds a database.
        target: The file to make; in a directory, it is named after environment and time. A name with a slash at its
            end is a directory, which is made where it is not there.
        clock: What the time in it is from.
        progress: Told how far it is.
        damaged_too: Keep a copy in which something is damaged; its findings say where.

    Raises:
        InvalidInput: There is such a file, or no such directory.
        StoreCorrupt: The original is damaged; nothing was made.
        StoreError: The original cannot be read, or there is no room for the copy (`StorageFull`).
    """
    source = os.path.join(data_dir, DEFAULT_FILENAME)
    if not os.path.isfile(source) or os.path.getsize(source) == 0:
        raise InvalidInput(f"`{data_dir}` holds no database", hint="name the directory that the engine writes to")
    made_ms = wall_ms(clock or SystemClock())
    _make_directory(target, data_dir)
    if os.path.isdir(target):
        environment = stored_environment(data_dir) or "environment"
        time = str(to_text(made_ms)).replace(":", "").replace(".", "-")
        target = os.path.join(target, f"{_fit_for_a_name(environment)}-{time}.backup")
    directory = os.path.dirname(os.path.abspath(target))
    if not os.path.isdir(directory):
        raise InvalidInput(f"`{directory}` is not a directory", hint="make it first")
    if os.path.lexists(target):
        raise _is_there(target)
    _check_elsewhere(target, data_dir)
    with draft_of(target) as draft:
        _copy(source, draft, progress)
        found = examine(draft, progress, hint="stigg-local doctor says what to do")
        if found.findings and not damaged_too:
            raise damaged(
                data_dir, found.findings, "`stigg-local doctor` tells all of it; --damaged-too keeps a copy as it is"
            )
        manifest = Manifest(
            environment=found.environment,
            file_id=found.file_id,
            epoch=found.epoch,
            seq=found.seq,
            made_ms=made_ms,
            schema_version=found.schema_version,
            database_bytes=os.path.getsize(draft),
            rows=found.rows,
            damage=tuple(f"{finding.what} ({finding.where})" for finding in found.findings),
        )
        progress("sealing", 0, 0)
        seal(draft, manifest)
        put(draft, target)
    return Backup(target, manifest, found.findings)


def private_copy(data_dir: str, target_dir: str, *, progress: Progress = quiet) -> str:
    """Make `target_dir` a directory of the same state, for trying something out; nothing of it is verified.

    Returns:
        The path of its database.

    Raises:
        StoreError: The original cannot be read, or there is no room for the copy.
    """
    environment = stored_environment(data_dir)
    target = os.path.join(target_dir, DEFAULT_FILENAME)
    with disk_errors(target_dir):
        create_file(target)
    _copy(os.path.join(data_dir, DEFAULT_FILENAME), target, progress)
    set_journal(target, WAL)
    if environment is not None:
        remember_environment(target_dir, environment)
    return target


def _make_directory(target: str, data_dir: str) -> None:
    """Make the directory that a name with a slash at its end asks for; only the last one, for the owner only."""
    if not target:
        raise InvalidInput("the name of the backup is empty", hint="name a file or a directory")
    if not target.endswith(os.sep) or os.path.isdir(target):
        return
    _check_elsewhere(target, data_dir)
    try:
        os.mkdir(target, 0o700)
    except FileExistsError as error:
        raise _is_there(target.rstrip(os.sep)) from error
    except FileNotFoundError as error:
        above = os.path.dirname(os.path.abspath(target))
        raise InvalidInput(f"`{above}` is not a directory", hint="make it first") from error
    except OSError as error:
        raise StoreError(f"`{target}` cannot be made: {error.strerror}", hint="check its mode and disk") from error


def _check_elsewhere(target: str, data_dir: str) -> None:
    parent, own = os.path.dirname(os.path.realpath(target)), os.path.realpath(data_dir)
    if os.path.commonpath((parent, own)) == own:
        raise InvalidInput(f"`{target}` would lie in the data directory itself", hint="keep backups elsewhere")


# Copying and looking -----------------------------------------------------------------------------------------------


def _copy(source: str, target: str, progress: Progress) -> None:
    """Copy one committed state; SQLite's own locks and log are used, so nobody is stopped or seen half."""
    check_version(apsw.sqlite_lib_version())
    try:
        original = connect(source, readonly=True)
    except apsw.Error as error:
        raise store_error(error, source) from error
    try:
        copy = apsw.Connection(target, flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            # The draft is synced once, as a whole, and is nothing before that.
            copy.pragma("synchronous", "off")
            copy.pragma("journal_mode", "off")
            # One transaction around all steps: otherwise each commit of others would start the copy anew.
            original.execute("BEGIN")
            original.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            with copy.backup("main", original, "main") as running:
                while not running.done:
                    running.step(STEP_PAGES)
                    progress("copying", running.page_count - running.remaining, running.page_count)
            original.execute("ROLLBACK")
        finally:
            copy.close(True)
    except apsw.Error as error:
        raise store_error(error, target if _is_of_writing(error) else source) from error
    finally:
        original.close(True)
    # One file without a log beside it, that any reader opens wherever it lies.
    set_journal(target, _ROLLBACK)


def _is_of_writing(error: apsw.Error) -> bool:
    kinds = (apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_TRUNCATE, apsw.SQLITE_FULL)
    return getattr(error, "extendedresult", 0) in kinds


def set_journal(path: str, kind: bytes) -> None:
    """Say in the header of a database that nobody has open how commits are logged; SQLite would make files for it."""
    with disk_errors(path), open(path, "r+b") as file:
        file.seek(_JOURNAL_AT)
        file.write(kind)


def examine(path: str, progress: Progress, *, hint: str) -> Examined:
    """Look at every page, at every digest and at every log of a database that nobody writes to.

    Args:
        path: Its file.
        progress: Told how far it is.
        hint: The way out of a file that cannot even be opened.

    Raises:
        StoreError: It cannot be opened, it is another program's, or a newer version's.
    """
    findings = Findings()
    try:
        connection = connect(path, readonly=True)
        try:

            def run(statement: str, bindings: tuple[Any, ...]) -> list[Any]:
                return connection.execute(statement, bindings).fetchall()

            version = schema_version(connection, path)
            if version == 0:
                raise StoreCorrupt(f"`{path}` holds no tables", hint=hint)
            progress("checking pages", 0, 0)
            for row in run("PRAGMA integrity_check(10)", ()):
                if row != ("ok",):
                    findings.add("DatabaseDamaged", "error", str(row[0]), where="SQLite", hint=hint)
            rows = Rows(connection, findings, progress)
            rows.run()
            examine_logs(connection, findings, rows.damaged, rows.counts, progress)
            meta, position = read_meta(run), read_position(run)
            environment = _environment(run)
        finally:
            connection.close(True)
    except UnicodeDecodeError as error:
        raise StoreCorrupt(f"the schema of `{path}` is damaged", hint=hint) from error
    except apsw.Error as error:
        raise store_error(error, path) from error
    if environment is None or position is None:
        findings.add("SequenceDamaged", "error", "it does not tell whose it is", where="sequence", hint=hint)
    epoch = meta.get("epoch", "")
    return Examined(
        environment or "",
        meta.get("file_id", ""),
        int(epoch) if epoch.isdecimal() else 0,
        0 if position is None else position.seq,
        version,
        rows.counts,
        tuple(finding for finding in findings.listed() if finding.severity == "error"),
    )


def _environment(run: Callable[[str, tuple[Any, ...]], list[Any]]) -> str | None:
    statement = "SELECT CAST(environment AS BLOB), seq, high_water_ms, digest FROM sequence ORDER BY seq DESC"
    for stored, seq, high_water_ms, digest in run(statement, ()):
        name = bytes(stored).decode(errors="replace")
        if digest == row_digest(name, "", (SEQUENCE, seq, high_water_ms)):
            return name
    return None


def damaged(what: str, findings: tuple[Finding, ...], hint: str) -> StoreCorrupt:
    """The exception about something in which there are findings."""
    first = findings[0]
    more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
    return StoreCorrupt(f"`{what}` is damaged: {first.what} ({first.where}){more}", hint=hint)


# Files -------------------------------------------------------------------------------------------------------------


@contextmanager
def draft_of(target: str) -> Iterator[str]:
    """A file for the owner only beside the one that it will become; what is left of it goes, however it ends."""
    directory, name = os.path.split(os.path.abspath(target))
    draft = os.path.join(directory, f".{name}.{new_short_id()}.draft")
    with disk_errors(directory):
        _sweep(directory)
        # Held locked for as long as it is worked on: a killed process lets go of it.
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield draft
        finally:
            for suffix in ("", "-wal", "-shm", "-journal"):
                with suppress(OSError):
                    os.unlink(draft + suffix)
            os.close(descriptor)


@contextmanager
def disk_errors(where: str) -> Iterator[None]:
    """Tell what the system says about a file as what it means for the caller."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise no_room(where) from error
        raise StoreError(
            f"`{where}` cannot be written to: {error.strerror}", hint="check its mode and disk"
        ) from error


def no_room(where: str) -> StorageFull:
    """The exception about a full disk."""
    return StorageFull(f"no room left for `{where}`", hint="free disk space, or name another disk")


def _sweep(directory: str) -> None:
    """Remove the drafts of processes that were killed."""
    for name in os.listdir(directory):
        if not _DRAFT.fullmatch(name):
            continue
        path = os.path.join(directory, name)
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                # An empty one may have been made in this instant; it costs nothing.
                if os.fstat(descriptor).st_size > 0:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(path)
            finally:
                os.close(descriptor)


def put(draft: str, target: str) -> None:
    """Give a synced draft its name, unless the name was taken meanwhile."""
    try:
        # Unlike a rename, it does not take the place of a file that is there.
        os.link(draft, target)
    except FileExistsError as error:
        raise _is_there(target) from error
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        # A file system without second names, as memory sticks have.
        if os.path.lexists(target):
            raise _is_there(target) from error
        os.rename(draft, target)
    sync(os.path.dirname(os.path.abspath(target)))


def sync(path: str) -> None:
    """Bring a file or the names in a directory to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_there(target: str) -> InvalidInput:
    return InvalidInput(f"`{target}` is there already", hint="name another file, or a directory for files by time")


def _fit_for_a_name(text: str) -> str:
    fit = "".join(character if character.isalnum() or character in "-_." else "-" for character in text)
    return fit.lstrip(".")[:80]
