"""Every way of writing, with the Nth operation of the disk failing for every N, once and for ever.

Run as `python -m tests.faults.nth '{"paths": […], "faults": […], "stride": 1}'`; it prints one line of JSON. A call
either returned, and then it happened, or raised one of our errors, and then it happened wholly or not at all; after
the fault the same call with the same key makes it happen once, in the same process.
"""

import json
import os
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from stigg_local import Stigg, StiggError
from stigg_local.doctor import examine
from stigg_local.store import upkeep
from stigg_local.store.commit import Member
from stigg_local.testing import ManualClock
from tests.faults.disk import FaultVFS, Plan
from tests.shell.clients import CATALOG, NOON

NTH_MAX = 200
Call = Callable[[Stigg, int], object]
# What a call changed, as a number that can be counted; and how much one call adds to it.
Count = Callable[[Stigg], int | float]


def usage(client: Stigg, feature: str = "feature-calls") -> int | float:
    return client.get_metered_entitlement("customer-1", feature).current_usage


def credits_granted(client: Stigg) -> int | float:
    granted = client.get_credit_entitlement("customer-1", "currency-ai").total_granted
    assert granted is not None
    return granted


def customers(client: Stigg, prefix: str) -> int:
    assert client._embedded is not None
    return client._embedded.store.read(lambda tx: sum(one.startswith(prefix) for one in tx.customer_ids("", 100_000)))


def published(client: Stigg) -> int:
    """How often the plan was published anew: each time its limit is one more."""
    limit = client.get_metered_entitlement("customer-1", "feature-calls").usage_limit
    assert limit is not None
    return round(limit) - 100


def catalog_of(number: int) -> dict[str, Any]:
    """A catalog whose plan allows one more call than the one before."""
    catalog: dict[str, Any] = json.loads(json.dumps(CATALOG))
    catalog["plans"][0]["entitlements"][3]["usageLimit"] = 101 + number
    return catalog


def archived(client: Stigg) -> int:
    client.reload_entitlements("old-0")
    assert client._embedded is not None
    store = client._embedded.store
    return store.read(
        lambda tx: sum(
            one.startswith("old-") and '"archived' in (tx.customer_record(one) or "")
            for one in tx.customer_ids("", 100_000)
        )
    )


def queued(client: Stigg, number: int) -> None:
    """Three reports that are stored together, in a pack, of which one counts."""
    for place, value in enumerate((0, 1, 0)):
        key = f"queued-{number}-{place}"
        client.report_usage("customer-1", "feature-calls", value, durability="queued", idempotency_key=key)
    assert client._embedded is not None
    client._embedded.store.settle_queued("customer-1")


def checkpointed(client: Stigg, number: int) -> None:
    client.report_usage("customer-1", "feature-calls", 1, idempotency_key=f"checkpoint-{number}")
    client.tick()


PATHS: dict[str, tuple[Call, Count]] = {
    # First, while there are few customers to derive anew.
    "publish": (lambda client, n: client.catalog.apply(catalog_of(n), migrate="all"), published),
    "report": (
        lambda client, n: client.report_usage("customer-1", "feature-calls", 1, idempotency_key=f"report-{n}"),
        usage,
    ),
    "report without a key": (lambda client, n: client.report_usage("customer-1", "feature-calls", 1), usage),
    "report at os": (
        lambda client, n: client.report_usage(
            "customer-1", "feature-calls", 1, idempotency_key=f"os-{n}", durability="os"
        ),
        usage,
    ),
    "queued": (queued, usage),
    "report and checkpoint": (checkpointed, usage),
    "charge": (
        lambda client, n: client.report_usage("customer-1", "feature-images", 1, idempotency_key=f"charge-{n}"),
        lambda client: usage(client, "feature-images"),
    ),
    "grant": (
        lambda client, n: client.grant_credits("customer-1", "currency-ai", 1, idempotency_key=f"grant-{n}"),
        credits_granted,
    ),
    "provision": (
        lambda client, n: client.provision_customer(
            f"new-{n}", subscription_params={"plan_id": "plan-app"}, idempotency_key=f"provision-{n}"
        ),
        lambda client: customers(client, "new-"),
    ),
    "archive": (
        lambda client, n: client.archive_customer(f"old-{n}", idempotency_key=f"archive-{n}"),
        archived,
    ),
    "consume": (
        lambda client, n: client.consume("customer-2", "feature-calls", 1, idempotency_key=f"consume-{n}"),
        lambda client: client.get_metered_entitlement("customer-2", "feature-calls").current_usage,
    ),
    "consume without a key": (
        lambda client, n: client.consume("customer-2", "feature-calls", 1),
        lambda client: client.get_metered_entitlement("customer-2", "feature-calls").current_usage,
    ),
    "bulk": (
        lambda client, n: client.report_usage_bulk(
            [{"customer_id": "customer-1", "feature_id": "feature-calls", "value": 0.5}] * 2,
            idempotency_key=f"bulk-{n}",
        ),
        usage,
    ),
}


class Loop:
    """One client on a disk that fails."""

    def __init__(self, work: Path, stride: int) -> None:
        self.root = work / "disk"
        self.vfs = FaultVFS(str(self.root))
        self.stride = stride
        self.failures: list[str] = []
        self.fired: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.runs = 0
        self.number = 0
        self.numbers: Counter[str] = Counter()
        upkeep.CHECKPOINT_WAL_BYTES = 0
        self.client = Stigg(catalog=CATALOG, data_dir=self.root, clock=ManualClock(NOON))
        for customer in ("customer-1", "customer-2"):
            self.client.provision_customer(customer, subscription_params={"plan_id": "plan-app"})
        self.client.grant_promotional_entitlements(
            "customer-2", [{"feature_id": "feature-calls", "is_unlimited": True}]
        )
        self.client.grant_credits("customer-1", "currency-ai", 100_000)
        assert self.client._embedded is not None
        self.store = self.client._embedded.store
        assert self.store._keeper is not None
        # What the leader does in the meantime would be counted, too.
        self.store._keeper.stop()

    def go(self, path: str, fault: str, *, is_persistent: bool) -> None:
        """Fail the Nth operation for every N that the call still meets."""
        call, count = PATHS[path]
        name = f"{path}, {fault}{' for ever' if is_persistent else ''}"
        for nth in range(1, NTH_MAX, self.stride if path != "publish" else 4 * self.stride):
            self.number = self.numbers[path]
            self.numbers[path] += 1
            if path == "archive":
                self.client.provision_customer(f"old-{self.number}", subscription_params={"plan_id": "plan-app"})
            if fault == "open EIO":
                self._close_connections()
            before = count(self.client)
            self.vfs.plan.arm(fault, nth, is_persistent=is_persistent)
            error = self._try(call)
            self._reads_are_served(path)
            fired = self.vfs.plan.fired
            self.vfs.plan.disarm()
            try:
                self._settle(call, count, before, error, has_key="without a key" not in path)
            except Exception:
                self.failures.append(f"{name}, operation {nth}, {error!r}: {traceback.format_exc(limit=6)}")
                return
            self.runs += 1
            if not fired:
                return
            self.fired[name] += fired

    def _try(self, call: Call) -> Exception | None:
        try:
            call(self.client, self.number)
        except StiggError as error:
            self.errors[error.code] += 1
            return error
        except Exception as error:
            self.failures.append(f"an error that is not ours: {traceback.format_exc(limit=6)}")
            return error
        return None

    def _reads_are_served(self, path: str) -> None:
        """With the fault still there: from memory, and from the file where the fault leaves it readable."""
        answer = self.client.get_metered_entitlement("customer-2", "feature-calls")
        if answer.is_fallback:
            self.failures.append(f"{path}: a read was not served, {self.client.status().last_error}")

    def _settle(self, call: Call, count: Count, before: float, error: Exception | None, *, has_key: bool) -> None:
        now = count(self.client)
        assert now in (before, before + 1), f"{before} became {now}"
        if error is None:
            assert now == before + 1, "it returned and did not happen"
        if not has_key:
            # Another call, which happens once more.
            before = now
        # With a key it is the same call: it happens once, without a restart.
        call(self.client, self.number)
        if self.store.queue is not None:
            self.store.queue.flush(10)
        now = count(self.client)
        assert now == before + 1, f"{before} became {now} after repeating"

    def _close_connections(self) -> None:
        stop = Member()
        assert self.store._commit.pause(stop)
        self.store._writer.retire()
        self.store._commit.resume(stop)

    def end(self) -> None:
        """Nothing is torn: every digest, sum and log agrees."""
        found = [one for one in examine(self.root, clock=ManualClock(NOON)).findings if one.severity == "error"]
        self.failures += [str(one) for one in found]


def main() -> None:
    """The loops that the first argument asks for."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    sys.unraisablehook = lambda unraisable: None
    apsw.config(apsw.SQLITE_CONFIG_LOG, lambda code, message: None)
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    work = tempfile.mkdtemp(prefix="stigg-nth-", dir=shared)
    loop = Loop(Path(work), asked["stride"])
    for path in asked["paths"] or [path for path in PATHS if path != "bulk" or hasattr(Stigg, "report_usage_bulk")]:
        for fault in asked["faults"] or Plan.ERRORS:
            for is_persistent in (False, True):
                loop.go(path, fault, is_persistent=is_persistent)
    loop.end()
    told = {"runs": loop.runs, "fired": dict(loop.fired), "errors": dict(loop.errors), "failures": loop.failures}
    print(json.dumps(told), flush=True)
    shutil.rmtree(work, ignore_errors=True)
    os._exit(1 if loop.failures else 0)


if __name__ == "__main__":
    main()
