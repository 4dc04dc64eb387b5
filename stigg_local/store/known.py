"""Whether a row of an export is in the directory already, by the id that it had when it was written."""

from stigg_local.store.tx import Tx

_MEASUREMENT = (
    "SELECT 1 FROM measurement WHERE environment = ? AND customer_id = ? AND resource_id = ? AND feature_id = ?"
    " AND seq = ? AND measurement_id = ?"
)
_GRANT = "SELECT 1 FROM credit_grant WHERE environment = ? AND customer_id = ? AND grant_id = ?"


def has_measurement(
    tx: Tx, customer_id: str, resource_id: str, feature_id: str, seq: int, measurement_id: str
) -> bool:
    """Whether this measurement is this directory's own; its `seq` makes that one look into the primary key."""
    return bool(tx.run(_MEASUREMENT, (tx.environment, customer_id, resource_id, feature_id, seq, measurement_id)))


def has_grant(tx: Tx, customer_id: str, grant_id: str) -> bool:
    """Whether this credit grant is this directory's own."""
    return bool(tx.run(_GRANT, (tx.environment, customer_id, grant_id)))
