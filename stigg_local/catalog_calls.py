"""`client.catalog`: apply, diff, validate and show."""

import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from stigg_local.authority.catalog_draft import Problem
from stigg_local.authority.catalog_file import load, validate
from stigg_local.authority.publish import Applied, apply, diff
from stigg_local.core.ids import told
from stigg_local.embedded import Embedded
from stigg_local.errors import InvalidInput

CatalogInput = str | os.PathLike[str] | Mapping[str, Any]


class CatalogCalls:
    """The catalog of an embedded client."""

    def __init__(self, embedded: Embedded, changed: Callable[[str], None]) -> None:
        self._embedded = embedded
        self._changed = changed

    def apply(self, catalog: CatalogInput, *, migrate: str = "new") -> Applied:
        """Publish a catalog; the same one twice changes nothing.

        Args:
            catalog: Path of a TOML or JSON file, or a mapping.
            migrate: "new" leaves existing subscriptions on the versions that they have; "all" moves them to the
                latest entitlements (never prices), also where older publishes left them behind.

        Returns:
            `.changes`, every difference; `.migrated`, the customers whose entitlements moved at once.

        Raises:
            CatalogInvalid: With all mistakes in `.problems`; nothing was changed.
        """
        how: Literal["new", "all"]
        if migrate == "new":
            how = "new"
        elif migrate == "all":
            how = "all"
        else:
            raise InvalidInput(f"migrate is `{told(migrate)}`", hint='"new" or "all"')
        applied = apply(self._embedded.store, self._embedded.authority, load(catalog), migrate=how)
        for customer_id in applied.migrated:
            self._changed(customer_id)
        return applied

    def diff(self, catalog: CatalogInput) -> Applied:
        """What `apply` would change, with nothing changed.

        Raises:
            CatalogInvalid: With all mistakes in `.problems`.
        """
        return Applied(changes=tuple(diff(self._embedded.store, load(catalog)).changes))

    def validate(self, catalog: CatalogInput) -> list[Problem]:
        """Everything that is wrong with a catalog; an empty list for a good one."""
        return validate(catalog)

    def show(self) -> dict[str, Any]:
        """The catalog in force: latest versions, in catalog order, as JSON can hold it."""
        catalog = self._embedded.catalog()
        plans: list[dict[str, Any]] = []
        addons: list[dict[str, Any]] = []
        for package_id, version in catalog.latest.items():
            package = catalog.packages[package_id, version].version
            body = msgspec.to_builtins(package.package, str_keys=True) | {"version": version}
            (plans if package.plan is not None else addons).append(body)
        return {
            "environment": self._embedded.store.environment,
            "features": [msgspec.to_builtins(item) for item in catalog.features.values()],
            "creditCurrencies": [msgspec.to_builtins(item) for item in catalog.currencies.values()],
            "products": [msgspec.to_builtins(item) for item in catalog.products.values()],
            "plans": plans,
            "addons": addons,
        }
