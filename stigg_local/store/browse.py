"""A copy for looking at with other tools: each readable view as a plain table, in a file that no engine opens.

Laws: it is made from a copy, so that other tools and their SQLite never come near a file that is in use; it comes into
its place whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from stigg_local.errors import InvalidInput
from stigg_local.store.backup import disk_errors, draft_of, private_copy, put, quiet, sync
from stigg_local.store.connection import store_error
from stigg_local.store.examine_rows import Progress
from stigg_local.store.facade import Readable, make_readable
from stigg_local.store.read_only import ReadOnly

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

_INDEXED = ("customer_id", "feature_id", "package_id")

# Each customer's sources times what their packages give, which may be millions of rows: so it stays a view, over the
# tables of the copy.
_ENTITLEMENTS = """
SELECT s.customer_id, e.feature_id, s.kind, s.resource_id, s.subscription_id, e.package_id,
    e.version AS package_version, json_extract(p.value, '$[2]') AS quantity, e.usage_limit, e.value, e.is_unlimited,
    e.has_soft_limit, e.is_custom, e.is_granted, e.enum_values, e.reset_period, e.behavior,
    s.start_at, s.start_ms, s.end_at, s.end_ms, s.is_current
FROM sources AS s, json_each(s.packages) AS p
JOIN package_entitlements AS e
    ON e.package_id = json_extract(p.value, '$[0]') AND e.version = json_extract(p.value, '$[1]')
UNION ALL
SELECT m.customer_id, m.feature_id, 'PROMOTIONAL', NULL, NULL, NULL, NULL, NULL, m.usage_limit, m.value,
    m.is_unlimited, m.has_soft_limit, 0, 1, m.enum_values, m.reset_period, 'Increment',
    m.start_at, m.start_ms, m.end_at, m.end_ms, NOT coalesce(m.end_ms <= {now_ms}, 0)
FROM promotional_entitlements AS m
"""
# More views of the copy, with their titles.
_QUERIES = {
    "usage_now": (
        "Usage in the windows that run now",
        "SELECT customer_id, feature_id, resource_id, used, to_at FROM usage WHERE is_current ORDER BY used DESC",
    ),
    "subscriptions_by_plan": (
        "Subscriptions by plan and status",
        "SELECT plan_id, status, count(*) AS subscriptions FROM subscriptions GROUP BY plan_id, status",
    ),
    "credits_left": (
        "Credits left by customer and currency",
        "SELECT customer_id, currency_id, sum(remaining) AS remaining FROM credit_grants WHERE voided_ms IS NULL"
        " GROUP BY customer_id, currency_id ORDER BY remaining",
    ),
}
COPY, METADATA = "stigg.db", "metadata.json"


def readable_copy(data_dir: str, directory: str, *, environment: str, now_ms: int, progress: Progress = quiet) -> str:
    """Write `stigg.db` and `metadata.json` into a directory that has neither.

    Args:
        data_dir: A directory that holds a database, in use or not.
        directory: Where to.
        environment: Whose records.
        now_ms: The time for what depends on it.
        progress: Told how far it is.

    Returns:
        The path of the database.

    Raises:
        InvalidInput: There is such a file already.
        StoreError: The original cannot be read, or the copy not be written.
    """
    target, told = os.path.join(directory, COPY), os.path.join(directory, METADATA)
    for path in (target, told):
        if os.path.lexists(path):
            raise InvalidInput(f"`{path}` is there already", hint="name another directory")
    with (
        disk_errors(directory),
        draft_of(told) as metadata,
        draft_of(target) as draft,
        TemporaryDirectory(dir=directory, prefix=".copy-") as aside,
    ):
        copy = private_copy(data_dir, aside, progress=progress)
        with ReadOnly(copy, environment=environment, now_ms=now_ms) as source:
            _write(source, draft, now_ms, progress)
        sync(draft)
        with open(metadata, "w", encoding="utf-8") as file:
            json.dump(_metadata(environment), file, indent=2)
        put(metadata, told)
        put(draft, target)
    return target


def _write(source: ReadOnly, target: str, now_ms: int, progress: Progress) -> None:
    def tables() -> Iterator[Readable]:
        copied = [name for name, kind in source.names() if kind == "view" and name != "entitlements"]
        for done, name in enumerate(copied):
            progress("writing tables", done, len(copied))
            columns, rows = source.all_of(name)
            yield Readable(name, columns, rows, tuple(column for column in _INDEXED if column in columns))

    views = {"entitlements": _ENTITLEMENTS.format(now_ms=now_ms)} | {name: sql for name, (_, sql) in _QUERIES.items()}
    try:
        made = apsw.Connection(target, flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            made.pragma("synchronous", "off")
            made.pragma("journal_mode", "memory")
            make_readable(made, tables(), views)
        finally:
            made.close(True)
    except apsw.Error as error:
        raise store_error(error, target) from error


def _metadata(environment: str) -> dict[str, Any]:
    queries = {name: {"title": title, "sql": sql} for name, (title, sql) in _QUERIES.items()}
    return {"title": f"stigg-local: {environment}, a copy", "databases": {"stigg": {"queries": queries}}}
