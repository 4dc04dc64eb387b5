"""The maintenance tick of the authority: what time has done is written down, and what it made due is collected.

Law: nothing is wrong because the tick slept, and what it does it does once: each record is looked at again inside
the transaction that writes it.
"""

from stigg_local.authority.payments import Payments
from stigg_local.authority.run import Runner
from stigg_local.clock import new_id
from stigg_local.core.customer import Customer
from stigg_local.store.tx import Tx

# Customers in one transaction: a writer waits no longer than for so many.
PAGE = 50


class Maintenance:
    """What the leader of a directory does for the authority."""

    def __init__(self, runner: Runner, payments: Payments) -> None:
        self._runner = runner
        self._payments = payments

    def settle_due(self, now_ms: int) -> int:
        """Settle a page of customers whose next boundary has been reached; returns how many."""
        runner = self._runner
        open_ids: list[str] = []

        def work(tx: Tx) -> int:
            open_ids.clear()
            catalog = runner.catalog(tx)

            def begin(customer: Customer) -> Customer:
                customer, claimed = self._payments.begin_due(tx, catalog, customer, now_ms=now_ms)
                open_ids.extend(claimed)
                return customer

            charged = begin if runner.charges else None
            return runner.settle_due(tx, catalog, now_ms=now_ms, limit=PAGE, begin=charged)

        count = runner.write(work, operation="settleDue", key=new_id())
        for error in self._payments.collect_due(open_ids):
            from stigg_local.log import logger

            logger().warning(f"a charge could not be collected and will be tried again: {error.message}")
        return count
