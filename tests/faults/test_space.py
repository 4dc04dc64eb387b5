"""No room, no right to write, no memory: typed errors, reads go on, and it works again when the cause is gone."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stigg_local import Stigg, StorageFull, StoreError
from tests.shell.clients import CATALOG, start

CUSTOMER, FEATURE = "customer-1", "feature-calls"


def mount(*arguments: str) -> bool:
    return 0 == subprocess.run(["mount", *arguments], capture_output=True).returncode


@contextmanager
def mounted(point: Path, *arguments: str) -> Iterator[Path]:
    """A mount, where this user may make one."""
    point.mkdir(exist_ok=True)
    if not mount(*arguments, str(point)):
        pytest.skip("mounting is not allowed here")
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], capture_output=True)


def usage(client: Stigg) -> int | float:
    answer = client.get_metered_entitlement(CUSTOMER, FEATURE)
    assert not answer.is_fallback
    return answer.current_usage


def test_a_disk_without_room_refuses_writes_serves_reads_and_works_again(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=900k", "tmpfs") as point:
        with Stigg(catalog=CATALOG, data_dir=point / "stigg") as client:
            client.provision_customer(CUSTOMER, subscription_params={"plan_id": "plan-endless"})
            told = 0
            refused = None
            while refused is None and told < 10_000:
                try:
                    client.report_usage(CUSTOMER, FEATURE, 1, idempotency_key=f"key-{told}", durability="os")
                    told += 1
                except StorageFull as error:
                    refused = error
            assert refused is not None
            assert refused.retryable
            assert told > 10
            assert told == usage(client)
            client.reload_entitlements(CUSTOMER)
            assert told == usage(client)
            assert "Full" in str(client.status().last_error)
            # What is queued meanwhile is seen, waits, and is stored when there is room.
            client.report_usage(CUSTOMER, FEATURE, 1, durability="queued")
            assert told + 1 == usage(client)
            with pytest.raises(StoreError, match="not stored"):
                client.flush(0.2)
            # The history is of what is stored.
            points = client.get_usage_history(CUSTOMER, FEATURE, start_date="2020-01-01T00:00:00Z").points
            assert told == points[-1].value
            assert mount("-o", "remount,size=20m", str(point))
            client.flush(30)
            client.report_usage(CUSTOMER, FEATURE, 1, idempotency_key=f"key-{told}")
            assert told + 2 == usage(client)
            assert client.status().last_error is None
        with Stigg(data_dir=point / "stigg") as client:
            assert told + 2 == usage(client)


def test_a_file_system_that_is_read_only_serves_reads_and_refuses_writes(tmp_path: Path) -> None:
    data_dir = tmp_path / "stigg"
    with Stigg(catalog=CATALOG, data_dir=data_dir) as client:
        client.provision_customer(CUSTOMER, subscription_params={"plan_id": "plan-endless"})
        client.report_usage(CUSTOMER, FEATURE, 3)
    with mounted(tmp_path / "readonly", "--bind", str(data_dir)) as point:
        if not mount("-o", "remount,ro,bind", str(point)):
            pytest.skip("mounting is not allowed here")
        client = Stigg(data_dir=point)
        try:
            assert 3 == usage(client)
            for level in ("disk", "os"):
                with pytest.raises(StoreError, match="read-only"):
                    client.report_usage(CUSTOMER, FEATURE, 1, durability=level)
            with pytest.raises(StoreError, match="read-only"):
                client.report_usage(CUSTOMER, FEATURE, 1, durability="queued")
            assert 3 == usage(client)
        finally:
            client.close()


STARVING = """
import json
import apsw
from collections import Counter
from stigg_local import StiggError
from stigg_local.store.commit import Member
client = Stigg(data_dir=args[0])
client.get_metered_entitlement("customer-1", "feature-calls")
store = client._embedded.store
store._keeper.stop()
told = Counter()
# The memory that SQLite may have rises from nothing more to all that a report on a new connection takes.
for number, more in enumerate(range(1, 260_000, int(args[1]))):
    stop = Member()
    store._commit.pause(stop)
    store._writer.retire()
    store._commit.resume(stop)
    apsw.hard_heap_limit(apsw.memory_used() + more)
    error = None
    try:
        client.report_usage("customer-1", "feature-calls", 1, idempotency_key=f"key-{number}")
        told["returned"] += 1
    except StiggError as raised:
        error = raised
        told["raised"] += 1
    answer = client.get_metered_entitlement("customer-1", "feature-calls")
    apsw.hard_heap_limit(0)
    assert not answer.is_fallback and answer.current_usage in (number, number + 1), answer
    client.report_usage("customer-1", "feature-calls", 1, idempotency_key=f"key-{number}")
    told["all"] += 1
print(json.dumps(told | {"usage": client.get_metered_entitlement("customer-1", "feature-calls").current_usage}))
"""


def starve(data_dir: Path, step: int) -> dict[str, int]:
    with Stigg(catalog=CATALOG, data_dir=data_dir) as client:
        client.provision_customer(CUSTOMER, subscription_params={"plan_id": "plan-endless"})
    process = start(STARVING, data_dir, step, stderr=subprocess.PIPE)
    out, error = process.communicate()
    assert 0 == process.returncode, error[-3000:]
    told: dict[str, int] = json.loads(out)
    assert told["all"] == told["usage"]
    assert told["raised"] > 0
    assert told["returned"] > 0
    return told


def test_without_memory_a_write_raises_and_reads_are_served(data_dir: Path) -> None:
    starve(data_dir, 8192)


@pytest.mark.stress
def test_without_memory_at_every_step(data_dir: Path) -> None:
    print(starve(data_dir, 256))
