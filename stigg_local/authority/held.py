"""What is held: listing reservations, and forgetting the rows of those that ended by themselves.

Law: a row that is forgotten counted no longer, so that forgetting it changes no answer, and doing so twice nothing.
"""

from collections.abc import Callable, Iterable

from stigg_local.authority import numbers
from stigg_local.authority.run import Runner
from stigg_local.clock import new_id
from stigg_local.core.consume_result import ReservationRow
from stigg_local.core.customer import CustomerSnapshot
from stigg_local.core.hold import Hold, is_active
from stigg_local.core.quantity import from_raw
from stigg_local.core.sources import Catalog
from stigg_local.errors import StiggError, StoreCorrupt
from stigg_local.store.tx import Tx

# Customers at a look of the maintenance tick, which has other things to do.
CUSTOMERS_MAX = 100


def rows(runner: Runner, tx: Tx, customer_id: str) -> tuple[ReservationRow, ...]:
    """What is held for a customer now, soonest over first.

    Raises:
        NotFound: The customer does not exist.
    """
    catalog = runner.catalog(tx)
    runner.snapshot(tx, customer_id, None)
    holds = [hold for hold in numbers.load_holds(tx, customer_id) if is_active(hold, tx.now_ms)]
    return tuple(
        _row(catalog, customer_id, hold) for hold in sorted(holds, key=lambda hold: (hold.expire_ms, hold.id))
    )


def has_ended(tx: Tx, hold: Hold) -> bool:
    """True where the hold is surely over, also for a clock that may come back."""
    return hold.expire_ms <= min(tx.now_ms, tx.mark_ms)


def forget(tx: Tx, catalog: Catalog, snapshot: CustomerSnapshot, customer_id: str, holds: Iterable[Hold]) -> bool:
    """Forget what of a customer's holds is over; True where something was."""
    ended = [hold for hold in holds if has_ended(tx, hold)]
    if not ended:
        return False
    # What a debt would have had from their ends on is worked out while they are still there.
    numbers.settle(tx, catalog, snapshot, customer_id)
    for hold in ended:
        tx.delete_hold(customer_id, hold.id)
    return True


def forget_ended(runner: Runner) -> int:
    """Forget the holds that are over of at most `CUSTOMERS_MAX` customers; returns of how many.

    Where the clock cannot be believed nothing is forgotten: its return would bring them back.
    """
    store = runner.store
    now_ms = store.now_ms()
    if store.is_clock_suspect or store.is_readonly:
        return 0
    customers = store.read(lambda tx: tx.customers_with_holds_before(now_ms, CUSTOMERS_MAX))
    done = 0
    for customer_id in customers:
        try:
            # Losing this to a power cut loses nothing, so it does not wait for the disk.
            done += store.write(_forgetting(runner, customer_id), operation="forget", key=new_id(), durability="os")
        except StoreCorrupt:
            try:
                runner.repair(customer_id)
            except StiggError:
                # Whoever asks for this customer gets the error; the others are not held up by it.
                continue
    return done


def snapshot_of(runner: Runner, tx: Tx, customer_id: str) -> CustomerSnapshot:
    """The snapshot of a customer who has a hold, archived or not."""
    body = tx.customer_snapshot(customer_id)
    if body is None:
        raise StoreCorrupt(f"customer `{customer_id}` has a reservation and no row", hint="restore a backup")
    return runner.decoded(body)


def _forgetting(runner: Runner, customer_id: str) -> Callable[[Tx], int]:
    def decide(tx: Tx) -> int:
        holds = numbers.load_holds(tx, customer_id)
        return int(forget(tx, runner.catalog(tx), snapshot_of(runner, tx, customer_id), customer_id, holds))

    return decide


def _row(catalog: Catalog, customer_id: str, hold: Hold) -> ReservationRow:
    currency, feature = catalog.currencies.get(hold.currency_id), catalog.features.get(hold.feature_id)
    item = feature or currency
    has_credits = bool(hold.feature_id) and currency is not None and hold.cost > 0
    return ReservationRow(
        id=hold.id,
        customer_id=customer_id,
        resource_id=hold.resource_id or None,
        feature_id=hold.feature_id or None,
        currency_id=hold.currency_id or None,
        amount=from_raw(hold.amount, 0 if item is None else item.scale),
        credits=from_raw(hold.cost, currency.scale) if has_credits and currency is not None else None,
        start_ms=hold.start_ms,
        expire_ms=hold.expire_ms,
    )
