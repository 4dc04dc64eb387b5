"""Putting the index of customers right after damage, from the rows and records that can still be trusted.

Law: a customer who has a record stays a member of the index even where the row is gone, so that no repair of
one customer turns another, still damaged one into a customer who was never there.
"""

from stigg_local.store.digest import CUSTOMER, MASK, MEMBER, SLOT, row_digest, row_sum, slot_of, sum_bytes
from stigg_local.store.sequence import Run

_ROWS = "SELECT customer_id, seq, snapshot, numbers, log, digest FROM customer WHERE environment = ? AND slot = ?"
_RECORDS = "SELECT customer_id FROM customer_record WHERE environment = ?"
_DELETE = "DELETE FROM customer WHERE environment = ? AND slot = ? AND customer_id = ?"
PUT_SLOT = (
    "INSERT INTO customer_slot (environment, slot, count, root, digest) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET count = excluded.count, root = excluded.root, digest = excluded.digest"
)


def rebuild_slot(run: Run, environment: str, customer_id: str) -> None:
    """Compute the customer's slot anew, with him in it; rows that belong to nobody are deleted."""
    slot = slot_of(customer_id)
    members = {row[0] for row in run(_RECORDS, (environment,)) if slot_of(row[0]) == slot}
    members.add(customer_id)
    for found, *row, digest in run(_ROWS, (environment, slot)):
        if found in members:
            continue
        if slot_of(found) == slot and digest == row_digest(environment, found, (CUSTOMER, *row)):
            members.add(found)
        else:
            # A row under a key that its digest denies: the customer it came from is looked up elsewhere.
            run(_DELETE, (environment, slot, found))
    put_slot(run, environment, slot, len(members), sum(member_sum(environment, slot, m) for m in members))


def member_sum(environment: str, slot: int, customer_id: str) -> int:
    """What one customer adds to his slot's sum."""
    return row_sum(environment, customer_id, (MEMBER, slot))


def put_slot(run: Run, environment: str, slot: int, count: int, total: int) -> None:
    """Store a slot's count and sum."""
    root = sum_bytes(total & MASK)
    run(PUT_SLOT, (environment, slot, count, root, row_digest(environment, "", (SLOT, slot, count, root))))
