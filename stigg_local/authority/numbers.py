"""The moving numbers inside a write transaction: counters, grants, charges, and what a change of sources does.

Laws: a counter equals the fold of the log over its interval; every grant that changes gets a ledger entry; both
can be rebuilt from their logs. Decisions are in `core`; this module reads rows, asks, and writes rows.
"""

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from stigg_local.authority import metering
from stigg_local.core.catalog import Feature
from stigg_local.core.consume_result import RELEASE, RESERVE, SETTLE, stored_reservation
from stigg_local.core.credit import (
    Burn,
    Grant,
    burn,
    is_debt,
    overdraft_of,
    recurring_grants,
    settle_debt,
    wallet,
    without_held,
)
from stigg_local.core.customer import CustomerSnapshot, SubscriptionSource
from stigg_local.core.entitlement import CounterKey, counting_windows
from stigg_local.core.hold import TTL_S_MAX, Hold
from stigg_local.core.ledger import CONSUMED, GRANTED, TRANSFERRED, TRANSFERRED_FROM, UPDATED, LedgerEntry, rebuild
from stigg_local.core.quantity import credits_for
from stigg_local.core.sources import Catalog, Rate
from stigg_local.core.usage import add, fold
from stigg_local.errors import StoreCorrupt
from stigg_local.store.tx import Tx

_grant_decoder = msgspec.msgpack.Decoder(Grant)
_hold_decoder = msgspec.msgpack.Decoder(Hold)
_entry_decoder = msgspec.msgpack.Decoder(LedgerEntry)
encode = msgspec.msgpack.Encoder().encode


def load_grants(tx: Tx, customer_id: str) -> list[Grant]:
    """All stored grants of a customer."""
    return [_grant_decoder.decode(body) for _, body in tx.grants(customer_id)]


def load_holds(tx: Tx, customer_id: str) -> list[Hold]:
    """All stored reservations of a customer."""
    return [_hold_decoder.decode(body) for body in tx.holds(customer_id)]


def put_grant(
    tx: Tx,
    customer_id: str,
    grant: Grant,
    kind: str,
    amount: int,
    *,
    feature_id: str = "",
    measurement_id: str = "",
) -> None:
    """Store a grant and the ledger entry of its change."""
    tx.put_grant(customer_id, grant.id, encode(grant))
    entry = LedgerEntry(kind, amount, tx.now_ms, grant, feature_id, measurement_id)
    tx.append_ledger(customer_id, encode(entry))


def count(
    tx: Tx,
    catalog: Catalog,
    snapshot: CustomerSnapshot,
    feature: Feature,
    *,
    customer_id: str,
    resource_id: str,
    behavior: str,
    value: int,
    created_ms: int,
    is_late: bool,
    windows: Iterable[tuple[int, int]] | None = None,
) -> dict[tuple[int, int], tuple[int, int]]:
    """Add one report to the counter of every interval that its own time falls into.

    Args:
        is_late: The caller stamped the report: an interval without a counter may have a history to fold first.
        windows: Those intervals, where they are known.

    Returns:
        (from, to) -> (usage before, usage after), raw.
    """
    moved: dict[tuple[int, int], tuple[int, int]] = {}
    if windows is None:
        windows = counting_windows(
            catalog, snapshot, feature, resource_id=resource_id, at_ms=created_ms, now_ms=tx.now_ms
        )
    for from_ms, to_ms in windows:
        before = tx.counter(customer_id, resource_id, feature.id, from_ms, to_ms)
        if before is None:
            before = fold_log(tx, feature, customer_id, resource_id, from_ms, to_ms) if is_late else 0
            # Counters of windows that are surely over cost room and can be folded again from the log.
            tx.delete_counters_before(customer_id, resource_id, feature.id, tx.mark_ms)
        after = add(feature, before, behavior, value)
        tx.put_counter(customer_id, resource_id, feature.id, from_ms, to_ms, after)
        moved[from_ms, to_ms] = before, after
    return moved


def fold_log(tx: Tx, feature: Feature, customer_id: str, resource_id: str, from_ms: int, to_ms: int) -> int:
    """What the log gives for one interval."""
    rows = tx.measurements(customer_id, resource_id, feature.id, from_ms, to_ms)
    return fold(feature, ((row.behavior, row.value) for row in rows))


def charge(
    tx: Tx,
    catalog: Catalog,
    snapshot: CustomerSnapshot,
    *,
    customer_id: str,
    resource_id: str,
    currency_id: str,
    cost: int,
    at_ms: int,
    feature_id: str,
    measurement_id: str,
) -> None:
    """Burn credits in the wallet of (customer, resource, currency); what is short becomes debt."""
    stored = settle(tx, catalog, snapshot, customer_id)
    purse = wallet(
        catalog,
        snapshot,
        stored,
        resource_id=resource_id,
        currency_id=currency_id,
        at_ms=min(at_ms, tx.now_ms),
        holds=load_holds(tx, customer_id),
        held_ms=tx.now_ms,
    )
    empty = overdraft_of(
        currency_id, resource_id, at_ms=tx.now_ms, new_id=f"overdraft:{currency_id}:{resource_id}:{tx.seq}"
    )
    debt = next(
        (
            grant
            for grant in stored
            if is_debt(grant) and (grant.currency_id, grant.resource_id) == (currency_id, resource_id)
        ),
        empty,
    )
    burned = without_held(burn(purse.grants, cost, overdraft=debt), purse.held)
    _put_changed(tx, customer_id, stored, burned, CONSUMED, feature_id=feature_id, measurement_id=measurement_id)
    settle(tx, catalog, snapshot, customer_id)


def charge_use(
    tx: Tx,
    catalog: Catalog,
    snapshot: CustomerSnapshot,
    feature: Feature,
    rate: Rate | None,
    risen: int,
    *,
    customer_id: str,
    resource_id: str,
    at_ms: int,
    measurement_id: str,
) -> None:
    """Charge the increase of usage, raw, where the feature has a rate then; usage that falls gives nothing back."""
    currency = None if rate is None else catalog.currencies.get(rate.currency_id)
    if rate is None or currency is None or risen <= 0:
        return
    cost = credits_for(risen, feature.scale, rate.amount, currency.scale)
    if cost:
        charge(
            tx,
            catalog,
            snapshot,
            customer_id=customer_id,
            resource_id=resource_id,
            currency_id=currency.id,
            cost=cost,
            at_ms=at_ms,
            feature_id=feature.id,
            measurement_id=measurement_id,
        )


def settle(tx: Tx, catalog: Catalog, snapshot: CustomerSnapshot, customer_id: str) -> list[Grant]:
    """Move every debt of the customer to what could be spent until now; returns the grants as they are then."""
    stored = load_grants(tx, customer_id)
    for debt in [grant for grant in stored if is_debt(grant)]:
        holds = load_holds(tx, customer_id)
        settled = settle_debt(catalog, snapshot, stored, debt, at_ms=tx.now_ms, holds=holds)
        _put_changed(tx, customer_id, stored, settled, TRANSFERRED)
        stored = load_grants(tx, customer_id)
    return stored


def _put_changed(
    tx: Tx,
    customer_id: str,
    stored: Iterable[Grant],
    burned: Burn,
    kind: str,
    *,
    feature_id: str = "",
    measurement_id: str = "",
) -> None:
    known = {grant.id: grant for grant in stored}
    taken = dict(burned.taken)
    for grant in burned.changed:
        if grant == known.get(grant.id):
            continue
        if grant.grant_type == "RECURRING" and grant.id not in known:
            put_grant(tx, customer_id, replace(grant, consumed=0), GRANTED, grant.amount)
        amount = -taken.get(grant.id, 0)
        if kind == TRANSFERRED and grant.grant_type == "OVERDRAFT":
            paid = known[grant.id].consumed - grant.consumed
            put_grant(tx, customer_id, grant, TRANSFERRED_FROM if paid else UPDATED, paid)
            continue
        put_grant(tx, customer_id, grant, kind, amount, feature_id=feature_id, measurement_id=measurement_id)


def follow_sources(
    tx: Tx,
    catalog: Catalog,
    customer_id: str,
    before: CustomerSnapshot | None,
    after: CustomerSnapshot,
    *,
    replaced: dict[str, str] | None = None,
) -> None:
    """Bring counters and recurring grants in line with changed sources.

    Args:
        before: The sources until now; None for a new customer.
        after: The sources from now on.
        replaced: Subscription ended by this change -> the one that goes on with its cycle; consumption moves over.
    """
    if before is not None:
        settle(tx, catalog, before, customer_id)
        _follow_counters(tx, catalog, customer_id, before, after)
    _follow_recurring(tx, catalog, customer_id, before, after, replaced or {})
    settle(tx, catalog, after, customer_id)


def follow_meters(
    tx: Tx, catalog: Catalog, customer_id: str, snapshot: CustomerSnapshot, changed: frozenset[str]
) -> None:
    """Bring the counters of features in line whose meters the catalog has changed, by what is in the logs."""
    _follow_counters(tx, catalog, customer_id, snapshot, snapshot, changed)


def _follow_counters(
    tx: Tx,
    catalog: Catalog,
    customer_id: str,
    before: CustomerSnapshot,
    after: CustomerSnapshot,
    changed: frozenset[str] = frozenset(),
) -> None:
    logs, fed = tx.has_measurements(customer_id), metering.fed(tx, catalog, customer_id)
    if not logs and not fed:
        return
    counted: list[CounterKey] = []
    kept: dict[CounterKey, int] = {(row[0], row[1], row[2], row[3]): row[4] for row in tx.counters(customer_id)}
    counters: dict[CounterKey, int] = {}
    for resource_id, feature_id in sorted(logs | fed.keys()):
        feature = catalog.features.get(feature_id)
        meter = fed.get((resource_id, feature_id))
        if feature is None or (meter is None and feature.meter is not None):
            continue
        old, new = (_windows(tx, catalog, snapshot, feature, resource_id) for snapshot in (before, after))
        for from_ms, to_ms in new:
            key = resource_id, feature_id, from_ms, to_ms
            # A window that was kept up to now needs no fold; without a row nothing was reported in it.
            is_kept = (from_ms, to_ms) in old and feature_id not in changed
            if is_kept:
                usage = kept.get(key, 0)
            elif meter is None:
                usage = fold_log(tx, feature, customer_id, resource_id, from_ms, to_ms)
            else:
                usage = metering.fold_window(tx, meter, customer_id, key)
            if meter is not None:
                counted.append(key)
            if usage or key in kept:
                counters[key] = usage
    if fed:
        metering.keep_only(tx, customer_id, counted)
    if counters != kept:
        grants = tx.grants(customer_id)
        tx.rebuild_numbers(customer_id, [(*key, usage) for key, usage in counters.items()], grants)


def _windows(
    tx: Tx, catalog: Catalog, snapshot: CustomerSnapshot, feature: Feature, resource_id: str
) -> set[tuple[int, int]]:
    """The intervals that hold now; also those of the time that is sure, where the wall clock ran ahead of it."""
    return {
        window
        for at_ms in {tx.now_ms, tx.mark_ms}
        for window in counting_windows(
            catalog, snapshot, feature, resource_id=resource_id, at_ms=at_ms, now_ms=tx.mark_ms
        )
    }


def _follow_recurring(
    tx: Tx,
    catalog: Catalog,
    customer_id: str,
    before: CustomerSnapshot | None,
    after: CustomerSnapshot,
    replaced: dict[str, str],
) -> None:
    """Store what computing from the new sources would no longer give.

    That is the most issued in the period, the last period of what ends now (a late event may still burn it), and
    what moves to an heir. A recurring grant that is whole needs no row: whoever reads computes it.
    """
    stored = {grant.id: grant for grant in load_grants(tx, customer_id)}
    prior, fresh = (recurring_now(tx, catalog, snapshot) for snapshot in (before, after))
    # Credits that a running subscription gave stay for their period, also where it gives no more of them.
    alive = {
        source.subscription_id
        for source in after.sources
        if isinstance(source, SubscriptionSource) and source.start_ms <= tx.now_ms < source.end_ms
    }
    consumed: dict[tuple[str, str, str], int] = {}
    for grant in stored.values():
        if grant.grant_type != "RECURRING" or grant.source in alive or grant.expire_ms <= tx.now_ms:
            continue
        put_grant(tx, customer_id, replace(grant, expire_ms=tx.now_ms), UPDATED, 0)
        heir = replaced.get(grant.source)
        if heir is not None:
            key = heir, grant.currency_id, _cadence(grant)
            consumed[key] = consumed.get(key, 0) + grant.consumed
    for grant in prior.values():
        known = stored.get(grant.id)
        issued = 0 if known is None else known.amount
        most = max(issued, grant.amount)
        given = fresh[grant.id].amount if grant.id in fresh else 0
        if grant.source in alive and given < most and issued < most:
            put_grant(tx, customer_id, replace(known or grant, amount=most), GRANTED, most - issued)
        elif grant.source not in alive and known is None and grant.effective_ms < tx.now_ms:
            put_grant(tx, customer_id, replace(grant, expire_ms=tx.now_ms), GRANTED, grant.amount)
    for grant in fresh.values():
        moved = min(grant.amount, consumed.get((grant.source, grant.currency_id, _cadence(grant)), 0))
        if moved and grant.id not in stored:
            put_grant(tx, customer_id, replace(grant, consumed=moved), GRANTED, grant.amount)


def recurring_now(tx: Tx, catalog: Catalog, snapshot: CustomerSnapshot | None) -> dict[str, Grant]:
    """The recurring grants that a snapshot gives now, in all its wallets, by id."""
    found: dict[str, Grant] = {}
    if snapshot is None:
        return found
    for resource_id in ("", *snapshot.resource_ids):
        grants, _, _ = recurring_grants(catalog, snapshot, resource_id=resource_id, currency_id=None, at_ms=tx.now_ms)
        found |= {grant.id: grant for grant in grants}
    return found


def _cadence(grant: Grant) -> str:
    return grant.id.rsplit(":", 2)[1]


def rebuild_from_logs(tx: Tx, catalog: Catalog, snapshot: CustomerSnapshot, customer_id: str) -> None:
    """Replace all counters and grants of a customer by what the logs give.

    Raises:
        StoreCorrupt: The logs do not match their digest, or do not give what is intact of the numbers.
    """
    tx.verify_log(customer_id)
    counters: list[tuple[str, str, int, int, int]] = []
    measured, fed = tx.has_measurements(customer_id), metering.fed(tx, catalog, customer_id)
    tx.delete_all_meters(customer_id)
    for resource_id, feature_id in sorted(measured | fed.keys()):
        feature = catalog.features.get(feature_id)
        meter = fed.get((resource_id, feature_id))
        if feature is None or (meter is None and feature.meter is not None):
            continue
        for from_ms, to_ms in _windows(tx, catalog, snapshot, feature, resource_id):
            if meter is None:
                usage = fold_log(tx, feature, customer_id, resource_id, from_ms, to_ms)
            else:
                usage = metering.fold_window(tx, meter, customer_id, (resource_id, feature_id, from_ms, to_ms))
            counters.append((resource_id, feature_id, from_ms, to_ms, usage))
    grants = rebuild(_entry_decoder.decode(row.body) for row in tx.ledger(customer_id))
    bodies = {grant.id: encode(grant) for grant in grants.values()}
    # Where the digest over the log was damaged and made anew, rows of the log that cannot be reached any more show
    # nowhere else than here.
    known = {counter[:4]: counter[4] for counter in counters}
    intact_counters, intact_grants = tx.intact_numbers(customer_id)
    # A set that lost a member may have counted it twice: there the log alone is right.
    measured |= fed.keys()
    sets = {pair for pair, item in fed.items() if item.meter.is_set}
    if any(
        known.get(key, value if key[:2] in measured else 0) != value
        for key, value in ((counter[:4], counter[4]) for counter in intact_counters if counter[:2] not in sets)
    ) or any(bodies.get(grant_id) != body for grant_id, body in intact_grants):
        raise StoreCorrupt(f"the log of customer `{customer_id[:80]}` is not whole", hint="restore a copy of the file")
    tx.rebuild_numbers(customer_id, counters, list(bodies.items()), _known_holds(tx, customer_id))


def _known_holds(tx: Tx, customer_id: str) -> list[tuple[str, int, bytes]]:
    """The reservations that count: whose rows are whole, and those that only the stored replies know of.

    Raises:
        StoreCorrupt: One may count of which both are damaged.
    """
    found = {hold_id: (expire_ms, body) for hold_id, expire_ms, body in tx.intact_holds(customer_id)}
    for hold_id, reply in tx.replies(customer_id, RESERVE, tx.mark_ms - TTL_S_MAX * 1000):
        if hold_id in found or any(tx.idempotency(operation, hold_id) for operation in (SETTLE, RELEASE)):
            continue
        if reply is None:
            raise StoreCorrupt(
                f"whether customer `{customer_id[:80]}` holds `{hold_id[:80]}` is not known", hint="restore a backup"
            )
        hold = stored_reservation(reply).hold
        if hold.expire_ms > tx.mark_ms:
            found[hold_id] = hold.expire_ms, encode(hold)
    return [(hold_id, expire_ms, body) for hold_id, (expire_ms, body) in sorted(found.items())]
