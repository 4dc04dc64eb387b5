"""The index of subscriptions against the customers' records: no sum covers its rows, so one could be missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from stigg_local.core.ids import told
from stigg_local.store.examine_rows import PROGRESS_ROWS, Progress
from stigg_local.store.finding import Findings

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

_OWNERS = "SELECT environment, subscription_id, customer_id FROM subscription_owner"
_RECORDS = "SELECT environment, customer_id, body FROM customer_record"


class _Subscription(Struct):
    id: str


class _Record(Struct):
    subscriptions: tuple[_Subscription, ...] = ()


def examine_owners(
    connection: apsw.Connection, findings: Findings, counts: dict[str, int], progress: Progress, hint: str
) -> None:
    """Look every recorded subscription up.

    Args:
        counts: Rows by table, for the progress.
        hint: The way out.
    """
    if {"subscription_owner", "customer_record"} - counts.keys():
        return
    record_of = msgspec.json.Decoder(_Record).decode
    total = counts["customer_record"]
    try:
        owners = {(row[0], row[1]): row[2] for row in connection.execute(_OWNERS)}
        for done, (environment, customer_id, body) in enumerate(connection.execute(_RECORDS)):
            if done % PROGRESS_ROWS == 0:
                progress("subscriptions", done, total)
            for subscription in record_of(str(body)).subscriptions:
                if owners.get((environment, subscription.id)) != customer_id:
                    findings.add(
                        "OwnerDiffers",
                        "error",
                        f"the index of subscriptions does not lead from it to customer `{told(customer_id)}`",
                        where=f"subscription_owner: {told(environment)}, {told(subscription.id)}",
                        hint=hint,
                    )
    except msgspec.MsgspecError as error:
        findings.add(
            "RecordUnknown",
            "error",
            f"a customer's record is whole but cannot be understood: {error}",
            where="customer_record",
            hint="use the version of this package that wrote it, or a later one",
        )
    except (apsw.Error, UnicodeDecodeError):
        # The pass over the rows told what cannot be read, and where.
        return
