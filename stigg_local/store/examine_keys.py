"""Raw events against the keys that keep them from counting twice.

Law: every event in the log has its key. Customers of whom a row is damaged are left out: they were told already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stigg_local.core.ids import told
from stigg_local.store.event_log_rows import event_key_hash
from stigg_local.store.examine_rows import Owner
from stigg_local.store.finding import Findings

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

_EVENTS = (
    "SELECT environment, customer_id, resource_id, event_name, idempotency_key FROM usage_event WHERE created_ms >= 0"
)
_KEY = "SELECT 1 FROM usage_event_key WHERE environment = ? AND customer_id = ? AND hash = ? LIMIT 1"


def examine_keys(connection: apsw.Connection, findings: Findings, damaged: set[Owner], hint: str) -> None:
    """Find events whose key is missing: reported once more, they would count twice."""
    cursor = connection.cursor()
    for environment, customer_id, resource_id, name, key in connection.execute(_EVENTS):
        if (environment, customer_id) in damaged:
            continue
        bindings = (environment, customer_id, event_key_hash(resource_id, name, key))
        if not cursor.execute(_KEY, bindings).fetchall():
            findings.add(
                "KeyMissing",
                "error",
                "an event has no key: reported once more, it would count twice",
                where=f"usage_event_key: {', '.join(map(told, (environment, customer_id, name, key)))}",
                hint=hint,
                of="usage_event_key",
            )
