"""The demo's offline part: fallback values from a file that is edited, well and badly, while it is in use."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep

from stigg_local.cli.stage import Stage
from stigg_local.cli.words import verdict
from stigg_local.client import Stigg

CUSTOMER = "customer-anyone"
LIMIT_BEFORE, LIMIT_AFTER = 10, 25
PATIENCE_S = 10.0


def go_offline(stage: Stage, root: Path, example: Path, *, feature_id: str) -> None:
    """Answer from a copy of the example fallback file and edit it."""
    stage.step("Offline, with a fallback file that is edited while it runs")
    path = root / "fallback.toml"
    shutil.copyfile(example, path)
    good = path.read_text("utf-8")
    with Stigg(offline=True, fallback_file=path) as client:

        def limit() -> int | float | None:
            return client.get_metered_entitlement(CUSTOMER, feature_id).usage_limit

        def refused() -> str | None:
            return client.status().last_error

        def row(what: str) -> tuple[str, str, str]:
            answer = client.get_metered_entitlement(CUSTOMER, feature_id, requested_usage=20)
            return (what, str(answer.usage_limit), verdict(answer))

        rows = [row("as it is opened")]
        with stage.progress("following the file", 3) as bar:
            started = limit()
            edited = good.replace(f"usageLimit = {LIMIT_BEFORE}", f"usageLimit = {LIMIT_AFTER}")
            _replace(path, edited)
            _until(lambda: limit() == LIMIT_AFTER)
            bar.advance()
            followed = limit()
            rows.append(row(f"usageLimit = {LIMIT_AFTER} is saved"))
            _replace(path, edited + "\nusageLimit = = oops\n")
            _until(lambda: refused() is not None)
            bar.advance()
            error, held = refused(), limit()
            rows.append(row("a broken edit is saved"))
            _replace(path, good)
            _until(lambda: limit() == LIMIT_BEFORE and refused() is None)
            bar.advance()
        restored, cleared = limit(), refused()
        rows.append(row("the first text is saved again"))
        stage.table(("fallback.toml", "limit", "20 calls"), rows)
        stage.claim(
            f"the edit is followed: the limit goes from {LIMIT_BEFORE} to {LIMIT_AFTER}",
            (started, followed) == (LIMIT_BEFORE, LIMIT_AFTER),
            (started, followed),
        )
        stage.claim(
            "a broken edit changes nothing, and status() tells of it",
            error is not None and held == LIMIT_AFTER,
            (error, held),
        )
        if error is not None:
            stage.say(f"last_error: {error.replace(str(root) + os.sep, '')}")
        stage.claim(
            "a good edit is followed again and clears the error",
            (restored, cleared) == (LIMIT_BEFORE, None),
            (restored, cleared),
        )


def _replace(path: Path, text: str) -> None:
    """Save as editors do: a finished file takes the place of the old one."""
    temporary = path.with_name("fallback.saving")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)


def _until(holds: Callable[[], bool]) -> None:
    """Wait for the follower; what was waited for is checked by a claim."""
    deadline = perf_counter() + PATIENCE_S
    while not holds() and perf_counter() < deadline:
        sleep(0.02)
