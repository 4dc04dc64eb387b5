"""Customers whose ids a person takes for each other: often one customer whose usage is counted as two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stigg_local.core.ids import told
from stigg_local.core.lookalike import skeleton
from stigg_local.store.finding import Findings

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

SHOWN_MAX = 5
# What damage made of an id may be anything.
_IDS = (
    "SELECT environment, customer_id FROM customer WHERE typeof(environment) = 'text' AND typeof(customer_id) = 'text'"
)


def examine_ids(connection: apsw.Connection, findings: Findings) -> None:
    """Note every group of look-alikes. Two passes, so that of all others only a number is held in memory."""
    once: set[int] = set()
    twice: set[int] = set()
    for look, _, _ in _customers(connection):
        (twice if look in once else once).add(look)
    groups: dict[tuple[str, str], list[str]] = {}
    if twice:
        for look, environment, customer_id in _customers(connection):
            if look in twice:
                groups.setdefault((environment, skeleton(customer_id)), []).append(customer_id)
    for (environment, _), ids in sorted(groups.items()):
        if len(ids) > 1:
            shown = ", ".join(f"`{ascii(name)[1:-1]}`" for name in sorted(ids)[:SHOWN_MAX])
            findings.add(
                "LookAlikeIds",
                "note",
                f"{len(ids)} customers look alike: {shown}",
                where=f"customer: {told(environment)}",
                hint="make sure that they are meant to be different customers",
            )


def _customers(connection: apsw.Connection) -> Iterator[tuple[int, str, str]]:
    try:
        for environment, customer_id in connection.execute(_IDS):
            yield hash((environment, skeleton(customer_id))), environment, customer_id
    except (apsw.Error, UnicodeDecodeError):
        # The pass over the rows told what cannot be read.
        return
