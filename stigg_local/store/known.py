"""Whether a row of an export is in the directory already, by the id that it had when it was written."""

from stigg_local.store.pack import beginning
from stigg_local.store.tx import Tx

_OF_TRANSACTION = " WHERE environment = ?1 AND customer_id = ?2 AND resource_id = ?3 AND feature_id = ?4 AND seq = ?5"
_MEASUREMENT = (
    f"SELECT 1 FROM measurement{_OF_TRANSACTION} AND measurement_id = ?6"
    f" UNION ALL SELECT 1 FROM measurement_pack{_OF_TRANSACTION} AND instr(body, ?7) LIMIT 1"
)
_GRANT = "SELECT 1 FROM credit_grant WHERE environment = ? AND customer_id = ? AND grant_id = ?"


def has_measurement(
    tx: Tx, customer_id: str, resource_id: str, feature_id: str, seq: int, measurement_id: str
) -> bool:
    """Whether this measurement is this directory's own; its `seq` makes that one look into the primary key."""
    bindings = tx.environment, customer_id, resource_id, feature_id, seq, measurement_id, beginning(measurement_id)
    return bool(tx.run(_MEASUREMENT, bindings))


def has_grant(tx: Tx, customer_id: str, grant_id: str) -> bool:
    """Whether this credit grant is this directory's own."""
    return bool(tx.run(_GRANT, (tx.environment, customer_id, grant_id)))
