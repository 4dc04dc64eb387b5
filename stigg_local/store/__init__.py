"""The SQLite file: connections, schema, statements, group commit, digests, locks, generation, fork gate."""

from stigg_local.store.generation import is_in_flight
from stigg_local.store.readers import CustomerRows
from stigg_local.store.store import Store
from stigg_local.store.tx import LedgerRow, Measurement, Tx

__all__ = ["CustomerRows", "LedgerRow", "Measurement", "Store", "Tx", "is_in_flight"]
