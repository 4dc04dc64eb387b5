"""A data directory from outside: permissions, owner, file system, free space, and which files lie in it."""

import os
import re
import shlex
import stat
from typing import Any

from stigg_local.store.connection import NETWORK_FILE_SYSTEMS, file_system_type
from stigg_local.store.environment import FILENAME as ENVIRONMENT
from stigg_local.store.finding import Findings
from stigg_local.store.site import DEFAULT_FILENAME

MARK, GENERATION, WRITER, LEADER = "authority.mark", "generation", "writer.lock", "leader.lock"
_DATABASE = (DEFAULT_FILENAME + suffix for suffix in ("", "-wal", "-shm", "-journal"))
KNOWN = frozenset({*_DATABASE, MARK, GENERATION, WRITER, LEADER, ENVIRONMENT})
_DRAFT = re.compile(
    r"(generation|authority\.mark)\.[0-9a-f]{10}|environment\.[0-9]+|generation\.damaged"
    r"|\.restore-[0-9a-f]{10}"
)
_QUARANTINED = re.compile(r"authority\.db\.quarantined-[0-9]+(-wal|-shm)?")
# The root of a file system of its own has it.
_LOST_AND_FOUND = "lost+found"

# A log grows to 4 MiB before it is worked off, and the database by as much again.
FREE_BYTES_MIN = 8 << 20


def examine_directory(directory: str, findings: Findings, ignore: frozenset[str]) -> dict[str, Any]:
    """Permissions, owner, file system and names.

    Args:
        directory: Its real path.
        ignore: Real paths of files that the caller knows of.

    Returns:
        Facts.
    """
    found = os.stat(directory)
    kind = file_system_type(directory)
    if kind in NETWORK_FILE_SYSTEMS:
        findings.add(
            "NetworkFileSystem",
            "error",
            f"the directory is on a network file system (`{kind}`), where a shared database loses data",
            where=directory,
            hint="move it to a local disk",
        )
    _check_mode(findings, directory, found, 0o700)
    _check_owner(findings, directory, found, None)
    _check_parents(findings, directory)
    free_bytes = _check_space(findings, directory)
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        findings.add("CannotRead", "error", f"{error.strerror}", where=directory, hint="let this user read it")
        names = []
    for name in names:
        path = os.path.join(directory, name)
        try:
            entry = os.lstat(path)
        except OSError:
            # A draft that was renamed meanwhile.
            continue
        if os.path.realpath(path) not in ignore and name != _LOST_AND_FOUND:
            _examine_entry(findings, path, name, entry, found)
    return {
        "path": directory,
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "owner": _user(found.st_uid),
        "fileSystem": kind or None,
        "freeBytes": free_bytes,
    }


def _examine_entry(findings: Findings, path: str, name: str, entry: os.stat_result, directory: os.stat_result) -> None:
    is_known = name in KNOWN
    if _QUARANTINED.fullmatch(name):
        if not name.endswith(("-wal", "-shm")):
            findings.add(
                "QuarantinedFile",
                "warning",
                "a damaged database was set aside here",
                where=path,
                hint=f"save what can be saved of it: sqlite3 {shlex.quote(path)} .recover; then move it elsewhere",
            )
    elif _DRAFT.fullmatch(name):
        findings.add("LeftOverFile", "note", "a file that a killed process left behind", where=path, hint="delete it")
    elif not is_known:
        findings.add(
            "UnknownFile",
            "warning",
            "this file does not belong to the data directory",
            where=path,
            hint="move it elsewhere: the directory is the engine's own",
        )
    elif not stat.S_ISREG(entry.st_mode):
        findings.add(
            "NotAFile", "error", "this is not a regular file", where=path, hint="put the file itself in its place"
        )
    if is_known and stat.S_ISREG(entry.st_mode):
        _check_mode(findings, path, entry, 0o600)
        _check_owner(findings, path, entry, directory)


def _check_mode(findings: Findings, path: str, found: os.stat_result, wanted: int) -> None:
    mode = stat.S_IMODE(found.st_mode)
    hint = f"chmod {wanted:o} {shlex.quote(path)}"
    if mode & 0o022:
        findings.add("WrongPermissions", "error", f"others may write it (mode {mode:04o})", where=path, hint=hint)
    elif mode & 0o077:
        findings.add("WrongPermissions", "warning", f"others may read it (mode {mode:04o})", where=path, hint=hint)
    elif mode & wanted != wanted:
        findings.add(
            "WrongPermissions", "warning", f"its owner may not use it fully (mode {mode:04o})", where=path, hint=hint
        )


def _check_owner(findings: Findings, path: str, found: os.stat_result, directory: os.stat_result | None) -> None:
    if directory is not None:
        if found.st_uid != directory.st_uid:
            findings.add(
                "WrongOwner",
                "error",
                f"it belongs to {_user(found.st_uid)}, the directory to {_user(directory.st_uid)}",
                where=path,
                hint=f"chown {_user(directory.st_uid)} {shlex.quote(path)}",
            )
    elif found.st_uid != os.geteuid():
        findings.add(
            "OtherOwner",
            "note" if os.geteuid() == 0 else "warning",
            f"it belongs to {_user(found.st_uid)}, and this is {_user(os.geteuid())}",
            where=path,
            hint="run the engine as the user to whom the directory belongs",
        )


def _check_parents(findings: Findings, directory: str) -> None:
    parent = os.path.dirname(directory)
    while True:
        try:
            found = os.stat(parent)
        except OSError:
            return
        # With the sticky bit, as /tmp has it, others cannot rename what is not theirs.
        is_open = found.st_mode & 0o002 or (found.st_mode & 0o020 and _has_others(found.st_gid, found.st_uid))
        if is_open and not found.st_mode & stat.S_ISVTX:
            findings.add(
                "WritableParent",
                "warning",
                f"others may write it (mode {stat.S_IMODE(found.st_mode):04o}) and so replace the data directory",
                where=parent,
                hint=f"chmod go-w {shlex.quote(parent)}",
            )
        if parent == os.path.dirname(parent):
            return
        parent = os.path.dirname(parent)


def _has_others(gid: int, uid: int) -> bool:
    """Whether a group has members beside root and a user: one that is a user's own lets nobody else in."""
    import grp
    import pwd

    try:
        members = set(grp.getgrgid(gid).gr_mem)
    except KeyError:
        return False
    users = {user.pw_uid: user for user in pwd.getpwall()}
    members |= {user.pw_name for user in users.values() if user.pw_gid == gid}
    return bool(members - {users[one].pw_name for one in (0, uid) if one in users})


def _check_space(findings: Findings, directory: str) -> int | None:
    """Bytes that are free for this user; None on a file system that nobody can write to."""
    found = os.statvfs(directory)
    if found.f_flag & os.ST_RDONLY:
        findings.add(
            "ReadOnlyFileSystem",
            "note",
            "the file system is read-only: questions are answered, nothing can be recorded",
            where=directory,
            hint="mount it writable where usage is to be recorded",
        )
        return None
    free_bytes = found.f_bavail * found.f_frsize
    if free_bytes < FREE_BYTES_MIN or (found.f_files and not found.f_favail):
        what = f"only {free_bytes:,} bytes are free" if free_bytes < FREE_BYTES_MIN else "no file can be made any more"
        findings.add(
            "DiskFull", "error", what, where=directory, hint="free disk space; questions are answered meanwhile"
        )
    return free_bytes


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
