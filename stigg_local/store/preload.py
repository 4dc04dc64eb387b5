"""Reading all customers in pages of slots, each page in its own short transaction."""

from collections.abc import Callable, Iterator
from typing import Any

from stigg_local.errors import StoreCorrupt
from stigg_local.store.digest import COUNTER, CUSTOMER, GRANT, HOLD, SLOT_COUNT, slot_of
from stigg_local.store.readers import CustomerRows, verified_rows
from stigg_local.store.tx import Tx

# 64 pages: a page of a file with 100,000 customers has about 1,600.
PAGE_SLOTS = SLOT_COUNT // 64

_CUSTOMERS = (
    f"SELECT slot, customer_id, {CUSTOMER}, seq, snapshot, numbers, log, digest,"
    " (SELECT seq FROM catalog_root WHERE environment = ?1) FROM customer"
    " WHERE environment = ?1 AND slot >= ?2 AND slot < ?3"
)
# CROSS JOIN keeps the order of the tables: the page's customers first, then their rows by key.
_COUNTERS = (
    f"SELECT c.customer_id, {COUNTER}, u.resource_id, u.feature_id, u.from_ms, u.to_ms, u.value, u.seq"
    " FROM customer AS c CROSS JOIN usage_counter AS u"
    " ON u.environment = c.environment AND u.customer_id = c.customer_id"
    " WHERE c.environment = ? AND c.slot >= ? AND c.slot < ?"
)
_GRANTS = (
    f"SELECT c.customer_id, {GRANT}, g.grant_id, g.body, g.seq, NULL, NULL, NULL"
    " FROM customer AS c CROSS JOIN credit_grant AS g"
    " ON g.environment = c.environment AND g.customer_id = c.customer_id"
    " WHERE c.environment = ? AND c.slot >= ? AND c.slot < ?"
)
_HOLDS = (
    f"SELECT c.customer_id, {HOLD}, h.hold_id, h.expire_ms, h.body, h.seq, NULL, NULL"
    " FROM customer AS c CROSS JOIN hold AS h"
    " ON h.environment = c.environment AND h.customer_id = c.customer_id"
    " WHERE c.environment = ? AND c.slot >= ? AND c.slot < ?"
)


def scan(
    read: Callable[[Callable[[Tx], Any]], Any], environment: str, slots: memoryview
) -> Iterator[tuple[str, CustomerRows]]:
    """Yield (customer_id, rows) of every undamaged customer."""
    for start in range(0, SLOT_COUNT, PAGE_SLOTS):
        page = (environment, start, start + PAGE_SLOTS)
        generations = slots[start : start + PAGE_SLOTS].tolist()
        found: dict[str, list[Any]] = {}
        slot_by_id: dict[str, int] = {}

        def load(tx: Tx, page: tuple[Any, ...] = page, found: Any = found, slot_by_id: Any = slot_by_id) -> None:
            for slot, customer_id, *row in tx.run(_CUSTOMERS, page):
                found[customer_id] = [tuple(row)]
                slot_by_id[customer_id] = slot
            for statement in (_COUNTERS, _GRANTS, _HOLDS):
                for customer_id, *row in tx.run(statement, page):
                    found[customer_id].append(tuple(row))

        read(load)
        for customer_id, rows in found.items():
            if slot_of(customer_id) != slot_by_id[customer_id]:
                # No look-up finds a row in the wrong slot, so it is no answer here either.
                continue
            generation = generations[slot_by_id[customer_id] - start]
            try:
                yield customer_id, verified_rows(environment, customer_id, rows, generation)
            except StoreCorrupt:
                # Whoever asks for this customer gets the error; the others are not held up by it.
                continue
