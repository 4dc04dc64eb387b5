"""Telling that usage has crossed a part of its limit.

Laws: of several thresholds that one write crosses only the highest is told; none is told twice in a window, whatever
usage does in it and however often the process starts. Source: semantics §3.4.
"""

from stigg_local.authority.run import Runner
from stigg_local.core.catalog import Feature
from stigg_local.core.entitlement import Winner
from stigg_local.core.event import USAGE_EXCEEDED, Event
from stigg_local.core.quantity import RAW_MAX, from_raw
from stigg_local.core.sources import transformed
from stigg_local.store.tx import Tx


def tell(
    runner: Runner,
    tx: Tx,
    *,
    customer_id: str,
    resource_id: str,
    feature: Feature,
    winner: Winner | None,
    moved: dict[tuple[int, int], tuple[int, int]],
) -> None:
    """Tell the highest threshold that a write has crossed in the window in force now.

    Args:
        winner: What is in force now.
        moved: (from, to) -> (usage before, usage after) of every window that the write has moved, raw.
    """
    if winner is None or not runner.usage_thresholds:
        return
    found = winner.contribution
    before, after = moved.get((winner.from_ms, winner.end_ms), (0, 0))
    limit = found.limit_raw
    if after <= before or found.is_unlimited or not 0 < limit < RAW_MAX or not found.is_granted:
        return
    # What is compared with a limit is usage in the unit of the limit.
    shown = None if feature.unit_transformation is None else transformed(after, feature)
    if found.limit is not None and shown is not None:
        before, after, limit = transformed(before, feature) or 0, shown, int(found.limit)
    if after * 100 < runner.usage_thresholds[0] * limit:
        return
    crossed = max(
        (percent for percent in runner.usage_thresholds if before * 100 < percent * limit <= after * 100), default=0
    )
    if not crossed:
        return
    key = resource_id, feature.id, winner.from_ms, winner.end_ms
    if crossed <= tx.told_threshold(customer_id, key):
        return
    tx.put_threshold(customer_id, key, crossed)
    data = {
        "threshold": str(crossed),
        "usage": str(from_raw(after, feature.scale) if shown is None else shown),
        "usageLimit": str(found.limit),
    }
    if resource_id:
        data["resourceId"] = resource_id
    event = Event(type=USAGE_EXCEEDED, customer_id=customer_id, at_ms=tx.now_ms, feature_id=feature.id, data=data)
    runner.tell(tx, event)
