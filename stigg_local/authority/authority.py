"""The embedded authority: decides in process, on one store. Its parts hold the commands."""

from stigg_local.authority.audit import Audit
from stigg_local.authority.consumption import Consumption
from stigg_local.authority.credits import Credits
from stigg_local.authority.customers import Customers
from stigg_local.authority.events import Events
from stigg_local.authority.history import History
from stigg_local.authority.payments import Payments
from stigg_local.authority.promotions import Promotions
from stigg_local.authority.reservations import Reservations
from stigg_local.authority.retention import Retention
from stigg_local.authority.run import Runner
from stigg_local.authority.subscriptions import Subscriptions
from stigg_local.authority.tick import Maintenance
from stigg_local.authority.usage import Usage
from stigg_local.store.catalog import CatalogReader
from stigg_local.store.store import Store


class Authority:
    """Customers, subscriptions, payments, promotional entitlements, usage and credits of one store."""

    def __init__(self, store: Store, catalogs: CatalogReader, *, usage_retention_days: int | None = None) -> None:
        runner = Runner(store, catalogs)
        self.runner = runner
        self.payments = Payments(runner)
        self.subscriptions = Subscriptions(runner, self.payments)
        self.customers = Customers(runner, self.payments)
        self.promotions = Promotions(runner)
        self.usage = Usage(runner)
        self.events = Events(runner)
        self.history = History(runner)
        self.retention = Retention(runner, usage_retention_days)
        self.consumption = Consumption(runner)
        self.reservations = Reservations(runner)
        self.credits = Credits(runner)
        self.audit = Audit(runner)
        self.maintenance = Maintenance(runner, self.payments)
