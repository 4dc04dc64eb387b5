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
USER_VERSION = 3

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

# What version 2 adds; the files of version 1 keep all their rows as they are.
ADDED_V2: dict[str, str] = {
    "due": """CREATE TABLE due (
        environment TEXT NOT NULL, customer_id TEXT NOT NULL, due_ms INTEGER NOT NULL, seq INTEGER NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (environment, customer_id)
    ) STRICT, WITHOUT ROWID""",
    "due_by_time": "CREATE INDEX due_by_time ON due (environment, due_ms)",
    "audit": """CREATE TABLE audit (
        environment TEXT NOT NULL, seq INTEGER NOT NULL, ord INTEGER NOT NULL, customer_id TEXT NOT NULL,
        type TEXT NOT NULL, at_ms INTEGER NOT NULL, actor TEXT NOT NULL, body BLOB NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (environment, seq, ord)
    ) STRICT, WITHOUT ROWID""",
    "audit_by_customer": "CREATE INDEX audit_by_customer ON audit (environment, customer_id)",
    "audit_root": """CREATE TABLE audit_root (
        environment TEXT NOT NULL PRIMARY KEY, count INTEGER NOT NULL, root BLOB NOT NULL, seq INTEGER NOT NULL,
        digest BLOB NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "checkout": """CREATE TABLE checkout (
        environment TEXT NOT NULL, checkout_id TEXT NOT NULL, customer_id TEXT NOT NULL, at_ms INTEGER NOT NULL,
        seq INTEGER NOT NULL, body BLOB NOT NULL, digest BLOB NOT NULL,
        PRIMARY KEY (environment, checkout_id)
    ) STRICT, WITHOUT ROWID""",
    "checkout_by_customer": "CREATE INDEX checkout_by_customer ON checkout (environment, customer_id)",
    # For scrubbing one customer's replies. Those about usage name nobody, and would cost every report a page.
    "idempotency_by_customer": (
        "CREATE INDEX idempotency_by_customer ON idempotency (environment, customer_id)"
        " WHERE operation <> 'reportUsage' AND operation <> 'consume' AND operation <> 'settle'"
        " AND operation <> 'release'"
    ),
    "hold": """CREATE TABLE hold (
        environment TEXT NOT NULL, customer_id TEXT NOT NULL, hold_id TEXT NOT NULL, expire_ms INTEGER NOT NULL,
        seq INTEGER NOT NULL, body BLOB NOT NULL, digest BLOB NOT NULL,
        PRIMARY KEY (environment, customer_id, hold_id)
    ) STRICT, WITHOUT ROWID""",
    "hold_by_end": "CREATE INDEX hold_by_end ON hold (environment, expire_ms)",
    "credit_grant_by_id": "CREATE INDEX credit_grant_by_id ON credit_grant (environment, grant_id)",
    # Raw events in the order of their own time, so that a window is one range of them; -1: what a compaction folded.
    "usage_event": """CREATE TABLE usage_event (
        environment TEXT NOT NULL, customer_id TEXT NOT NULL, resource_id TEXT NOT NULL,
        created_ms INTEGER NOT NULL, seq INTEGER NOT NULL, ord INTEGER NOT NULL, event_name TEXT NOT NULL,
        idempotency_key TEXT NOT NULL, at_ms INTEGER NOT NULL, body BLOB NOT NULL, digest BLOB NOT NULL,
        PRIMARY KEY (environment, customer_id, resource_id, created_ms, seq, ord)
    ) STRICT, WITHOUT ROWID""",
    "usage_event_key": """CREATE TABLE usage_event_key (
        environment TEXT NOT NULL, customer_id TEXT NOT NULL, hash BLOB NOT NULL, created_ms INTEGER NOT NULL,
        PRIMARY KEY (environment, customer_id, hash, created_ms)
    ) STRICT, WITHOUT ROWID""",
    "meter_value": """CREATE TABLE meter_value (
        environment TEXT NOT NULL, customer_id TEXT NOT NULL, resource_id TEXT NOT NULL,
        feature_id TEXT NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, number INTEGER NOT NULL,
        meter BLOB NOT NULL, count INTEGER NOT NULL, total TEXT NOT NULL, members BLOB NOT NULL,
        seq INTEGER NOT NULL, digest BLOB NOT NULL,
        PRIMARY KEY (environment, customer_id, resource_id, feature_id, from_ms, to_ms)
    ) STRICT, WITHOUT ROWID""",
    "meter_member": """CREATE TABLE meter_member (
        environment TEXT NOT NULL, customer_id TEXT NOT NULL, number INTEGER NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (environment, customer_id, number, value)
    ) STRICT, WITHOUT ROWID""",
    "usage_threshold": """CREATE TABLE usage_threshold (
        environment TEXT NOT NULL, customer_id TEXT NOT NULL, resource_id TEXT NOT NULL,
        feature_id TEXT NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, percent INTEGER NOT NULL,
        seq INTEGER NOT NULL, digest BLOB NOT NULL,
        PRIMARY KEY (environment, customer_id, resource_id, feature_id, from_ms, to_ms)
    ) STRICT, WITHOUT ROWID""",
}

# What version 3 adds: measurements of one feature that were stored together, in one row with one digest.
ADDED_V3: dict[str, str] = {
    "measurement_pack": """CREATE TABLE measurement_pack (
        environment TEXT NOT NULL, customer_id TEXT NOT NULL, resource_id TEXT NOT NULL,
        feature_id TEXT NOT NULL, seq INTEGER NOT NULL, ord INTEGER NOT NULL, first_ms INTEGER NOT NULL,
        last_ms INTEGER NOT NULL, count INTEGER NOT NULL, at_ms INTEGER NOT NULL, body TEXT NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (environment, customer_id, resource_id, feature_id, seq, ord)
    ) STRICT, WITHOUT ROWID""",
}

# What the first version does not have.
ADDED = ADDED_V2 | ADDED_V3
# Every object of a file, by the version that the file says it has.
OBJECTS: dict[int, dict[str, str]] = {1: OBJECTS_V1, 2: OBJECTS_V1 | ADDED_V2, 3: OBJECTS_V1 | ADDED}
CURRENT = OBJECTS[USER_VERSION]
# Made by sqlite-utils before the first migration runs; a killed process leaves it alone in the file.
RECORD_TABLE = "_sqlite_migrations"


def is_current(connection: apsw.Connection, path: str) -> bool:
    """Whether the file has the current schema; False for an older one, and for an empty file that may be filled.

    Raises: as `schema_version` does.
    """
    return schema_version(connection, path) == USER_VERSION


def stand_in_for_missing(connection: apsw.Connection) -> None:
    """Let an older file that cannot be brought up to date be read: what it does not have is empty."""
    missing = [name for name in ("hold", "usage_event", "measurement_pack") if not _has(connection, name)]
    if missing:
        connection.pragma("temp_store", "memory")
    for name in missing:
        connection.execute(ADDED[name].replace("CREATE TABLE", "CREATE TEMP TABLE", 1))


def _has(connection: apsw.Connection, name: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)).fetchall())


def schema_version(connection: apsw.Connection, path: str) -> int:
    """The version of the file's schema, which it has word for word; 0 for an empty file that may be filled.

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
        return 0
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
    if version < 1:
        raise StoreCorrupt(f"`{path}` has no schema version", hint="restore the file from a backup")
    for name, text in OBJECTS[version].items():
        if found.get(name) != text:
            raise StoreCorrupt(
                f"`{path}` does not have the schema it claims: `{name}` differs",
                hint="restore the file from a backup",
            )
    return version
