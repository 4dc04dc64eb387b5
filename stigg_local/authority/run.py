"""One command, one write transaction, one time and one idempotency key: what every part of the authority stands on.

Law: the record, the snapshot derived from it, the numbers that follow and the stored reply commit together or not
at all; the same key with the same arguments returns the stored reply and does nothing.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from stigg_local.authority import numbers
from stigg_local.authority.collection import again_ms, overtaken
from stigg_local.authority.replies import keyed, stands_for, stored_reply
from stigg_local.authority.standing import Standings
from stigg_local.clock import new_id
from stigg_local.core.customer import Customer, CustomerSnapshot
from stigg_local.core.decided import Decided
from stigg_local.core.event import Event
from stigg_local.core.ids import check_id
from stigg_local.core.lifecycle import advance, due_ms
from stigg_local.core.payment import PaymentProvider
from stigg_local.core.place import FOLLOWER
from stigg_local.core.snapshot import derive_snapshot
from stigg_local.core.sources import Catalog
from stigg_local.core.usage import USAGE_THRESHOLDS
from stigg_local.errors import NotFound, StiggError, StoreCorrupt
from stigg_local.store.catalog import CatalogReader
from stigg_local.store.store import Store
from stigg_local.store.tx import Tx

T = TypeVar("T", bound=Struct)
R = TypeVar("R")

_snapshot_decoder = msgspec.msgpack.Decoder(CustomerSnapshot)
_customer_decoder = msgspec.json.Decoder(Customer)
encode = msgspec.msgpack.Encoder().encode
_encode_record = msgspec.json.Encoder().encode

# Who sent a command, in the events of what it did; a boundary in time is the system's.
APPLICATION = "application"
# What stands for the arguments of a command under a key that the caller does not know.
_UNTOLD = bytes(16)
SNAPSHOTS_MAX = 1000


class Runner:
    """Runs commands on one store.

    Attributes:
        provider: Who collects what is due; None where nothing ever is.
        on_events: Called with what happened after its transaction, outside of any lock.
        usage_thresholds: Percentages of a limit that are told when usage crosses them.
    """

    def __init__(self, store: Store, catalogs: CatalogReader) -> None:
        self.store = store
        self.provider: PaymentProvider | None = None
        self.on_events: Callable[[Sequence[Event]], None] | None = None
        self.usage_thresholds: tuple[int, ...] = USAGE_THRESHOLDS
        self._catalogs = catalogs
        # What the command that runs right now has made happen; commands of a process run one after another.
        self._telling: list[Event] = []
        # Frozen, and found by their bytes, which were verified before: those of customers at work.
        self._snapshots: dict[bytes, CustomerSnapshot] = {}
        self.standings = Standings(self)

    @property
    def charges(self) -> bool:
        """Whether anything is ever due."""
        return self.provider is not None

    def catalog(self, tx: Tx) -> Catalog:
        """The compiled catalog as this transaction sees it."""
        return self._catalogs.at(tx.catalog_seq())

    def run(
        self,
        operation: str,
        key: str | None,
        customer_id: str,
        command: Struct,
        decide: Callable[[Tx], T],
        reply_type: type[T],
        *,
        scrub: Callable[[T], T] | None = None,
        durability: str = "disk",
        passed_on: object = None,
        trace: Callable[[Tx, int], bool] | None = None,
    ) -> T:
        """Run a command once for its key: a repeat returns the stored reply, another body is a conflict.

        What this process has queued of the customer is stored first: commands take effect in the order of the calls.

        Where the customer's rows are damaged, they are rebuilt and the command is run again.

        Args:
            scrub: What of a reply is stored.
            passed_on: What the command hands to others and keeps nowhere: of it, a keyed hash alone is stored.
            trace: Whether the transaction of that number holds what the command writes in any case. A command without
                a key is looked for by it when it has to run again, so that no reply of it is stored.
        """
        if key is None and trace is not None:
            return self._run(self._traced(decide, trace), operation, key, customer_id, durability)
        # One that begins with the time: keys that are made one after another lie side by side in the file.
        used_key = f"{self.store.now_ms():012x}{new_id()[12:]}" if key is None else check_id(key, "idempotency_key")
        # Nobody can come back with a key that nobody was told.
        plain = _UNTOLD if key is None else stands_for(command)

        is_first = True

        def work(tx: Tx) -> T:
            nonlocal is_first
            body = plain if passed_on is None else keyed(tx, plain, passed_on)
            # A key that was made just now is in nobody's file; when this runs again, it may be.
            if key is not None or not is_first:
                stored = stored_reply(tx, operation, used_key, body, reply_type)
                if stored is not None:
                    return stored
            is_first = False
            reply = decide(tx)
            kept = reply if scrub is None else scrub(reply)
            tx.put_idempotency(operation, used_key, customer_id, body, encode(kept))
            return kept

        return self._run(work, operation, key, customer_id, durability)

    def _traced(self, decide: Callable[[Tx], T], trace: Callable[[Tx, int], bool]) -> Callable[[Tx], T]:
        """Decide once, however often a commit of unknown outcome makes it run again."""
        tried: list[tuple[int, T]] = []

        def work(tx: Tx) -> T:
            for seq, reply in tried:
                if trace(tx, seq):
                    return reply
            reply = decide(tx)
            tried.append((tx.seq, reply))
            return reply

        return work

    def _run(self, work: Callable[[Tx], T], operation: str, key: str | None, customer_id: str, durability: str) -> T:
        self.store.settle_queued(customer_id)
        try:
            return self.write(work, operation=operation, key=key or "", durability=durability)
        except StoreCorrupt as error:
            try:
                self.repair(customer_id)
            except StiggError:
                raise error from None
            return self.write(work, operation=operation, key=key or "", durability=durability)

    def once(
        self,
        tx: Tx,
        operation: str,
        key: str,
        customer_id: str,
        command: Struct,
        decide: Callable[[], T],
        reply_type: type[T],
    ) -> T:
        """As `run`, for one of several commands in a transaction that is open already."""
        used_key = check_id(key, "idempotency_key")
        body = stands_for(command)
        stored = stored_reply(tx, operation, used_key, body, reply_type)
        if stored is not None:
            return stored
        reply = decide()
        tx.put_idempotency(operation, used_key, customer_id, body, encode(reply))
        return reply

    def write(self, work: Callable[[Tx], R], *, operation: str, key: str, durability: str = "disk") -> R:
        """Run `work` in a write transaction, then tell what happened in it."""
        happened: list[Event] = []

        def listened(tx: Tx) -> R:
            self.tell_into(happened)
            return work(tx)

        result = self.store.write(listened, operation=operation, key=key, durability=durability)
        self.told(happened)
        return result

    def tell_into(self, happened: list[Event]) -> None:
        """Collect from now on what the command that begins makes happen; a failed commit begins it again."""
        happened.clear()
        self._telling = happened

    def told(self, happened: Sequence[Event]) -> None:
        """Tell what a command made happen, once it is committed."""
        if happened and self.on_events is not None:
            self.on_events(happened)

    def customer(self, tx: Tx, customer_id: str) -> Customer:
        customer = self.stored(tx, customer_id)
        if customer is None:
            raise _customer_not_found(tx, customer_id)
        if customer.archived_ms is not None:
            raise _archived(customer_id)
        return customer

    def snapshot(self, tx: Tx, customer_id: str, resource_id: str | None) -> CustomerSnapshot:
        raw = tx.customer_snapshot(customer_id)
        snapshot = None if raw is None else self.decoded(raw)
        if snapshot is None:
            raise _customer_not_found(tx, customer_id)
        if snapshot.is_archived:
            raise _archived(customer_id)
        if resource_id is not None and resource_id not in snapshot.resource_ids:
            raise NotFound(
                f"customer `{customer_id}` has no resource `{resource_id}`",
                code="CustomerResourceNotFound",
                hint="a resource is known from its first subscription",
            )
        return snapshot

    def decoded(self, raw: bytes) -> CustomerSnapshot:
        """A stored snapshot; the same bytes give the same one."""
        snapshot = self._snapshots.get(raw)
        if snapshot is None:
            if len(self._snapshots) >= SNAPSHOTS_MAX:
                self._snapshots.clear()
            snapshot = self._snapshots[raw] = _snapshot_decoder.decode(raw)
        return snapshot

    def derive(self, catalog: Catalog, customer: Customer, tx: Tx) -> CustomerSnapshot:
        return derive_snapshot(customer, catalog, as_of_ms=tx.now_ms, sure_ms=tx.mark_ms)

    def stored(self, tx: Tx, customer_id: str) -> Customer | None:
        """The record as it was last written, an archived one too; None where there is none."""
        body = tx.customer_record(customer_id)
        return None if body is None else _customer_decoder.decode(body)

    def current(self, tx: Tx, catalog: Catalog, customer_id: str) -> Customer:
        """The record with everything done that time has done to it until now, for reading.

        Raises:
            NotFound: There is no such customer, or it is archived.
        """
        return advance(self.customer(tx, customer_id), catalog, to_ms=tx.now_ms).customer

    def owner(self, tx: Tx, subscription_id: str) -> str:
        """Whose subscription it is; a free plan that follows an end is its owner's before it was written down.

        Raises:
            NotFound: Nobody's (`SubscriptionNotFound`).
        """
        asked = subscription_id
        while asked:
            found = tx.subscription_owner(asked)
            if found is not None:
                return found
            asked = asked.removesuffix(FOLLOWER) if asked.endswith(FOLLOWER) else ""
        raise NotFound(
            f"subscription `{subscription_id[:80]}` does not exist",
            code="SubscriptionNotFound",
            hint="get_subscriptions lists those of a customer",
        )

    def put_customer(
        self,
        tx: Tx,
        catalog: Catalog,
        customer: Customer,
        *,
        before: Customer | None,
        heirs: dict[str, str] | None = None,
        events: Sequence[Event] = (),
        by_time: bool = False,
        derived: CustomerSnapshot | None = None,
    ) -> None:
        """Write a changed record with all that follows from it.

        Args:
            customer: The record from now on.
            before: The record until now; None for a new customer.
            heirs: Ended subscription -> the one that goes on with its usage cycle.
            events: What happened, for the log and for listeners.
            by_time: Time alone changed it, which readers have known all along: the answers' `as_of` stays.
            derived: What is derived from the record, where that is known.
        """
        raw = tx.customer_snapshot(customer.id)
        known = None if raw is None else _snapshot_decoder.decode(raw)
        after = self.derive(catalog, customer, tx) if derived is None else derived
        if by_time and known is not None:
            after = replace(after, as_of_ms=known.as_of_ms)
        tx.put_customer_record(customer.id, _encode_record(customer).decode())
        tx.put_customer(customer.id, encode(after))
        numbers.follow_sources(tx, catalog, customer.id, known, after, replaced=heirs)
        self.follow_due(tx, customer)
        had = set() if before is None else {item.id for item in before.subscriptions}
        for subscription in customer.subscriptions:
            if subscription.id not in had:
                tx.put_subscription_owner(subscription.id, customer.id)
        first = overtaken(tx, customer.id, events) if self.charges else ()
        for event in (*first, *events):
            self.tell(tx, event)

    def follow_due(self, tx: Tx, customer: Customer) -> None:
        """Store when the tick has to look at a customer next: a boundary, or a collection that nobody finished."""
        ahead = due_ms(customer, charges=self.charges)
        again = again_ms(tx, customer.id) if self.charges else None
        tx.put_due(customer.id, min((item for item in (ahead, again) if item is not None), default=None))

    def put_decided(self, tx: Tx, catalog: Catalog, before: Customer | None, decided: Decided) -> None:
        """Write what a decision made of a record."""
        self.put_customer(tx, catalog, decided.customer, before=before, heirs=decided.heirs, events=decided.events)

    def tell(self, tx: Tx, event: Event) -> None:
        """Append an event to the log; listeners get it after the commit."""
        told = event if event.actor is not None else replace(event, actor=APPLICATION)
        tx.append_event(
            told.type, told.customer_id, told.at_ms, told.actor or APPLICATION, _encode_record(EventBody.of(told))
        )
        self._telling.append(told)

    def repair(self, customer_id: str) -> None:
        """Rebuild a customer's numbers from the logs, and the snapshot from the record, where a digest is wrong.

        Raises:
            StoreCorrupt: What they would be rebuilt from is damaged too.
        """

        def decide(tx: Tx) -> None:
            catalog = self.catalog(tx)
            customer = self.customer(tx, customer_id)
            snapshot = self.derive(catalog, customer, tx)
            tx.rebuild_customer(customer_id, encode(snapshot))
            numbers.rebuild_from_logs(tx, catalog, snapshot, customer_id)

        self.store.write(decide, operation="repair", key=new_id())

    def settle_due(
        self,
        tx: Tx,
        catalog: Catalog,
        *,
        now_ms: int,
        limit: int,
        begin: Callable[[Customer], Customer] | None = None,
    ) -> int:
        """Write what time has done until `now_ms`, for at most `limit` customers; returns for how many.

        Args:
            begin: Notes the charges that are due on a record that is about to be written.
        """
        due = tx.due_before(now_ms, limit)
        for _, customer_id in due:
            known = self.stored(tx, customer_id)
            if known is None or known.archived_ms is not None:
                tx.put_due(customer_id, None)
                continue
            advanced = advance(known, catalog, to_ms=now_ms)
            customer = advanced.customer if begin is None else begin(advanced.customer)
            if customer is known:
                self.follow_due(tx, known)
            else:
                self.put_customer(tx, catalog, customer, before=known, events=advanced.events, by_time=True)
        return len(due)

    def derive_all(self, tx: Tx, catalog: Catalog, move: Callable[[Customer], Customer] | None) -> tuple[str, ...]:
        """Give every customer what `move` makes of the record, and derive again what changed; returns whose.

        With no `move`, only those are looked at whom time will change: what they get then follows the catalog.
        """
        changed: list[str] = []
        after = ""
        while page := tx.customer_ids(after, 500):
            for customer_id in page:
                if move is None and tx.due_of(customer_id) is None:
                    continue
                known = self.stored(tx, customer_id)
                if known is None:
                    continue
                customer = known if move is None else move(known)
                snapshot = tx.customer_snapshot(customer_id)
                derived = self.derive(catalog, customer, tx)
                if (
                    customer == known
                    and snapshot is not None
                    and _same_sources(snapshot, encode(derived), min(tx.now_ms, tx.mark_ms))
                ):
                    continue
                self.put_customer(tx, catalog, customer, before=known, derived=derived)
                changed.append(customer_id)
            after = page[-1]
        return tuple(changed)

    def follow_meters(self, tx: Tx, catalog: Catalog, changed: frozenset[str]) -> None:
        """Count again what meters count whose definitions the catalog has changed, for every customer."""
        after = ""
        while page := tx.customer_ids(after, 500):
            for customer_id in page:
                raw = tx.customer_snapshot(customer_id)
                if raw is not None:
                    numbers.follow_meters(tx, catalog, customer_id, _snapshot_decoder.decode(raw), changed)
            after = page[-1]


class EventBody(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What the log keeps of an event beside its columns."""

    subscription_id: str | None = None
    feature_id: str | None = None
    data: dict[str, str] = {}

    @classmethod
    def of(cls, event: Event) -> "EventBody":
        """The body of an event."""
        return cls(subscription_id=event.subscription_id, feature_id=event.feature_id, data=dict(event.data))


def _archived(customer_id: str) -> NotFound:
    return NotFound(
        f"customer `{customer_id}` does not exist any more: it is archived",
        code="CustomerNotFound",
        hint="its id is never used again; provision_customer makes one of another id",
    )


def _customer_not_found(tx: Tx, customer_id: str) -> NotFound | StoreCorrupt:
    if tx.meta("lost_ms") is not None:
        return StoreCorrupt(
            f"whether customer `{customer_id}` exists is not known: the file was set aside as damaged",
            hint="restore a backup, or provision_customer again",
        )
    return NotFound(
        f"customer `{customer_id}` does not exist",
        code="CustomerNotFound",
        hint="provision_customer makes one",
    )


def _same_sources(snapshot: bytes, derived: bytes, gone_ms: int) -> bool:
    """Whether a customer may do the same as before; what has ended for sure was left out of the later one."""
    old, new = (_snapshot_decoder.decode(raw) for raw in (snapshot, derived))
    alive = tuple(source for source in old.sources if source.end_ms > gone_ms)
    return replace(old, as_of_ms=0, sources=alive) == replace(new, as_of_ms=0)
