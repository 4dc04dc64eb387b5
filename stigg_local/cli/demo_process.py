"""The demo's processes: one that is killed while it reports, and one that is forked from a working client."""

import json
import os
import select
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from time import perf_counter, sleep
from typing import Any

from stigg_local.cli import worker
from stigg_local.cli.stage import Stage
from stigg_local.cli.words import amount
from stigg_local.client import Stigg
from stigg_local.clock import new_id

ROUNDS = 3
REPORTS_MIN, REPORTS_SPREAD = 20, 80
# A process that says nothing for this long is taken for stuck, and the claim fails instead of the demo hanging.
PATIENCE_S = 10.0


def kill_in_the_middle(stage: Stage, client: Stigg, data_dir: Path, *, customer_id: str, feature_id: str) -> None:
    """Kill a reporting process at random moments and count what is left of its reports."""
    stage.step("kill -9 in the middle of reporting")
    stage.say(
        "a child process reports one call after the other and acknowledges each; it is killed at a random moment"
    )
    rows, kept, exact, killed = [], [], [], []
    for index in range(ROUNDS):
        prefix = new_id(f"demo-{index}-")
        before = _usage(client, customer_id, feature_id)
        acknowledged, code = _report_until_killed(data_dir, customer_id, feature_id, prefix)
        found = _usage(client, customer_id, feature_id) - before
        # The report that was on its way when the process died may have been kept or not.
        sent = acknowledged + 1
        for number in range(sent):
            client.report_usage(customer_id, feature_id, 1, idempotency_key=worker.key(prefix, number))
        repeated = _usage(client, customer_id, feature_id) - before
        rows.append(tuple(amount(count) for count in (index + 1, acknowledged, found, sent, repeated)))
        kept.append(0 < acknowledged <= found <= sent)
        exact.append(repeated == sent)
        killed.append(code == -signal.SIGKILL)
    header = ("round", "acknowledged", "usage found", "sent again with the same keys", "usage then")
    stage.table(header, rows)
    stage.claim(f"the child was killed by SIGKILL, {ROUNDS} times", all(killed), killed)
    stage.claim("no acknowledged unit is missing, and at most the one in flight was added", all(kept), rows)
    stage.claim("sent again, nothing counts twice: usage is exactly the number sent", all(exact), rows)


def fork(stage: Stage, client: Stigg, *, customer_id: str, feature_id: str) -> None:
    """Fork the process with its client open, and let both report."""
    stage.step("Fork")
    start = _usage(client, customer_id, feature_id)

    def in_child() -> dict[str, Any]:
        seen = _usage(client, customer_id, feature_id)
        client.report_usage(customer_id, feature_id, 7)
        return {"seen": seen - start, "after": _usage(client, customer_id, feature_id) - start}

    told = _forked(in_child, first=lambda: client.report_usage(customer_id, feature_id, 5))
    end = _usage(client, customer_id, feature_id) - start
    stage.say(f"the parent reports 5 calls, the child sees {told.get('seen')}, reports 7 and sees {told.get('after')}")
    stage.say(f"the parent sees {end}")
    stage.claim("the child uses the inherited client and sees what the parent reported", told.get("seen") == 5, told)
    stage.claim("the parent sees what the child reported", (told.get("after"), end) == (12, 12), (told, end))


def _usage(client: Stigg, customer_id: str, feature_id: str) -> int:
    return int(client.get_metered_entitlement(customer_id, feature_id).current_usage)


def _report_until_killed(data_dir: Path, customer_id: str, feature_id: str, prefix: str) -> tuple[int, int]:
    """How many reports were acknowledged, and how the process ended."""
    chance = int(new_id()[:8], 16)
    enough, pause_s = REPORTS_MIN + chance % REPORTS_SPREAD, chance % 997 / 500_000
    # The child finds this very package, from wherever it was started, and nothing of the current directory.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(_import_path())}
    command = [sys.executable, "-P", "-m", worker.__name__, str(data_dir), customer_id, feature_id, prefix]
    acknowledged = 0
    with ExitStack() as ended:
        with _uninterrupted():
            # A session of its own: Ctrl-C in the terminal is for the demo, which then ends the child.
            process = ended.enter_context(
                subprocess.Popen(  # noqa: S603 - our own module in our own interpreter
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment, start_new_session=True
                )
            )
            ended.callback(process.kill)
        assert process.stdout is not None
        descriptor = process.stdout.fileno()
        while acknowledged < enough and (received := _read(descriptor)):
            acknowledged += len(received)
        sleep(pause_s)
        process.kill()
        # What the child wrote before it died is still in the pipe.
        while received := _read(descriptor):
            acknowledged += len(received)
    return acknowledged, process.returncode


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait for the end: in the middle of a start it would leave a child that nobody knows of."""
    if current_thread() is not main_thread():
        yield
        return
    met: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: met.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if met:
        raise KeyboardInterrupt


def _import_path() -> list[str]:
    package = str(Path(worker.__file__).parents[2])
    return [package, *(path for path in sys.path if path and path != package)]


def _read(descriptor: int) -> bytes:
    """What a pipe holds; nothing at its end, or where nothing came for too long."""
    ready, _, _ = select.select([descriptor], [], [], PATIENCE_S)
    return os.read(descriptor, 65536) if ready else b""


def _forked(call: Callable[[], dict[str, Any]], *, first: Callable[[], object]) -> dict[str, Any]:
    """What `call` returns in a forked child, which waits until the parent has done `first`."""
    sys.stdout.flush()
    start_read, start_write = os.pipe()
    told_read, told_write = os.pipe()
    with warnings.catch_warnings():
        # Newer Pythons warn of a fork beside threads; the client is made for it, which is what is shown here.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(start_write)
            if os.read(start_read, 1):
                os.write(told_write, json.dumps(call()).encode())
                code = 0
        finally:
            # Nothing of the parent's exit handlers belongs to the child.
            os._exit(code)
    os.close(told_write)
    os.close(start_read)
    try:
        first()
        os.write(start_write, b"!")
        told = _read(told_read)
        return dict(json.loads(told)) if told else {}
    finally:
        os.close(start_write)
        os.close(told_read)
        _end(child)


def _end(child: int) -> None:
    """Wait for a child; one that does not end is killed."""
    deadline = perf_counter() + PATIENCE_S
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if perf_counter() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return
        sleep(0.005)
