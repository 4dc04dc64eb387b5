"""The compiled catalog of a store, compiled again whenever its stored rows have moved.

One is shared by everything in the process that reads the store. A catalog that does not match its digests is never
compiled: `StoreCorrupt`.
"""

import threading

import msgspec

from stigg_local.core.catalog import ITEM_KINDS, Record
from stigg_local.core.sources import Catalog
from stigg_local.errors import StoreCorrupt
from stigg_local.store.store import Store

# The item that holds the order of the ids in the catalog file, by kind: rows themselves come sorted by id.
ORDER_KIND = "order"

_DECODERS: dict[str, msgspec.json.Decoder[Record]] = {}


def decode_item(kind: str, body: str) -> Record:
    """The record of a stored catalog item.

    Raises:
        StoreCorrupt: The body is not a record of that kind.
    """
    decoder = _DECODERS.get(kind)
    if decoder is None:
        decoder = _DECODERS[kind] = msgspec.json.Decoder(ITEM_KINDS[kind])
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(f"a stored catalog item of the kind `{kind}` cannot be read: {error}") from error


class CatalogReader:
    """Gives the compiled catalog that belongs to a sequence."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._seq = -1
        self._catalog = Catalog(())

    @property
    def seq(self) -> int:
        """The sequence of the compiled catalog; -1 before the first."""
        return self._seq

    @property
    def last(self) -> Catalog:
        """The catalog that was compiled last, empty before the first."""
        return self._catalog

    def at(self, seq: int) -> Catalog:
        """The catalog in force, compiled where a sequence says that the one at hand is another.

        A sequence below the compiled one is not old news: the file may have been replaced by an older copy.

        Raises:
            StoreCorrupt: The stored catalog does not match its digests.
        """
        if seq == self._seq:
            return self._catalog
        with self._lock:
            if seq != self._seq:
                self._compile()
            return self._catalog

    def after_fork(self) -> None:
        """In a child: a lock that another thread held at the fork is never released."""
        self._lock = threading.Lock()

    def _compile(self) -> None:
        seq, _, rows = self._store.load_catalog()
        orders = [body for kind, _, _, body in rows if kind == ORDER_KIND]
        order: dict[str, list[str]] = msgspec.json.decode(orders[0]) if orders else {}
        places = {(kind, item): place for kind, ids in order.items() for place, item in enumerate(ids)}
        kinds = list(ITEM_KINDS)
        listed = sorted(
            (row for row in rows if row[0] != ORDER_KIND),
            key=lambda row: (kinds.index(row[0]), places.get((row[0], row[1]), len(places)), row[1], row[2]),
        )
        self._catalog = Catalog((kind, decode_item(kind, body)) for kind, _, _, body in listed)
        self._seq = seq
