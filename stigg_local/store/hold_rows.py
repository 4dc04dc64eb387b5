"""The rows of reservations in a transaction, and all moving numbers of a customer at once.

Laws: a reservation is one of the customer's numbers, so a missing or changed one shows in their sum; what a row
says can be made again from the stored reply of its command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from stigg_local.store import statements as sql
from stigg_local.store.digest import COUNTER, GRANT, HOLD, MASK, row_digest, row_sum, sum_bytes
from stigg_local.store.life_rows import LifeRows
from stigg_local.store.seals import COUNTER_ROWS, GRANT_ROWS, HOLD_ROWS, NUMBERS, CustomerSeal, Seals, customer_corrupt

HoldRow = tuple[str, int, bytes]
"""(hold_id, expire_ms, body)."""


class Numbers(NamedTuple):
    """What moves of a customer: counters by key, and the bodies of grants and reservations."""

    counters: dict[tuple[str, str, int, int], int]
    grants: list[bytes]
    holds: list[bytes]


class HoldRows(LifeRows):
    """The statements of reservations."""

    _seals: Seals

    if TYPE_CHECKING:

        def _touch(self, customer_id: str) -> CustomerSeal: ...

    def numbers(self, customer_id: str) -> Numbers:
        """All counters, grants and reservations of the customer, verified."""
        whole = self.environment, customer_id
        seal = self._seals.customer(customer_id)
        counters, grants, holds = (self.run(rows, whole) for rows in (COUNTER_ROWS, GRANT_ROWS, HOLD_ROWS))
        if not seal.numbers_verified:
            if sum(row_sum(*whole, row) for rows in (counters, grants, holds) for row in rows) & MASK != (
                seal.numbers & MASK
            ):
                raise customer_corrupt(customer_id, NUMBERS)
            seal.numbers_verified = True
        return Numbers({row[1:5]: row[5] for row in counters}, [row[2] for row in grants], [row[3] for row in holds])

    def holds(self, customer_id: str) -> list[bytes]:
        """The bodies of all reservations of the customer, in the order of their ids."""
        self._seals.verify_numbers(customer_id)
        return [row[3] for row in self.run(HOLD_ROWS, (self.environment, customer_id))]

    def put_hold(self, customer_id: str, hold_id: str, expire_ms: int, body: bytes) -> None:
        """Add or replace one reservation."""
        old = self._hold_sum(customer_id, hold_id)
        seal = self._touch(customer_id)
        new = row_sum(self.environment, customer_id, (HOLD, hold_id, expire_ms, body, self.seq))
        seal.numbers += new - (old or 0)
        self._put(sql.PUT_HOLD, (self.environment, customer_id, hold_id, expire_ms, self.seq, body, sum_bytes(new)))

    def delete_hold(self, customer_id: str, hold_id: str) -> bool:
        """Take a reservation away; False where there is none any more."""
        old = self._hold_sum(customer_id, hold_id)
        if old is None:
            return False
        self._touch(customer_id).numbers -= old
        self._put(sql.DELETE_HOLD, (self.environment, customer_id, hold_id))
        return True

    def _hold_sum(self, customer_id: str, hold_id: str) -> int | None:
        rows = self.run(sql.HOLD, (self.environment, customer_id, hold_id))
        if not rows:
            self._seals.verify_numbers(customer_id)
            return None
        expire_ms, body, seq, digest = rows[0]
        total = row_sum(self.environment, customer_id, (HOLD, hold_id, expire_ms, body, seq))
        if digest != sum_bytes(total):
            raise customer_corrupt(customer_id, "a reservation")
        return total

    def intact_holds(self, customer_id: str) -> list[HoldRow]:
        """The reservations whose own rows are as they were written, whatever is damaged beside them."""
        whole = (self.environment, customer_id)
        return [
            (hold_id, expire_ms, body)
            for hold_id, expire_ms, body, seq, digest in self.run(sql.HOLDS, whole)
            if digest == row_digest(*whole, (HOLD, hold_id, expire_ms, body, seq))
        ]

    def replies(self, customer_id: str, operation: str, from_ms: int) -> list[tuple[str, bytes | None]]:
        """(key, reply) of the commands of one operation about the customer since then; None for a damaged reply."""
        found: list[tuple[str, bytes | None]] = []
        for name, key, fingerprint, reply, at_ms, digest in self.run(sql.REPLIES_OF, (self.environment, customer_id)):
            if name == operation and at_ms >= from_ms:
                is_whole = digest == self._reply_digest(operation, key, customer_id, fingerprint, reply, at_ms)
                found.append((key, reply if is_whole else None))
        return found

    def next_hold_end(self) -> int | None:
        """When the next reservation ends of those that are stored; None where none is."""
        end: int | None = self.run(sql.NEXT_HOLD_END, (self.environment,))[0][0]
        return end

    def customers_with_holds_before(self, now_ms: int, limit: int) -> list[str]:
        """At most so many customers who have reservations that ended by `now_ms`."""
        return [row[0] for row in self.run(sql.HOLDS_BEFORE, (self.environment, now_ms, limit))]

    def grant_owners(self, grant_id: str) -> list[str]:
        """The customers who have a stored credit grant of that id."""
        return [row[0] for row in self.run(sql.GRANT_OWNERS, (self.environment, grant_id))]


assert len({COUNTER, GRANT, HOLD}) == 3, "the rows of a customer are told apart by their tags"
