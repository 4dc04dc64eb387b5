"""Every command: what it prints, what it returns, and what it says to wrong input."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import stigg_local
from stigg_local import AuthorityUnavailable, InvalidInput, NotAllowed, Stigg, StoreBusy
from stigg_local.authority.catalog_file import load
from stigg_local.cli import access, output
from stigg_local.cli.main import main
from stigg_local.clock import wall_ms
from stigg_local.core.period import to_text
from stigg_local.testing import ManualClock
from tests.vectors.runner import GETTERS, ClientLevel, vectors
from tests.vectors.runner import run as run_vector

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "fixtures/catalogs/example.toml"
FALLBACK = ROOT / "fixtures/fallback/valid/example.toml"
TWENTY = ROOT / "fixtures/catalogs/invalid/twenty.toml"
INSTANT = "2025-01-31T10:00:00Z"

CALLS, SEATS, SSO, REGIONS = "feature-api-calls", "feature-seats", "feature-sso", "feature-regions"
CREDITS = "currency-ai-credits"


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output."""
        assert self.out.count("\n") == 1
        return dict(json.loads(self.out))


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process, at an instant."""
    monkeypatch.setenv("STIGG_LOCAL_CLOCK", INSTANT)
    monkeypatch.delenv("STIGG_LOCAL_DATA_DIR", raising=False)
    monkeypatch.delenv("STIGG_LOCAL_TRACEBACK", raising=False)

    def run(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def stored(data_dir: Path, clock: ManualClock) -> Path:
    """A directory with the example catalog and three customers, closed."""
    with Stigg(catalog=EXAMPLE, data_dir=data_dir, clock=clock) as client:
        client.provision_customer("free")
        client.provision_customer("paid", subscription_params=None)
        client.provision_customer("none", subscription_params=None)
        client.provision_subscription(
            "paid",
            "plan-revvenu-growth",
            billing_period="MONTHLY",
            billable_features=[{"feature_id": SEATS, "quantity": 5}],
            skip_trial=True,
        )
    return data_dir


def started(*arguments: str | Path, **options: Any) -> "subprocess.Popen[str]":
    """The command as a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "stigg_local.cli.main", *map(str, arguments)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


# Usage ----------------------------------------------------------------------------------------------------------


def test_help_names_exit_codes_and_the_clock(run: Run) -> None:
    shown = run("--help").out
    assert "Exit codes:\n    0    ok\n" in shown
    assert "STIGG_LOCAL_CLOCK=<ISO instant>" in shown


def test_version_is_the_packages(run: Run) -> None:
    assert (0, f"stigg-local, version {stigg_local.__version__}\n", "") == run("--version")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("chek",), "there is no command `chek` (did you mean `check`)"),
        (("catalog", "aply", "f"), "there is no command `aply` (did you mean `apply`)"),
        (("zzz",), "there is no command `zzz` (commands: "),
        (("check", "a"), "missing argument 'FEATURE'"),
        (("check", "a", "b", "c"), "got unexpected extra argument (c)"),
        (("check", "a", "b", "--nope"), "no such option"),
        (("check", "a", "b", "--type", "text"), "invalid value for '--type'"),
        (("check", "a", "b"), "no data directory is named (pass --data-dir DIR or set STIGG_LOCAL_DATA_DIR)"),
        (("check", "a", "b", "--data-dir", ""), "no data directory is named"),
        (("check", "a", "b", "--requested"), "'--requested' requires an argument"),
        (("check", "a", "b", "--requested", "x"), "--requested is `x`, not a number"),
        (("check", "a", "b", "--requested", "1", "--type", "enum"), "--requested does not go with --type enum"),
        (("check", "a", "b", "--values", "1", "--type", "metered"), "--values does not go with --type metered"),
        (("report", "a", "b", "nan"), "VALUE is `nan`, not a number"),
        (("report", "a", "b", "9" * 200), "not a number"),
        (("report", "a", "b", "--typo"), "VALUE is `--typo`, not a number"),
        (("report", "a", "b", "1", "--typo"), "got unexpected extra argument (--typo)"),
        (("report", "a", "b", "1"), "no data directory is named"),
        (("catalog", "apply", "f"), "no data directory is named"),
        (("catalog", "apply", "f", "--migrate", "some"), "invalid value for '--migrate'"),
        (("catalog", "diff", "f"), "no data directory is named"),
        (("catalog", "show"), "no data directory is named"),
        (("status",), "no data directory is named"),
        (("status", "--fallback-file", "/nowhere.toml"), "FallbackFileError"),
        (("check", "a", "b", "--fallback-file", "/nowhere.toml"), "FallbackFileError"),
    ],
    ids=lambda item: " ".join(item)[:50] if isinstance(item, tuple) else "",
)
def test_wrong_usage_is_one_line_and_exit_code_2(run: Run, arguments: tuple[str, ...], said: str) -> None:
    ended = run(*arguments)
    assert (2, "") == ended[:2]
    assert said in ended.err
    assert 1 == ended.err.count("\n")
    as_json = run(*arguments, "--json")
    if "requires" not in said:
        assert (2, "") == (as_json.code, as_json.err)
        assert {"code", "message", "hint", "retryable", "problems"} == as_json.json.keys()


def test_no_command_shows_the_help(run: Run) -> None:
    ended = run()
    assert (2, "") == ended[:2]
    assert "Commands:" in ended.err
    assert "missing command" == run("--json").json["message"]


def test_a_clock_that_is_no_instant_is_refused(run: Run, stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STIGG_LOCAL_CLOCK", "yesterday")
    ended = run("check", "free", SSO, "--data-dir", stored)
    assert 2 == ended.code
    assert "STIGG_LOCAL_CLOCK is `yesterday`, not an instant" in ended.err


@pytest.mark.parametrize("command", [("check", "a", "b"), ("status",), ("catalog", "show"), ("report", "a", "b", "1")])
def test_a_missing_directory_is_named_and_not_made(run: Run, data_dir: Path, command: tuple[str, ...]) -> None:
    ended = run(*command, "--data-dir", data_dir)
    assert (2, "") == ended[:2]
    assert f"`{data_dir}` does not exist (stigg-local catalog apply FILE --data-dir {data_dir})" in ended.err
    assert not data_dir.exists()


@pytest.mark.parametrize("command", [("check", "a", "b"), ("status",), ("catalog", "show"), ("report", "a", "b", "1")])
def test_a_directory_without_a_catalog_stays_empty(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    ended = run(*command, "--data-dir", tmp_path)
    assert (2, "") == ended[:2]
    assert "holds no catalog" in ended.err
    assert [] == list(tmp_path.iterdir())


def test_a_file_is_not_a_data_directory(run: Run) -> None:
    ended = run("check", "a", "b", "--data-dir", EXAMPLE)
    assert 2 == ended.code
    assert "is not a directory" in ended.err
    long = run("check", "a", "b", "--data-dir", "d" * 5000)
    assert 2 == long.code
    assert "cannot be looked at" in long.err


# Catalog --------------------------------------------------------------------------------------------------------


def test_a_good_catalog_is_valid(run: Run) -> None:
    assert (0, f"{EXAMPLE}: no mistakes\n", "") == run("catalog", "validate", EXAMPLE)
    found = run("catalog", "validate", EXAMPLE, "--json").json
    assert {"valid": True, "file": str(EXAMPLE), "hash": load(EXAMPLE).meaning, "problems": []} == found


def test_every_mistake_of_a_catalog_is_printed_with_its_line(run: Run) -> None:
    ended = run("catalog", "validate", TWENTY)
    assert 2 == ended.code
    lines = ended.out.splitlines()
    assert 20 == len(lines)
    assert all(line.startswith(f"{TWENTY}:") for line in lines)
    assert "error: CatalogInvalid: the catalog has 20 mistakes\n" == ended.err
    problems = run("catalog", "validate", TWENTY, "--json").json
    assert "CatalogInvalid" == problems["code"]
    assert 20 == len(problems["problems"])
    assert {"file", "line", "path", "id", "message", "hint"} <= problems["problems"][0].keys()


@pytest.mark.parametrize("command", ["validate", "apply", "diff"])
def test_a_catalog_that_is_missing_is_a_mistake(run: Run, data_dir: Path, command: str) -> None:
    options = () if command == "validate" else ("--data-dir", data_dir)
    ended = run("catalog", command, "/nowhere/catalog.toml", *options)
    assert 2 == ended.code
    assert "/nowhere/catalog.toml: does not exist" in ended.out + ended.err
    assert not data_dir.exists()


def test_applying_a_bad_catalog_prints_all_mistakes_and_makes_nothing(run: Run, data_dir: Path) -> None:
    ended = run("catalog", "apply", TWENTY, "--data-dir", data_dir)
    assert (2, "") == ended[:2]
    assert 21 == len(ended.err.splitlines())
    assert ended.err.endswith("error: CatalogInvalid: 20 mistakes, nothing was changed\n")
    assert 20 == len(run("catalog", "apply", TWENTY, "--data-dir", data_dir, "--json").json["problems"])
    assert not data_dir.exists()


def test_the_first_apply_says_what_diff_said(run: Run, data_dir: Path) -> None:
    diff = run("catalog", "diff", EXAMPLE, "--data-dir", data_dir, "--json")
    assert (0, False) == (diff.code, data_dir.exists())
    applied = run("catalog", "apply", EXAMPLE, "--data-dir", data_dir, "--json")
    assert 0 == applied.code
    assert diff.json == applied.json
    assert ("added", "plan", "plan-revvenu-growth", 1) in {
        (change["action"], change["kind"], change["id"], change["version"]) for change in applied.json["changes"]
    }


def test_the_same_catalog_twice_changes_nothing(run: Run, data_dir: Path) -> None:
    first = run("catalog", "apply", EXAMPLE, "--data-dir", data_dir)
    assert first.out.startswith(f"+ added feature {SSO}\n")
    assert (0, "no changes\n", "") == run("catalog", "apply", EXAMPLE, "--data-dir", data_dir)
    assert (0, "no changes\n", "") == run("catalog", "diff", EXAMPLE, "--data-dir", data_dir)


def edited(tmp_path: Path, old: str, new: str) -> Path:
    """The example catalog with one change."""
    text = EXAMPLE.read_text()
    assert old in text
    path = tmp_path / "edited.toml"
    path.write_text(text.replace(old, new, 1))
    return path


def test_a_new_version_is_published_and_moves_only_whom_it_may(run: Run, stored: Path, tmp_path: Path) -> None:
    file = edited(tmp_path, "usageLimit = 100\n", "usageLimit = 200\n")
    options = ("--data-dir", stored)
    shown = run("catalog", "diff", file, *options).out
    assert "^ published plan plan-revvenu-basic version 2\n" in shown
    assert "usageLimit: `100` -> `200`" in shown
    assert "none of them made" in shown
    assert 0 == run("catalog", "apply", file, *options).code
    assert 100 == run("check", "free", CALLS, *options, "--json").json["usageLimit"]
    moved = run("catalog", "apply", file, *options, "--migrate", "all")
    assert "no changes\n1 customer moved\n" == moved.out
    assert 200 == run("check", "free", CALLS, *options, "--json").json["usageLimit"]


def test_a_change_of_what_never_changes_is_refused(run: Run, stored: Path, tmp_path: Path) -> None:
    file = edited(tmp_path, 'meterType = "Fluctuating"', 'meterType = "Incremental"')
    ended = run("catalog", "apply", file, "--data-dir", stored)
    assert 2 == ended.code
    assert "meterType" in ended.err


def test_a_catalog_of_another_environment_is_refused(run: Run, stored: Path, tmp_path: Path) -> None:
    file = edited(tmp_path, 'environment = "production"', 'environment = "staging"')
    ended = run("catalog", "apply", file, "--data-dir", stored)
    assert 2 == ended.code
    assert "the catalog is of the environment `staging`" in ended.err


def test_show_prints_what_is_in_force(run: Run, stored: Path) -> None:
    shown = run("catalog", "show", "--data-dir", stored)
    assert 0 == shown.code
    for word in ("environment production", "feature-storage", "plan-site-pro", "addon-10k-calls", "AI Credits"):
        assert word in shown.out
    assert f"no {SSO}" in shown.out
    found = run("catalog", "show", "--data-dir", stored, "--json").json
    assert 4 == len(found["plans"])
    assert found == run("catalog", "show", "--catalog", EXAMPLE, "--json").json


# Check ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "first", "state"),
    [
        (("free", SSO), 3, "denied: Revoked", None),
        (("paid", SSO), 0, "access", None),
        (("paid", SSO, "--type", "boolean"), 0, "access", None),
        (("paid", SSO, "--type", "metered"), 3, "denied: FeatureTypeMismatch", "0 used"),
        (("free", "feature-retention-days", "--type", "numeric"), 0, "access", "7 days"),
        (("paid", REGIONS, "--values", "eu,us"), 0, "access", "eu, us"),
        (("paid", REGIONS, "--values", "ap", "--type", "enum"), 3, "denied: RequestedValuesMismatch", "eu, us"),
        (("paid", REGIONS, "--values", ""), 0, "access", "eu, us"),
        (("free", CALLS, "--requested", "100"), 0, "access", "0 of 100 calls used"),
        (("free", CALLS, "--requested", "100.5"), 3, "denied: RequestedUsageExceedsLimit", "0 of 100 calls used"),
        (("free", CALLS, "--requested", "1e300"), 3, "denied: RequestedUsageExceedsLimit", "0 of 100 calls used"),
        (("paid", "feature-generated-images"), 0, "access", "0 images used, unlimited"),
        (("paid", CREDITS, "--type", "credit"), 0, "access", "5,000 of 5,000 AI Credits left"),
        (("paid", CREDITS, "--requested", "5001"), 3, "denied: InsufficientCredits", "5,000 of 5,000 AI Credits left"),
        (("nobody", SSO), 3, "denied: CustomerNotFound", None),
        (("none", SSO), 3, "denied: NoActiveSubscription", None),
        (("free", "feature-nothing"), 3, "denied: FeatureNotFound", None),
        (("", SSO), 3, "denied: CustomerNotFound", None),
    ],
)
def test_check_prints_the_decision(
    run: Run, stored: Path, arguments: tuple[str, ...], code: int, first: str, state: str | None
) -> None:
    ended = run("check", *arguments, "--data-dir", stored)
    # A question that the catalog has no answer for is told apart from a plain denial.
    is_unanswered = "FeatureNotFound" in first or "FeatureTypeMismatch" in first
    said = f"warning: the catalog has no answer for `{arguments[1]}`: {first.removeprefix('denied: ')}\n"
    assert (code, said if is_unanswered else "") == (ended.code, ended.err)
    assert first == ended.out.splitlines()[0]
    shown = dict(line.strip().split("  ", 1) for line in ended.out.splitlines()[1:] if "  " in line.strip())
    assert (state or "") == shown.get("state", "").strip()
    found = run("check", *arguments, "--data-dir", stored, "--json")
    assert code == found.code
    assert found.json["hasAccess"] is (code == 0)
    assert first.removeprefix("denied: ") == found.json.get("accessDeniedReason", "access")


def test_check_takes_the_directory_from_the_environment(
    run: Run, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STIGG_LOCAL_DATA_DIR", str(stored))
    assert 0 == run("check", "paid", SSO).code


def test_check_runs_at_the_instant_of_the_environment(run: Run, stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--data-dir", stored, "--json")
    assert 0 == run("report", "free", CALLS, "100", *options).code
    assert 3 == run("check", "free", CALLS, "--requested", "1", *options).code
    monkeypatch.setenv("STIGG_LOCAL_CLOCK", "2025-03-01T00:00:00Z")
    assert 0 == run("check", "free", CALLS, "--requested", "1", *options).code


@pytest.mark.parametrize("requested", ["-1", "-0.5"])
def test_a_negative_request_is_refused(run: Run, stored: Path, requested: str) -> None:
    ended = run("check", "free", CALLS, "--requested", requested, "--data-dir", stored)
    assert 2 == ended.code
    assert "below 0" in ended.err


def test_check_answers_from_a_fallback_file_alone(run: Run) -> None:
    options = ("--fallback-file", FALLBACK)
    assert (0, "access") == line_of(run("check", "anyone", SSO, *options))
    assert (3, "denied: RequestedUsageExceedsLimit") == line_of(
        run("check", "anyone", CALLS, "--requested", "11", *options)
    )
    found = run("check", "anyone", CALLS, *options, "--json").json
    assert (10, True, "fallback") == (found["usageLimit"], found["isFallback"], found["source"])


def test_a_fallback_never_overrides_what_is_stored(run: Run, stored: Path) -> None:
    ended = run("check", "free", SSO, "--fallback-file", FALLBACK, "--data-dir", stored)
    assert (3, "denied: Revoked") == line_of(ended)


def test_a_broken_fallback_file_is_named_with_its_line(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "fallback.toml"
    path.write_text("schema = 1\n[features.x]\nhasAccess = = 1\n")
    ended = run("check", "anyone", SSO, "--fallback-file", path, "--json")
    assert (2, "FallbackFileError") == (ended.code, ended.json["code"])
    assert f"{path}:3" in ended.json["message"]


def line_of(ended: Ran) -> tuple[int, str]:
    """Exit code and first line."""
    return ended.code, ended.out.splitlines()[0]


# Report ---------------------------------------------------------------------------------------------------------


def test_report_counts_sets_and_takes_back(run: Run, stored: Path) -> None:
    options = ("--data-dir", stored, "--json")
    assert 30 == run("report", "free", CALLS, "30", *options).json["currentUsage"]
    assert 30.25 == run("report", "free", CALLS, "0.25", *options).json["currentUsage"]
    assert 2 == run("report", "free", SEATS, "2", "--set", *options).json["currentUsage"]
    assert 1 == run("report", "free", SEATS, "-1", *options).json["currentUsage"]
    assert 2 == run("report", "free", SEATS, "2", "--set", *options).json["currentUsage"]
    assert 2 == run("check", "free", SEATS, *options).json["currentUsage"]


def test_report_says_what_it_means_for_access(run: Run, stored: Path) -> None:
    ended = run("report", "free", CALLS, "100", "--data-dir", stored)
    assert (0, "recorded") == line_of(ended)
    assert "  now          access, 100 of 100 calls used\n" in ended.out
    assert "  durability   disk\n" in ended.out


def test_the_same_key_counts_once_and_with_another_value_is_a_conflict(run: Run, stored: Path) -> None:
    options = ("--idempotency-key", "k", "--data-dir", stored, "--json")
    first = run("report", "free", CALLS, "5", *options)
    assert first.json == run("report", "free", CALLS, "5", *options).json
    ended = run("report", "free", CALLS, "6", *options)
    assert (3, "IdempotencyConflict") == (ended.code, ended.json["code"])


def test_a_late_report_counts_in_its_own_window(run: Run, stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STIGG_LOCAL_CLOCK", "2025-03-10T00:00:00Z")
    options = ("--data-dir", stored, "--json")
    late = run("report", "free", CALLS, "5", "--created-at", "2025-02-10T00:00:00Z", *options)
    assert 0 == late.json["currentUsage"]


@pytest.mark.parametrize(
    ("arguments", "code", "name"),
    [
        (("nobody", CALLS, "1"), 2, "CustomerNotFound"),
        (("free", "feature-api-cals", "1"), 2, "FeatureNotFound"),
        (("free", SSO, "1"), 3, "MeteringNotAvailableForFeatureType"),
        (("free", "feature-storage", "1"), 3, "NoFeatureEntitlementInSubscription"),
        (("none", CALLS, "1"), 3, "NoActiveSubscriptionForCustomer"),
        (("free", SEATS, "-1"), 3, "UsageMeasurementDiffOutOfRangeError"),
        (("free", CALLS, "1e40"), 2, "EntitlementUsageOutOfRangeError"),
        (("free", CALLS, "1", "--created-at", "soon"), 2, "BadUserInput"),
        (("free", CALLS, "1", "--resource", "site"), 2, "CustomerResourceNotFound"),
        (("", CALLS, "1"), 2, "InvalidArgumentError"),
        (("free", CALLS, "1", "--idempotency-key", ""), 2, "InvalidArgumentError"),
    ],
)
def test_what_a_report_refuses(run: Run, stored: Path, arguments: tuple[str, ...], code: int, name: str) -> None:
    ended = run("report", *arguments, "--data-dir", stored, "--json")
    assert (code, name) == (ended.code, ended.json["code"])
    said = run("report", *arguments, "--data-dir", stored)
    assert (code, "", 1) == (said.code, said.out, said.err.count("\n"))
    assert said.err.startswith(f"error: {name}: ")


def test_report_applies_a_catalog_that_was_never_applied(run: Run, stored: Path, tmp_path: Path) -> None:
    file = edited(tmp_path, 'displayName = "API calls"', 'displayName = "Calls"')
    options = ("--data-dir", stored)
    assert 0 == run("report", "free", CALLS, "1", "--catalog", file, *options).code
    features = run("catalog", "show", *options, "--json").json["features"]
    assert "Calls" == next(item["displayName"] for item in features if item["id"] == CALLS)


# Status and failures --------------------------------------------------------------------------------------------


def test_status_tells_how_the_state_is_kept(run: Run, stored: Path) -> None:
    ended = run("status", "--data-dir", stored)
    assert (0, "FRESH") == line_of(ended)
    assert "storage.path" in ended.out
    found = run("status", "--data-dir", stored, "--json").json
    assert ("FRESH", "production", None) == (found["state"], found["environment"], found["lastError"])


def test_status_of_a_state_that_cannot_be_used_ends_with_1(run: Run, stored: Path) -> None:
    (stored / "authority.db").write_bytes(b"no database" * 1000)
    (stored / "authority.db-wal").write_bytes(b"nor a log")
    assert (1, "STORAGE") == line_of(run("status", "--data-dir", stored))


def test_status_of_a_fallback_file(run: Run) -> None:
    assert (0, "OFFLINE") == line_of(run("status", "--fallback-file", FALLBACK))
    found = run("status", "--fallback-file", FALLBACK, "--json").json
    assert (str(FALLBACK), 1) == (found["fallbackFile"]["path"], found["fallbackFile"]["version"])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (StoreBusy("the file is locked", hint="try again"), 4, "error: StoreBusy: the file is locked (try again)\n"),
        (AuthorityUnavailable("no answer"), 4, "error: AuthorityUnavailable: no answer\n"),
        (
            ValueError("two\nlines"),
            1,
            "error: UnexpectedError: ValueError: two lines (set STIGG_LOCAL_TRACEBACK=1 to see where it came from)\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=["busy", "unavailable", "unforeseen", "interrupt"],
)
def test_what_fails_inside_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(access, "reader", fails)
    assert (code, "", said) == run("check", "a", "b")
    if said:
        assert (code, "") == (run("check", "a", "b", "--json").code, run("check", "a", "b", "--json").err)


def test_a_traceback_is_shown_where_it_is_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise ValueError("here")

    monkeypatch.setattr(access, "reader", fails)
    monkeypatch.setenv("STIGG_LOCAL_TRACEBACK", "1")
    ended = run("check", "a", "b")
    assert 1 == ended.code
    assert "Traceback" in ended.err


def test_control_characters_never_reach_the_terminal(run: Run, stored: Path) -> None:
    hostile = "a\x1b[31m\u202e\n\x00\udcff"
    ended = run("check", hostile, SSO, "--data-dir", stored)
    assert 3 == ended.code
    assert r"a\x1b[31m\u202e\n\x00\udcff" in ended.out
    assert 3 == run("check", hostile, SSO, "--data-dir", stored, "--json").code
    assert 2 == run("report", hostile, SSO, "1", "--data-dir", stored).code


def test_a_terminal_gets_colour_and_markup_stays_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out = output.Output(as_json=False)
    out.line("[bold]yes[/bold]", "good")
    out.table(("id", "words"), [("[red]a", "b")])
    shown = capsys.readouterr().out
    assert "\x1b[32m[bold]yes[/bold]" in shown
    assert "[red]a" in shown


def test_a_terminal_without_rich_gets_plain_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setitem(sys.modules, "rich.console", None)
    out = output.Output(as_json=False)
    out.line("yes", "good")
    out.table(("id", "words"), [("a", "b")], indent=2)
    assert "yes\n  id  words\n  a   b\n" == capsys.readouterr().out


# As a process ---------------------------------------------------------------------------------------------------


def heeding_signals() -> None:
    """In a child, before its program: whoever started the tests with `nohup` or behind `&` has signals ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    process = started("catalog", "show", "--catalog", EXAMPLE, stdout=write)
    os.close(write)
    _, said = process.communicate(timeout=30)
    assert (128 + signal.SIGPIPE, "") == (process.returncode, said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["TERM", "HUP"])
def test_a_program_that_is_told_to_end_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "stigg_local.cli.main", "bench", "--customers", "100000"]
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heeding_signals,  # noqa: PLW1509 - one thread starts it
    ) as process:
        until = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and time.monotonic() < until:
            time.sleep(0.05)
        # Between the directory and the block that removes it there is an instant that no program can close.
        time.sleep(0.5)
        process.send_signal(number)
        process.communicate()
    assert 128 + number == process.returncode
    assert [] == list(tmp_path.iterdir())


def test_interrupting_the_demo_is_quiet_and_leaves_nothing(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "stigg_local.cli.main", "demo"]
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeding_signals,  # noqa: PLW1509 - one thread starts it
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while not process.stdout.readline().startswith("5. kill -9"):
            pass
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        said = process.stderr.read()
    assert (130, "") == (process.returncode, said)
    assert [] == list(tmp_path.iterdir())


# Vectors --------------------------------------------------------------------------------------------------------


class CommandLevel(ClientLevel):
    """The steps at the command line, where it has words for them; the others at a client beside it."""

    def __init__(self, vector: Mapping[str, Any], clock: ManualClock, data_dir: Path, run: Run) -> None:
        super().__init__(vector, clock, data_dir=data_dir)
        self._clock = clock
        self._options = ("--data-dir", data_dir, "--json")
        self._run = run

    def do(self, do: dict[str, Any]) -> None:
        words = spelled(do, ("type", "customerId", "featureId", "value", "updateBehavior", "createdAt", "resourceId"))
        is_known = do.get("updateBehavior", "DELTA") in ("DELTA", "SET")
        if do["type"] != "reportUsage" or words is None or "value" not in do or not is_known:
            super().do(do)
            return
        options = ["--set"] if do.get("updateBehavior") == "SET" else []
        for key, option in (("createdAt", "--created-at"), ("resourceId", "--resource")):
            options += [option, words[key]] if key in words else []
        self._ask(
            "report", *options, *self._options, "--", *(words[key] for key in ("customerId", "featureId", "value"))
        )

    def check(self, check: dict[str, Any]) -> dict[str, Any]:
        words = spelled(
            check, ("get", "customerId", "featureId", "currencyId", "requestedUsage", "requestedValues", "resourceId")
        )
        if check["get"] not in GETTERS or words is None:
            return super().check(check)
        options = [] if check["get"] == "entitlement" else ["--type", check["get"]]
        names = (("requestedUsage", "--requested"), ("requestedValues", "--values"), ("resourceId", "--resource"))
        for key, option in names:
            options += [option, words[key]] if key in words else []
        item = words["currencyId" if "currencyId" in words else "featureId"]
        answer = self._ask("check", *options, *self._options, "--", words["customerId"], item)
        assert super().check(check) == answer
        return answer

    def _ask(self, *arguments: str | Path) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STIGG_LOCAL_CLOCK", to_text(wall_ms(self._clock)) or "")
            ended = self._run(*arguments)
        found = ended.json
        if ended.code in (0, 3) and "message" not in found:
            assert (ended.code == 0) is found.get("hasAccess", True)
            return found
        raise (InvalidInput if ended.code == 2 else NotAllowed)(found["message"], code=found["code"])


def spelled(arguments: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, str] | None:
    """The arguments as words of a command line; None where one cannot be written there."""
    words: dict[str, str] = {}
    for key, value in arguments.items():
        if isinstance(value, list) and all(isinstance(item, str) and item and "," not in item for item in value):
            words[key] = ",".join(value)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            words[key] = str(value)
        if key not in known or key not in words:
            return None
    return words


# The plain run takes a part of them; all run with the slow tests.
EVERY = 5
CLIENT = [(name, vector) for name, vector in vectors("client") if "constructor" not in vector]


@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(vector, id=name, marks=() if number % EVERY == 0 else pytest.mark.stress)
        for number, (name, vector) in enumerate(CLIENT)
    ],
)
def test_the_command_line_answers_as_the_vector_says(vector: dict[str, Any], data_dir: Path, run: Run) -> None:
    """The commands answer to the last field what the client beside them answers."""
    run_vector(vector, lambda clock: CommandLevel(vector, clock, data_dir, run))
