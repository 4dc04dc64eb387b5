"""The text of the schema, and how a file is brought to it.

Laws: every table is STRICT with NOT NULL columns, keys start with the environment; the DDL is ours, and
sqlite-utils only runs and records it. A file of a newer program or of another program is never altered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stigg_local.errors import SchemaTooNew, StoreCorrupt, StoreError

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

APPLICATION_ID = 0x53744C31
USER_VERSION = 1

OBJECTS_V1: dict[str, str] = {
    "meta": """CREATE TABLE meta (
        key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, digest BLOB NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "sequence": """CREATE TABLE sequence (
        environment TEXT NOT NULL PRIMARY KEY, seq INTEGER NOT NULL, high_water_ms INTEGER NOT NULL,
        digest BLOB NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "catalog_item": """CREATE TABLE catalog_item (
        environment TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
        seq INTEGER NOT NULL, body TEXT NOT NULL, digest BLOB NOT NULL,
        PRIMARY KEY (environment, kind, id, version)
    ) STRICT, WITHOUT ROWID""",
    "catalog_file": """CREATE TABLE catalog_file (
        environment TEXT NOT NULL, hash TEXT NOT NULL, applied_ms INTEGER NOT NULL, seq INTEGER NOT NULL,
        name TEXT NOT NULL, digest BLOB NOT NULL,
        PRIMARY KEY (environment, hash)
    ) STRICT, WITHOUT ROWID""",
    "catalog_root": """CREATE TABLE catalog_root (
        environment TEXT NOT NULL PRIMARY KEY, root INTEGER NOT NULL, seq INTEGER NOT NULL,
        digest BLOB NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "customer": """CREATE TABLE customer (
        environment TEXT NOT NULL, slot INTEGER NOT NULL, customer_id TEXT NOT NULL, seq INTEGER NOT NULL,
        snapshot BLOB NOT NULL, numbers BLOB NOT NULL, log BLOB NOT NULL, digest BLOB NOT NULL,
        PRIMARY KEY (environment, slot, customer_id)
    ) STRICT, WITHOUT ROWID""",
    "customer_by_seq": "CREATE INDEX customer_by_seq ON customer (environment, seq)",
    "customer_slot": """CREATE TABLE customer_slot (
        environment TEXT NOT NULL, slot INTEGER NOT NULL, count INTEGER NOT NULL, root BLOB NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (environment, slot)
    ) STRICT, WITHOUT ROWID""",
    "customer_record": """CREATE TABLE customer_record (
        environment TEXT NOT NULL, customer_id TEXT NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (environment, customer_id)
    ) STRICT, WITHOUT ROWID""",
    "usage_counter": """CREATE TABLE usage_counter (
        environment TEXT NOT NULL, customer_id TEXT NOT NULL, resource_id TEXT NOT NULL,
        feature_id TEXT NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, value INTEGER NOT NULL,
        seq INTEGER NOT NULL, digest BLOB NOT NULL,
        PRIMARY KEY (environment, customer_id, resource_id, feature_id, from_ms, to_ms)
    ) STRICT, WITHOUT ROWID""",
    "credit_grant": """CREATE TABLE credit_grant (
        environment TEXT NOT NULL, customer_id TEXT NOT NULL, grant_id TEXT NOT NULL, seq INTEGER NOT NULL,
        body BLOB NOT NULL, digest BLOB NOT NULL,
        PRIMARY KEY (environment, customer_id, grant_id)
    ) STRICT, WITHOUT ROWID""",
    "measurement": """CREATE TABLE measurement (
        environment TEXT NOT NULL, customer_id TEXT NOT NULL, resource_id TEXT NOT NULL,
        feature_id TEXT NOT NULL, seq INTEGER NOT NULL, ord INTEGER NOT NULL, measurement_id TEXT NOT NULL,
        behavior TEXT NOT NULL, value INTEGER NOT NULL, created_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL,
        body BLOB NOT NULL, digest BLOB NOT NULL,
        PRIMARY KEY (environment, customer_id, resource_id, feature_id, seq, ord)
    ) STRICT, WITHOUT ROWID""",
    "ledger": """CREATE TABLE ledger (
        environment TEXT NOT NULL, customer_id TEXT NOT NULL, seq INTEGER NOT NULL, ord INTEGER NOT NULL,
        body BLOB NOT NULL, digest BLOB NOT NULL,
        PRIMARY KEY (environment, customer_id, seq, ord)
    ) STRICT, WITHOUT ROWID""",
    "idempotency": """CREATE TABLE idempotency (
        environment TEXT NOT NULL, operation TEXT NOT NULL, key TEXT NOT NULL, customer_id TEXT NOT NULL,
        fingerprint BLOB NOT NULL, reply BLOB NOT NULL, at_ms INTEGER NOT NULL, digest BLOB NOT NULL,
        PRIMARY KEY (environment, operation, key)
    ) STRICT, WITHOUT ROWID""",
    "idempotency_by_time": "CREATE INDEX idempotency_by_time ON idempotency (environment, at_ms)",
    "subscription_owner": """CREATE TABLE subscription_owner (
        environment TEXT NOT NULL, subscription_id TEXT NOT NULL, customer_id TEXT NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (environment, subscription_id)
    ) STRICT, WITHOUT ROWID""",
}

CURRENT = OBJECTS_V1
# Made by sqlite-utils before the first migration runs; a killed process leaves it alone in the file.
RECORD_TABLE = "_sqlite_migrations"


def is_current(connection: apsw.Connection, path: str) -> bool:
    """Whether the file has the current schema; False for an empty file that may be filled.

    Raises:
        StoreError: Another program's file.
        SchemaTooNew: A newer version of this package wrote it.
        StoreCorrupt: The schema's text is not ours although the file says so.
    """
    with connection:
        # One state of the file: another process may be making the schema right now.
        application_id = connection.pragma("application_id")
        version = connection.pragma("user_version")
        try:
            rows: list[Any] = connection.execute("SELECT name, tbl_name, sql FROM sqlite_schema").fetchall()
        except UnicodeDecodeError as error:
            raise StoreCorrupt(f"the schema of `{path}` is damaged", hint="restore the file") from error
    assert isinstance(application_id, int)
    assert isinstance(version, int)
    found = {name: text for name, _, text in rows}
    if application_id == 0 and version == 0 and all(table == RECORD_TABLE for _, table, _ in rows):
        return False
    if application_id != APPLICATION_ID:
        raise StoreError(
            f"`{path}` belongs to another program (application id {application_id:#x})",
            hint="give another data_dir, or move the file away",
        )
    if version > USER_VERSION:
        raise SchemaTooNew(
            f"`{path}` has schema version {version}, this program knows {USER_VERSION}",
            hint="upgrade this program, or give another data_dir",
        )
    for name, text in CURRENT.items():
        if found.get(name) != text:
            raise StoreCorrupt(
                f"`{path}` does not have the schema it claims: `{name}` differs",
                hint="restore the file from a backup",
            )
    if version < 1:
        raise StoreCorrupt(f"`{path}` has no schema version", hint="restore the file from a backup")
    return version == USER_VERSION
