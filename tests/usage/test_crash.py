"""Events of a process that is killed at random: what was acknowledged is counted once, nothing by half."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stigg_local import Stigg
from stigg_local.doctor import examine
from tests.usage.worlds import catalog

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from stigg_local import Stigg

client = Stigg(data_dir=sys.argv[1])
number = int(sys.argv[2])
while True:
    batch = [
        {"customer_id": "c", "event_name": "login", "idempotency_key": f"k{index}",
         "dimensions": {"user": f"u{index}", "d": 1}}
        for index in range(number, number + 3)
    ]
    client.report_event(batch, durability=sys.argv[3])
    number += 3
    print(number, flush=True)
"""


@pytest.mark.parametrize("durability", ["disk", "os"])
@pytest.mark.parametrize("rounds", [3, pytest.param(60, marks=[pytest.mark.stress, pytest.mark.timeout(1800)])])
def test_what_a_killed_process_was_told_is_counted_once(tmp_path: Path, durability: str, rounds: int) -> None:
    source = random.Random(rounds)
    directory = tmp_path / "state"
    with Stigg(catalog=catalog("ALWAYS_RESET"), data_dir=directory) as client:
        client.provision_customer("c", subscription_params=None)
        client.provision_subscription("c", "forever")
    known = 0
    for _ in range(rounds):
        child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(directory), str(known), durability],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        acknowledged = known
        for _ in range(source.randrange(1, 40)):
            acknowledged = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split()
        child.wait()
        child.stdout.close()
        acknowledged = int(rest[-1]) if rest and rest[-1].isdigit() else acknowledged
        with Stigg(data_dir=directory) as client:
            counted = client.get_metered_entitlement("c", "count").current_usage
            assert acknowledged <= counted <= acknowledged + 3
            # A batch counts whole, in every meter alike.
            assert counted % 3 == 0
            for feature in ("unique", "sum"):
                assert counted == client.get_metered_entitlement("c", feature).current_usage
            known = int(counted)
    assert [finding for finding in examine(directory).findings if finding.severity == "error"] == []
