"""SIGKILL at random instants, at each level of durability: what was acknowledged is there once, or a clean beginning.

One process forks the victims, so that a round costs no start of an interpreter; each reports from three threads.
"""

import os
import random
import signal
import time
from collections import defaultdict
from pathlib import Path

import pytest

from stigg_local import Stigg
from stigg_local.store import Tx
from tests.shell.clients import CATALOG, start

THREADS = 3
CUSTOMERS = ("customer-1", "customer-2")
FEATURE = "feature-calls"
_KEYS = "SELECT key FROM idempotency WHERE environment = ? AND operation = 'reportUsage' AND key >= ? AND key < ?"

FORKING = """
import threading
# Once for all victims.
import stigg_local.authority.authority, stigg_local.queued_calls, stigg_local.edge.overlay, apsw
level = args[1]

def report(client, number, place):
    # One thread reports for the first customer, the others for the second.
    customer = ("customer-1", "customer-2", "customer-2")[place]
    for turn in range(10**9):
        key = f"{number:05d}-{place}-{turn:06d}"
        os.write(1, f"try {key}\\n".encode())
        client.report_usage(customer, "feature-calls", 1, idempotency_key=key, durability=level)
        os.write(1, f"ack {key}\\n".encode())

for line in sys.stdin:
    process = os.fork()
    if process == 0:
        client = Stigg(data_dir=args[0])
        for place in range(3):
            threading.Thread(target=report, args=(client, int(line), place)).start()
        while True:
            signal.pause()
    os.write(1, f"pid {process}\\n".encode())
    os.waitpid(process, 0)
    os.write(1, b"end\\n")
"""


class Round:
    """What one victim said before it was killed."""

    def __init__(self) -> None:
        self.attempted: defaultdict[str, list[str]] = defaultdict(list)
        self.acknowledged: set[str] = set()

    def hear(self, line: str) -> None:
        what, _, key = line.strip().partition(" ")
        if what == "try":
            self.attempted[key[6]].append(key)
        elif what == "ack":
            self.acknowledged.add(key)


def kill_rounds(data_dir: Path, level: str, rounds: int, seed: int) -> tuple[int, int]:
    """Kill so many victims; returns how many reports were acknowledged, and how many of these are gone."""
    source = random.Random(seed)
    with Stigg(catalog=CATALOG, data_dir=data_dir) as client:
        for customer in CUSTOMERS:
            client.provision_customer(customer, subscription_params={"plan_id": "plan-endless"})
    acknowledged = lost = counted = 0
    forking = start(FORKING, data_dir, level)
    assert forking.stdin is not None
    assert forking.stdout is not None
    for number in range(rounds):
        forking.stdin.write(f"{number}\n")
        forking.stdin.flush()
        heard, process = Round(), 0
        while not (process and heard.acknowledged):
            line = forking.stdout.readline()
            assert line, "the forking process ended"
            if line.startswith("pid "):
                process = int(line[4:])
            else:
                heard.hear(line)
        # What is queued is stored a tenth of a second later under load, and later still on a busy machine.
        wait_s = source.uniform(0, 0.25 if level == "queued" else 0.03)
        time.sleep(1.0 if level == "queued" and number % 10 == 9 else wait_s)
        os.kill(process, signal.SIGKILL)
        while (line := forking.stdout.readline()) != "end\n":
            heard.hear(line)
        present = look(data_dir, number)
        counted += len(present)
        acknowledged += len(heard.acknowledged)
        everything = {key for line in heard.attempted.values() for key in line}
        assert present <= everything, f"round {number}: something nobody asked for"
        missing = heard.acknowledged - present
        lost += len(missing)
        if level != "queued":
            assert set() == missing, f"round {number}: acknowledged at {level} and lost"
        for keys in heard.attempted.values():
            # Of each thread a beginning: nothing is there whose forerunner is not.
            flags = [key in present for key in keys]
            assert sorted(flags, reverse=True) == flags, f"round {number}: a hole"
        with Stigg(data_dir=data_dir) as client:
            shown = sum(client.get_metered_entitlement(customer, FEATURE).current_usage for customer in CUSTOMERS)
            assert counted == shown, f"round {number}: {counted} reports are there and {shown} counted"
    with forking:
        forking.stdin.close()
        assert 0 == forking.wait(30)
    return acknowledged, lost


def look(data_dir: Path, number: int) -> set[str]:
    """The round's keys that are there, each with its measurement, after checking the log."""
    first, last = f"{number:05d}-", f"{number:05d}."

    def ask(tx: Tx) -> set[str]:
        for customer in CUSTOMERS:
            if number % 10 == 0:
                tx.verify_log(customer)
        return {row[0] for row in tx.run(_KEYS, (tx.environment, first, last))}

    with Stigg(data_dir=data_dir) as client:
        assert client._embedded is not None
        return client._embedded.store.read(ask)


def check_losses(level: str, acknowledged: int, lost: int) -> None:
    """The fault is real: of what was only queued some is lost by kills, and some was stored before."""
    if level == "queued":
        assert 0 < lost < acknowledged
    else:
        assert 0 == lost


@pytest.mark.parametrize("level", ["disk", "os", "queued"])
def test_killed_again_and_again(data_dir: Path, level: str) -> None:
    acknowledged, lost = kill_rounds(data_dir, level, 20 if level == "disk" else 10, 1)
    assert acknowledged >= 10
    check_losses(level, acknowledged, lost)


@pytest.mark.stress
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("level", ["disk", "os", "queued"])
def test_killed_five_hundred_times(data_dir: Path, level: str) -> None:
    acknowledged, lost = kill_rounds(data_dir, level, 500, 2)
    print(f"\n{level}: 500 kills, {acknowledged} acknowledged, {lost} lost")
    assert acknowledged > 500
    check_losses(level, acknowledged, lost)
