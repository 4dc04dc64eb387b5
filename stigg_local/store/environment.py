"""Which environment a directory belongs to: one line in a file beside the database, readable when that is not."""

import os
from pathlib import Path

import apsw

from stigg_local.errors import StoreError
from stigg_local.store.connection import connect, prepare_directory
from stigg_local.store.site import DEFAULT_FILENAME

FILENAME = "environment"
_LENGTH_MAX = 1024


def stored_environment(data_dir: Path) -> str | None:
    """The environment of a directory; None for one that holds nothing yet.

    Raises:
        StoreError: The file is there and cannot be read.
    """
    try:
        with open(data_dir / FILENAME, "rb") as file:
            return file.read(_LENGTH_MAX).decode().strip() or None
    except FileNotFoundError:
        return _from_database(data_dir / DEFAULT_FILENAME)
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"`{data_dir / FILENAME}` cannot be read: {error}", hint="check data_dir") from error


def remember_environment(data_dir: Path, environment: str) -> None:
    """Write the environment down where it is not yet; whoever is first has the say."""
    path = prepare_directory(data_dir) / FILENAME
    if path.exists():
        return
    temporary = path.with_name(f"{FILENAME}.{os.getpid()}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(environment + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreError(f"`{path}` cannot be written: {error}", hint="make data_dir writable") from error
    finally:
        temporary.unlink(missing_ok=True)


def _from_database(path: Path) -> str | None:
    if not path.exists() or path.stat().st_size == 0:
        return None
    try:
        connection = connect(str(path), readonly=True)
        try:
            row = connection.execute("SELECT environment FROM sequence ORDER BY seq DESC LIMIT 1").fetchone()
        finally:
            connection.close()
    except apsw.Error:
        # Whether it is ours and whole is for the store to find out.
        return None
    return None if row is None else str(row[0])
