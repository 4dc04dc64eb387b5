"""Many threads of many processes race for the last units: admitted is what was left, exactly, each round."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stigg_local import Stigg
from tests.shell.clients import CATALOG, start

PROCESSES, THREADS = 8, 4
# Left of the limit, and as many images of ten credits each.
LEFT = 13

RACING = """
import json, threading
client = Stigg(data_dir=args[0])
client.get_metered_entitlement("customer-1", "feature-calls")

def take(kind, customer):
    if kind == "limit":
        return client.consume(customer, "feature-calls").allowed
    if kind == "rate":
        return client.consume(customer, "feature-images").allowed
    if kind == "credits":
        return client.consume(customer, currency_id="currency-ai", value=10).allowed
    if kind == "hold":
        return client.reserve(customer, "feature-calls", 1, ttl_seconds=600).allowed
    if kind == "hold-rate":
        return client.reserve(customer, "feature-images", 1, ttl_seconds=600).allowed
    hold = client.reserve(customer, "feature-calls", 2, ttl_seconds=600)
    if hold.allowed:
        hold.settle(1)
    return hold.allowed

print("ready", flush=True)
for line in sys.stdin:
    kind, customer = line.split()
    taken = []
    barrier = threading.Barrier(4)
    def work():
        barrier.wait()
        count = 0
        while take(kind, customer):
            count += 1
        taken.append(count)
    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print(json.dumps(taken), flush=True)
client.close()
"""


@contextmanager
def racing(data_dir: Path, processes: int) -> Iterator[list["subprocess.Popen[str]"]]:
    workers = [start(RACING, data_dir) for _ in range(processes)]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        yield workers
    finally:
        for worker in workers:
            worker.communicate()


def race(workers: list["subprocess.Popen[str]"], kind: str, customer: str) -> list[int]:
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(f"{kind} {customer}\n")
        worker.stdin.flush()
    taken: list[int] = []
    for worker in workers:
        assert worker.stdout is not None
        taken += json.loads(worker.stdout.readline())
    return taken


def run(data_dir: Path, rounds: int, processes: int = PROCESSES) -> None:
    with Stigg(catalog=CATALOG, data_dir=data_dir) as client:
        client.provision_customer("customer-1", subscription_params={"plan_id": "plan-app"})
        with racing(data_dir, processes) as workers:
            for number in range(rounds):
                for kind in ("limit", "rate", "credits", "hold", "hold-rate", "settled"):
                    customer = f"{kind}-{number}"
                    client.provision_customer(customer, subscription_params={"plan_id": "plan-app"})
                    client.report_usage(customer, "feature-calls", 100 - LEFT, durability="os")
                    client.grant_credits(customer, "currency-ai", 10 * LEFT)
                    taken = race(workers, kind, customer)
                    where = f"round {number}, {kind}"
                    assert PROCESSES * THREADS == len(taken) * PROCESSES // processes, where
                    calls = client.get_metered_entitlement(customer, "feature-calls")
                    images = client.get_metered_entitlement(customer, "feature-images")
                    balance = client.get_credit_entitlement(customer, "currency-ai").current_balance
                    if kind == "settled":
                        # The last unit may be left: two must fit before one is used.
                        assert sum(taken) in (LEFT - 1, LEFT), where
                        assert (100 - LEFT + sum(taken), 0) == (calls.current_usage, calls.reserved_usage), where
                        continue
                    assert sum(taken) == LEFT, where
                    used, held = (100 - LEFT, 0) if kind not in ("limit", "hold") else (100, 0)
                    if kind == "hold":
                        used, held = 100 - LEFT, LEFT
                    assert (used, held) == (calls.current_usage, calls.reserved_usage), where
                    if kind == "hold-rate":
                        assert (0, LEFT) == (images.current_usage, images.reserved_usage), where
                    assert balance == (0 if kind in ("rate", "credits", "hold-rate") else 10 * LEFT), where


def test_a_race_for_the_last_units_admits_exactly_what_is_left(tmp_path: Path) -> None:
    """The one promise of `consume` and `reserve`; three rounds of each kind."""
    run(tmp_path, 3)


@pytest.mark.stress
def test_a_hundred_races_admit_exactly_what_is_left(tmp_path: Path) -> None:
    """The same, a hundred rounds of each kind."""
    run(tmp_path, 100)
