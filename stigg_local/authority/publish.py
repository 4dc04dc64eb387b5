"""Publishing a catalog: what is stored is compared with it and changed in one transaction.

Laws: the same catalog twice changes nothing; published versions never change; all or nothing.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from stigg_local.authority.authority import Authority
from stigg_local.authority.catalog_diff import Change, Publish, plan_publish
from stigg_local.authority.catalog_file import LoadedCatalog
from stigg_local.authority.run import Runner
from stigg_local.clock import new_id
from stigg_local.core.catalog import CatalogFile
from stigg_local.core.change import entitled_to_latest
from stigg_local.core.customer import Customer
from stigg_local.core.event import CATALOG_KINDS, CREATED, DELETED, UPDATED, Event
from stigg_local.core.place import is_over
from stigg_local.core.sources import Catalog
from stigg_local.errors import CatalogInvalid, InvalidInput
from stigg_local.store.catalog import ORDER_KIND, decode_item
from stigg_local.store.store import Store
from stigg_local.store.tx import Tx

DUE_PAGE = 500
_encode = msgspec.json.Encoder(order="deterministic").encode


class Applied(Struct, frozen=True, kw_only=True, rename="camel"):
    """What applying a catalog did.

    Attributes:
        changes: Every difference, in catalog order; empty where nothing changed.
        migrated: Customers whose entitlements the change moved at once.
    """

    changes: tuple[Change, ...]
    migrated: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return dict(msgspec.to_builtins(self))


def diff(store: Store, loaded: LoadedCatalog) -> Publish:
    """What applying would change."""
    return store.read(lambda tx: _plan(tx, loaded))


def apply(
    store: Store,
    authority: Authority,
    loaded: LoadedCatalog,
    *,
    migrate: Literal["new", "all"],
    once: bool = False,
) -> Applied:
    """Publish a catalog in one transaction.

    Args:
        migrate: "new" leaves existing subscriptions on their versions; "all" moves them to the latest, for
            entitlements and never for prices, what older publishes left behind included.
        once: Do nothing where this content was applied before.

    Raises:
        CatalogInvalid: It tries to change what never changes, for example a feature's type.
        InvalidInput: It is of another environment.
    """
    if loaded.catalog.environment != store.environment:
        raise InvalidInput(
            f"the catalog is of the environment `{loaded.catalog.environment}`, the store of `{store.environment}`",
            hint="use one directory for each environment",
        )

    def work(tx: Tx) -> Applied:
        if once and tx.catalog_file_applied(loaded.hash):
            return Applied(changes=())
        publish = _plan(tx, loaded)
        if publish.problems:
            raise CatalogInvalid(
                f"the catalog changes what never changes: {publish.problems[0]}",
                problems=tuple(publish.problems),
            )
        # What time has done by now was done under the catalog that held then.
        runner = authority.runner
        while runner.settle_due(tx, runner.catalog(tx), now_ms=min(tx.now_ms, tx.mark_ms), limit=DUE_PAGE):
            continue
        before = {item.id: item.meter for item in runner.catalog(tx).features.values()}
        known = {row[:2] for row in tx.catalog_items()}
        for kind, item_id, version, record in publish.puts:
            tx.put_catalog_item(kind, item_id, version, _encode(record).decode())
            _tell(runner, tx, kind, UPDATED if (kind, item_id) in known else CREATED, item_id, version)
        gone = set(publish.removed)
        for kind, item_id in publish.removed:
            _tell(runner, tx, kind, DELETED, item_id, None)
        for kind, item_id, version, _ in tx.catalog_items():
            if (kind, item_id) in gone:
                tx.delete_catalog_item(kind, item_id, version)
        order = _encode(_order(loaded.catalog)).decode()
        if (ORDER_KIND, "catalog", 1, order) not in tx.catalog_items():
            tx.put_catalog_item(ORDER_KIND, "catalog", 1, order)
        tx.put_catalog_file(loaded.hash, loaded.name)
        moved: tuple[str, ...] = ()
        if publish.puts or gone or migrate == "all":
            catalog = _compiled(tx)
            move = (lambda customer: _moved(customer, catalog, tx.now_ms)) if migrate == "all" else None
            moved = runner.derive_all(tx, catalog, move)
            changed = frozenset(
                item.id for item in catalog.features.values() if item.meter != before.get(item.id, item.meter)
            ) | frozenset(item.id for item in catalog.features.values() if item.meter and item.id not in before)
            if changed:
                runner.follow_meters(tx, catalog, changed)
        return Applied(changes=tuple(publish.changes), migrated=moved)

    return authority.runner.write(work, operation="applyCatalog", key=new_id())


def _tell(runner: Runner, tx: Tx, kind: str, what: str, item_id: str, version: int | None) -> None:
    """The event of one published thing, of the kinds that the field has events for."""
    if kind not in CATALOG_KINDS:
        return
    data = {"id": item_id} if version is None else {"id": item_id, "version": str(version)}
    feature_id = item_id if kind == "feature" else None
    runner.tell(tx, Event(type=f"{kind}.{what}", customer_id="", at_ms=tx.now_ms, feature_id=feature_id, data=data))


def _plan(tx: Tx, loaded: LoadedCatalog) -> Publish:
    stored = [row for row in tx.catalog_items() if row[0] != ORDER_KIND]
    return plan_publish(stored, loaded.catalog, file=loaded.name)


def _compiled(tx: Tx) -> Catalog:
    rows = [row for row in tx.catalog_items() if row[0] != ORDER_KIND]
    return Catalog((kind, decode_item(kind, body)) for kind, _, _, body in rows)


def _order(catalog: CatalogFile) -> dict[str, list[str]]:
    return {
        "feature": [item.id for item in catalog.features],
        "creditCurrency": [item.id for item in catalog.credit_currencies],
        "product": [item.id for item in catalog.products],
        "plan": [item.id for item in catalog.plans],
        "addon": [item.id for item in catalog.addons],
        "coupon": [item.id for item in catalog.coupons],
    }


def _moved(customer: Customer, catalog: Catalog, now_ms: int) -> Customer:
    """The customer with everything that has not ended on the latest entitlements; prices stay."""
    return replace(
        customer,
        subscriptions=tuple(
            item if is_over(item, now_ms) else entitled_to_latest(item, catalog) for item in customer.subscriptions
        ),
    )
