"""The SQLite file: connections, schema, statements, group commit, digests, locks, generation, fork gate."""

from stigg_local.store.event_rows import Event
from stigg_local.store.generation import is_in_flight
from stigg_local.store.life_rows import Checkout, Scrubbed
from stigg_local.store.pack import Measurement
from stigg_local.store.readers import CustomerRows
from stigg_local.store.store import Store
from stigg_local.store.tx import LedgerRow, Tx

__all__ = [
    "Checkout",
    "CustomerRows",
    "Event",
    "LedgerRow",
    "Measurement",
    "Scrubbed",
    "Store",
    "Tx",
    "is_in_flight",
]
