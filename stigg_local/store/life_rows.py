"""The rows of the life cycle in a transaction: due boundaries, pending checkouts, scrubbing and forgetting.

Laws: a due row is derived from the record, so that deleting it changes only when work is done; a scrub leaves keys
and fingerprints as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from stigg_local.core.period import FOREVER_MS
from stigg_local.errors import StoreCorrupt
from stigg_local.store import statements as sql
from stigg_local.store.digest import AUDIT, CHECKOUT, DUE, IDEMPOTENCY, row_digest, row_sum, sum_bytes
from stigg_local.store.event_rows import EventRows

# What `meta` holds while bytes of erased values may still be in the files.
SCRUB_WISH = "scrub"
_KEYS_FROM = "keys_from_ms "


class Checkout(NamedTuple):
    """A checkout or collection whose outcome is open; `at_ms` is when it began."""

    id: str
    customer_id: str
    at_ms: int
    body: bytes


class Scrubbed(NamedTuple):
    """How many stored replies and events of a customer a scrub changed."""

    replies: int
    events: int


class LifeRows(EventRows):
    """The statements of the life cycle."""

    # ------------------------------------------------------------------ boundaries

    def due_of(self, customer_id: str) -> int | None:
        """When time alone changes the customer next, as it was stored."""
        rows = self.run(sql.DUE_OF, (self.environment, customer_id))
        return rows[0][0] if rows else None

    def put_due(self, customer_id: str, due_ms: int | None) -> None:
        """Store when time alone changes the customer next; None where it never does."""
        rows = self.run(sql.DUE_OF, (self.environment, customer_id))
        if due_ms is None:
            if rows:
                self._put(sql.DELETE_DUE, (self.environment, customer_id))
            return
        if rows and rows[0][2] == self._due_digest(customer_id, due_ms, rows[0][1]):
            return
        digest = self._due_digest(customer_id, due_ms, self.seq)
        self._put(sql.PUT_DUE, (self.environment, customer_id, due_ms, self.seq, digest))

    def due_before(self, now_ms: int, limit: int) -> list[tuple[int, str]]:
        """At most `limit` boundaries that `now_ms` has reached, as (due_ms, customer_id), earliest first.

        A damaged row is among them: to look at a customer too early changes nothing, and stores the row anew.
        """
        return self.run(sql.DUE_BEFORE, (self.environment, now_ms, limit))

    def next_due(self) -> int | None:
        """The earliest boundary of all customers; None where time changes nobody."""
        rows = self.run(sql.NEXT_DUE, (self.environment,))
        return rows[0][0] if rows else None

    def _due_digest(self, customer_id: str, due_ms: int, seq: int) -> bytes:
        return row_digest(self.environment, "", (DUE, customer_id, due_ms, seq))

    # ------------------------------------------------------------------ checkouts

    def checkout(self, checkout_id: str) -> Checkout | None:
        """A pending checkout; None where there is none."""
        rows = self.run(sql.CHECKOUT, (self.environment, checkout_id))
        if not rows:
            return None
        customer_id, at_ms, seq, body, digest = rows[0]
        return self._verified_checkout(checkout_id, customer_id, at_ms, seq, body, digest)

    def checkouts_of(self, customer_id: str) -> list[Checkout]:
        """The customer's pending checkouts, in the order of their ids."""
        return [
            self._verified_checkout(checkout_id, customer_id, at_ms, seq, body, digest)
            for checkout_id, at_ms, seq, body, digest in self.run(sql.CHECKOUTS_OF, (self.environment, customer_id))
        ]

    def put_checkout(self, checkout_id: str, customer_id: str, body: bytes) -> None:
        """Add a pending checkout, or replace what is stored of one; when it began stays."""
        before = self.checkout(checkout_id)
        at_ms = self.now_ms if before is None else before.at_ms
        row = (checkout_id, customer_id, at_ms, self.seq, body)
        digest = row_digest(self.environment, "", (CHECKOUT, *row))
        self._put(sql.PUT_CHECKOUT, (self.environment, *row, digest))

    def delete_checkout(self, checkout_id: str) -> bool:
        """Forget a checkout whose outcome is known; False when there was none."""
        if not self.run(sql.CHECKOUT, (self.environment, checkout_id)):
            return False
        self._put(sql.DELETE_CHECKOUT, (self.environment, checkout_id))
        return True

    def _verified_checkout(
        self, checkout_id: str, customer_id: str, at_ms: int, seq: int, body: bytes, digest: bytes
    ) -> Checkout:
        if digest != row_digest(self.environment, "", (CHECKOUT, checkout_id, customer_id, at_ms, seq, body)):
            raise StoreCorrupt(f"checkout `{checkout_id}` does not match its digest", hint="restore a backup")
        return Checkout(checkout_id, customer_id, at_ms, body)

    # ------------------------------------------------------------------ scrubbing and forgetting

    def scrub_customer(
        self,
        customer_id: str,
        *,
        reply: Callable[[str, bytes], bytes],
        event: Callable[[str, bytes], bytes],
    ) -> Scrubbed:
        """Take a person out of the stored replies and events of a customer, and have the files scrubbed after that.

        Keys and fingerprints stay, so that a repeated command still does nothing. Of a damaged row nothing is left
        to read but that it is damaged. Replies to usage reports are not looked at: they name nobody.

        Args:
            customer_id: Whose.
            reply: Gets an operation and a reply, gives the reply to keep.
            event: Gets a type and a body, gives the body to keep.
        """
        changed = Scrubbed(self._scrub_replies(customer_id, reply), self._scrub_events(customer_id, event))
        self.set_meta(SCRUB_WISH, str(self.seq))
        return changed

    def _scrub_replies(self, customer_id: str, scrub: Callable[[str, bytes], bytes]) -> int:
        changed = 0
        for operation, key, fingerprint, old, at_ms, digest in self.run(
            sql.REPLIES_OF, (self.environment, customer_id)
        ):
            is_whole = digest == self._reply_digest(operation, key, customer_id, fingerprint, old, at_ms)
            new = scrub(operation, old) if is_whole else b""
            if new == old:
                continue
            new_digest = self._reply_digest(operation, key, customer_id, fingerprint, new, at_ms)
            self._put(sql.REPLACE_REPLY, (new, new_digest if is_whole else digest, self.environment, operation, key))
            changed += 1
        return changed

    def _scrub_events(self, customer_id: str, scrub: Callable[[str, bytes], bytes]) -> int:
        changed = 0
        for seq, ord_, type_, at_ms, actor, old, digest in self.run(sql.EVENT_BODIES, (self.environment, customer_id)):
            head = (AUDIT, seq, ord_, customer_id, type_, at_ms, actor)
            total = row_sum(self.environment, "", (*head, old))
            is_whole = digest == sum_bytes(total)
            new = scrub(type_, old) if is_whole else b""
            if new == old:
                continue
            new_total = row_sum(self.environment, "", (*head, new))
            if is_whole:
                self.event_sum().change(0, new_total - total)
            self._put(
                sql.REPLACE_EVENT, (new, sum_bytes(new_total) if is_whole else digest, self.environment, seq, ord_)
            )
            changed += 1
        return changed

    def _reply_digest(
        self, operation: str, key: str, customer_id: str, fingerprint: bytes, reply: bytes, at_ms: int
    ) -> bytes:
        return row_digest(self.environment, operation, (IDEMPOTENCY, key, customer_id, fingerprint, reply, at_ms))

    def oldest_key_ms(self) -> int | None:
        """When the oldest idempotency key was stored; None where there is none."""
        oldest: int | None = self.run(sql.OLDEST_KEY, (self.environment,))[0][0]
        return oldest

    def open_window_ms(self, now_ms: int) -> int | None:
        """When the longest usage window began that is open and will end; None where none is."""
        start: int | None = self.run(sql.OPEN_WINDOW, (self.environment, now_ms, FOREVER_MS))[0][0]
        return start

    def purge_idempotency(self, before_ms: int, limit: int) -> int:
        """Forget at most `limit` keys stored before `before_ms`, oldest first; returns how many."""
        self._cursor.execute(sql.PURGE_IDEMPOTENCY, (self.environment, before_ms, limit))
        purged = self._cursor.connection.changes()
        if purged:
            self.set_meta(_KEYS_FROM + self.environment, str(max(before_ms, self.keys_from_ms())))
        return purged

    def keys_from_ms(self) -> int:
        """Idempotency keys stored before this instant may be forgotten; 0 where none ever was."""
        return int(self.meta(_KEYS_FROM + self.environment) or 0)
