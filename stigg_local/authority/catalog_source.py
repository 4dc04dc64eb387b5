"""The catalog that a constructor names: applied only if its content never was.

So the old and the new processes of a rolling deploy do not fight. Nothing is parsed where the hash is known, and
what parses and publishes is imported only where there is something to do.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from stigg_local.store.digest import content_hash
from stigg_local.store.store import Store

if TYPE_CHECKING:
    from stigg_local.authority.authority import Authority
    from stigg_local.authority.catalog_file import LoadedCatalog

CatalogInput = str | os.PathLike[str] | Mapping[str, Any]


class CatalogSource(Struct, frozen=True, kw_only=True):
    """A catalog that a constructor names, read only as far as needed."""

    source: CatalogInput
    environment: str
    hash: str
    loaded: "LoadedCatalog | None"

    def is_news(self, store: Store) -> bool:
        """Whether this content was never applied; an older one met again is ignored with a warning."""
        files = store.read(lambda tx: tx.catalog_files())
        if all(item[0] != self.hash for item in files):
            return True
        if files[-1][0] != self.hash:
            from stigg_local.log import logger

            logger().warning(
                "an older catalog was ignored: a newer one was applied since",
                catalog=str(self.source)[:200],
                hint="to go back, apply it explicitly: stigg-local catalog apply",
            )
        return False

    def apply(self, store: Store, authority: "Authority") -> None:
        """Publish it, unless another process was faster."""
        from stigg_local.authority.catalog_file import load
        from stigg_local.authority.publish import apply

        apply(store, authority, self.loaded or load(self.source), migrate="new", once=True)


def apply_once(catalog: CatalogInput, *, environment: str | None, is_new: bool) -> CatalogSource:
    """Look at the catalog of a constructor: its hash alone where a store may know it, all of it for a new store.

    Raises:
        CatalogInvalid: It has mistakes.
        InvalidInput: It is of another environment than the one asked for.
    """
    if not (is_new or isinstance(catalog, Mapping) or environment is None):
        digest = _hash(catalog)
        if digest is not None:
            return CatalogSource(source=catalog, environment=environment, hash=digest, loaded=None)
    from stigg_local.authority.catalog_file import load

    loaded = load(catalog)
    return CatalogSource(
        source=catalog,
        environment=loaded.catalog.environment if environment is None else environment,
        hash=loaded.hash,
        loaded=loaded,
    )


def _hash(path: str | os.PathLike[str]) -> str | None:
    """What `load` gives as `hash`, without parsing; None where reading fails, which `load` explains."""
    try:
        with open(path, "rb") as file:
            return content_hash(file.read())
    except (OSError, TypeError, ValueError):
        return None
