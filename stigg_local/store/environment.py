"""Which environment a directory belongs to: one line in a file beside the database, readable when that is not.

Law: the name stands beside its digest, because a name with one wrong letter would be another environment, in which
no customer exists.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from stigg_local.errors import StoreError
from stigg_local.store.connection import connect, prepare_directory
from stigg_local.store.digest import META, SEQUENCE, row_digest
from stigg_local.store.site import DEFAULT_FILENAME

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

FILENAME = "environment"
_LENGTH_MAX = 1024
_ENVIRONMENTS = "SELECT CAST(environment AS BLOB), seq, high_water_ms, digest FROM sequence ORDER BY seq DESC"


def stored_environment(data_dir: str) -> str | None:
    """The environment of a directory; None for one that holds nothing yet.

    Raises:
        StoreError: The file is there and cannot be read, or is damaged and the database does not tell either.
    """
    path = os.path.join(data_dir, FILENAME)
    try:
        with open(path, "rb") as file:
            line = file.read(_LENGTH_MAX)
    except FileNotFoundError:
        return _from_database(os.path.join(data_dir, DEFAULT_FILENAME))
    except OSError as error:
        raise StoreError(f"`{path}` cannot be read: {error.strerror}", hint="check data_dir") from error
    name = line.decode(errors="replace").rpartition(" ")[0]
    if line == _line(name):
        return name
    found = _from_database(os.path.join(data_dir, DEFAULT_FILENAME))
    if found is None:
        raise StoreError(f"`{path}` is damaged", hint="delete it, and pass environment= once")
    return found


def remember_environment(data_dir: str, environment: str) -> None:
    """Write the environment down where it is not yet; whoever is first has the say."""
    path = os.path.join(prepare_directory(data_dir), FILENAME)
    if os.path.exists(path):
        return
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(_line(environment))
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreError(f"`{path}` cannot be written: {error}", hint="make data_dir writable") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _line(environment: str) -> bytes:
    digest = row_digest("", environment, (META, FILENAME))
    return f"{environment} {digest.hex()}\n".encode()


def _from_database(path: str) -> str | None:
    if not os.path.exists(path) or os.path.getsize(path) == 0:
        return None
    try:
        connection = connect(path, readonly=True)
        try:
            rows: list[Any] = connection.execute(_ENVIRONMENTS).fetchall()
        finally:
            connection.close()
    except apsw.Error:
        # Whether it is ours and whole is for the store to find out.
        return None
    for stored, seq, high_water_ms, digest in rows:
        # As bytes, because a damaged letter may be none at all.
        environment = bytes(stored).decode(errors="replace")
        if digest == row_digest(environment, "", (SEQUENCE, seq, high_water_ms)):
            return environment
    return None
