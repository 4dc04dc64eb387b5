"""One run on a disk that may lose its power at any instant, and a look into every image of what would be left.

Run as `python -m tests.faults.power '{"seed": 1, …}'`; it prints one line of JSON. The same seed gives the same run.
"""

import json
import os
import random
import shutil
import sys
import tempfile
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import msgspec

from stigg_local import Stigg, StoreError
from stigg_local.core.credit import Grant
from stigg_local.core.ledger import LedgerEntry, rebuild
from stigg_local.store import Store, Tx, upkeep
from stigg_local.testing import ManualClock
from tests.faults.disk import MODES, FaultVFS
from tests.shell.clients import CATALOG, NOON

CUSTOMERS = ("customer-1", "customer-2")
ENVIRONMENT = "production"
SIDE_FILES = ("authority.mark", "generation", "environment")
_grant = msgspec.msgpack.Decoder(Grant)
_entry = msgspec.msgpack.Decoder(LedgerEntry)
# Queued reports that are stored in one transaction.
TOGETHER = 7
# A group of queued reports has a key of its own.
_idempotency = "SELECT key FROM idempotency WHERE operation = 'reportUsage' AND fingerprint <> CAST('queued' AS BLOB)"


class Run:
    """A client at work on the disk, and the oracle.

    Attributes:
        attempted: Keys of reports in their order; what a sound image holds is a beginning of it.
        acknowledged: How many of them returned.
    """

    def __init__(self, work: Path, *, seed: int, level: str, pages: int, share: float, deep: int, lies: bool) -> None:
        self.work = work
        self.level = level
        self.source = random.Random(seed)
        self.share = share
        self.deep = deep
        self.attempted: list[tuple[str, str, int]] = []
        self.acknowledged = 0
        self.images = 0
        self.missing = 0
        self.by_mode = dict.fromkeys(MODES, 0)
        self.deeply = 0
        self.detected = 0
        self.packs = 0
        self.lies = lies
        self.failures: list[str] = []
        self._is_inside = False
        self.root = work / "disk"
        self.vfs = FaultVFS(str(self.root))
        self.clock = ManualClock(NOON)
        upkeep.CHECKPOINT_WAL_BYTES = pages * upkeep.PAGE_BYTES

    def go(self, images: int) -> None:
        """Report until so many images were looked at."""
        client = Stigg(catalog=CATALOG, data_dir=self.root, clock=self.clock)
        for customer in CUSTOMERS:
            client.provision_customer(customer, subscription_params={"plan_id": "plan-app"})
        client.grant_credits("customer-1", "currency-ai", 1_000_000)
        assert client._embedded is not None
        store = client._embedded.store
        assert store._keeper is not None
        # The leader's work is done by hand, so that a seed gives one run.
        store._keeper.stop()
        self.vfs.disk.lies = self.lies
        self.vfs.disk.hook = self._look
        while self.images < images and not self.failures:
            self._report(client)
            store.tick()
        self.vfs.disk.hook = lambda event: None

    def _report(self, client: Stigg) -> None:
        """One report, or at the level `queued` several, which are stored and so acknowledged together."""
        count = TOGETHER if self.level == "queued" else 1
        for _ in range(count):
            self._call(client)
        client.flush()
        self.acknowledged += count
        self.clock.advance(seconds=0.01)

    def _call(self, client: Stigg) -> None:
        number = len(self.attempted)
        key, customer = f"key-{number}", self.source.choice(CUSTOMERS)
        feature = "feature-images" if customer == "customer-1" and number % 3 == 0 else "feature-calls"
        self.attempted.append((key, customer, number % 5 + 1))
        # A report of images costs credits, so that the ledger has its part in every image.
        client.report_usage(
            customer, feature, number % 5 + 1, idempotency_key=key, dimensions={"key": key}, durability=self.level
        )

    def _look(self, event: str) -> None:
        if self._is_inside or self.source.random() > self.share:
            return
        self._is_inside = True
        try:
            mode = self.source.choice(MODES)
            self._check(self.vfs.disk.image(self.source, mode), mode, event)
        except Exception:
            self.failures.append(f"image {self.images} after `{event}`: {traceback.format_exc(limit=6)}")
        finally:
            self._is_inside = False

    def _check(self, image: dict[str, bytes], mode: str, event: str) -> None:
        self.images += 1
        self.by_mode[mode] += 1
        directory = self.work / "image"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700)
        for path, content in image.items():
            # Who writes it with `open` is not SQLite, but nobody has a lock on this copy yet.
            (directory / os.path.basename(path)).write_bytes(content)
        # What beside the database is mapped into memory may be there as it is now, or not at all.
        for name in SIDE_FILES:
            if self.source.random() < 0.5 or name == "environment":
                shutil.copy(self.root / name, directory / name)
        try:
            self._examine(directory, mode, event)
        except StoreError:
            if not self.lies:
                raise
            self.detected += 1

    def _examine(self, directory: Path, mode: str, event: str) -> None:
        is_remembered = (directory / "authority.mark").exists()
        store = Store.open(directory, environment=ENVIRONMENT, clock=self.clock)
        try:
            if store.status()["lost"]:
                # The file was set aside as damaged: a disk that lies is found out, any other must not come to this.
                assert self.lies, f"quarantined after `{event}` in mode {mode}"
                self.detected += 1
                return
            if self.lies and not store.read(lambda tx: set(CUSTOMERS) <= set(tx.customer_ids())):
                # From before the lies began.
                self._is_told(store, event, is_remembered=is_remembered)
                return
            present = store.read(self._present)
            sums = {customer: usage_of(store, customer) for customer in CUSTOMERS}
            for customer in CUSTOMERS:
                store.read(partial(self._ledger, customer))
            if self.lies and len(present) < self.acknowledged:
                self._is_told(store, event, is_remembered=is_remembered)
        finally:
            store.close()
        told = [key for key, _, _ in self.attempted]
        count = len(present)
        assert set(told[:count]) == present, f"not a beginning: {sorted(set(told) ^ present)[:5]} of {count}"
        missing = self.acknowledged - count
        if missing > 0:
            assert self.level == "os" or self.lies, f"{missing} acknowledged are lost after `{event}` in mode {mode}"
            self.missing += 1
        for customer in CUSTOMERS:
            expected = sum(value for _, whose, value in self.attempted[:count] if whose == customer)
            assert expected == sums[customer], f"the counters of {customer} say {sums[customer]} and not {expected}"
        if self.deep and not self.lies and self.images % self.deep == 0:
            self._deeply(directory)

    def _is_told(self, store: Store, event: str, *, is_remembered: bool) -> None:
        """What is missing is told where a file beside the database remembers it."""
        if is_remembered:
            told = store.status()["last_error"] or ""
            assert "were committed here and are not in the file" in told, f"unnoticed after `{event}`: {told}"
            self.detected += 1

    def _present(self, tx: Tx) -> set[str]:
        """The keys whose reports are there, by the idempotency rows and by the log, which agree.

        A disk that lies may lose pages of the rows of keys, which have no sum: then the log is what counts.
        """
        keys = {row[0] for row in tx.run(_idempotency, ())}
        measured: set[str] = set()
        self.packs = max(self.packs, tx.run("SELECT count(*) FROM measurement_pack", ())[0][0])
        for customer in CUSTOMERS:
            tx.verify_log(customer)
            for feature in ("feature-calls", "feature-images"):
                rows = tx.measurements(customer, "", feature, 0, 2**62)
                measured |= {msgspec.msgpack.decode(row.body)["key"] for row in rows}
        for key in keys:
            assert tx.idempotency("reportUsage", key) is not None
        assert self.lies or keys == measured, f"keys and log differ in {sorted(keys ^ measured)[:5]}"
        return measured

    def _ledger(self, customer: str, tx: Tx) -> None:
        """Every grant is what the ledger gives, and what was consumed is what the counted images cost."""
        stored = {grant.id: grant for grant in (_grant.decode(body) for _, body in tx.grants(customer))}
        folded = rebuild(_entry.decode(row.body) for row in tx.ledger(customer))
        assert folded == stored, f"the ledger of {customer} gives other grants"
        consumed = sum(grant.consumed for grant in stored.values())
        images = sum(row.value for row in tx.measurements(customer, "", "feature-images", 0, 2**62))
        assert 10 * images == consumed, f"{images} images and {consumed} credits"

    def _deeply(self, directory: Path) -> None:
        """As a user would: repeating every call with its key counts each once, and the doctor finds no error then."""
        from stigg_local.doctor import examine

        with Stigg(data_dir=directory, clock=self.clock) as client:
            for number, (key, customer, value) in enumerate(self.attempted):
                feature = "feature-images" if customer == "customer-1" and number % 3 == 0 else "feature-calls"
                client.report_usage(
                    customer, feature, value, idempotency_key=key, dimensions={"key": key}, durability="os"
                )
            for customer in CUSTOMERS:
                expected = sum(value for _, whose, value in self.attempted if whose == customer)
                shown = sum(
                    client.get_metered_entitlement(customer, feature).current_usage
                    for feature in ("feature-calls", "feature-images")
                )
                assert expected == shown, f"{shown} of {customer} after repeating, not {expected}"

        # A torn first page is whole in the log, which is what counts; the doctor looks at the page itself, too.
        log = directory / "authority.db-wal"
        has_log = log.exists() and log.stat().st_size > 0
        found = [
            item
            for item in examine(directory, clock=self.clock).findings
            if item.severity == "error" and not (has_log and item.id in ("HeaderDamaged", "NotADatabase"))
        ]
        assert [] == found, found
        self.deeply += 1


def usage_of(store: Store, customer: str) -> int | float:
    """What the counters say, in units."""
    return sum(row[4] for row in store.load_customer(customer).counters) / 10**6


def main() -> None:
    """The run that the first argument describes."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    images = asked.pop("images")
    # Exceptions inside the file system reach SQLite, and Python's hook for what cannot be raised, too.
    sys.unraisablehook = lambda unraisable: None
    apsw.config(apsw.SQLITE_CONFIG_LOG, lambda code, message: None)
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="stigg-power-", dir=shared) as work:
        run = Run(Path(work), **asked)
        try:
            run.go(images)
        except Exception:
            run.failures.append(traceback.format_exc(limit=8))
        told = {
            "images": run.images,
            "by_mode": run.by_mode,
            "missing": run.missing,
            "deeply": run.deeply,
            "detected": run.detected,
            "reports": run.acknowledged,
            "packs": run.packs,
            "counts": dict(run.vfs.disk.counts),
            "failures": run.failures,
        }
        print(json.dumps(told), flush=True)
        # The client is not closed: the power went.
        shutil.rmtree(work, ignore_errors=True)
        os._exit(1 if run.failures else 0)


if __name__ == "__main__":
    main()
