"""The budget file: every mistake is named with its line, and every limit is judged by what was measured."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stigg_local.bench.budget import KEYS, UNITS, BudgetInvalid, Limit, judge, load_budget, parse_amount
from stigg_local.cli.bench import bench as command
from stigg_local.cli.main import main
from stigg_local.errors import InvalidInput

FIGURES = {"p50": 100, "p90": 200, "p99": 1000, "p99_9": 5000, "p99_99": 9000, "max": 20_000}


def budget(tmp_path: Path, text: str) -> str:
    """A budget file with that text."""
    file = tmp_path / "budget.toml"
    file.write_text(text, "utf-8")
    return str(file)


def measured(*, calls: int, few: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """A result of one operation."""
    item = FIGURES | {"name": "metered", "run": "alone", "calls": calls, "tooFew": list(few), "throughput": 5e5}
    return {"operations": [item | {"ratio": None} | more], "memory": None, "mix": None, "skipped": []}


def test_every_key_and_spelling_is_read(tmp_path: Path) -> None:
    text = """
    [metered]  # the hot one
    p50 = "400ns"
    p90 = " 1.5 us "
    p99 = "5µs"
    "p99.9" = "1_000us"
    'p99.99' = "2ms"
    max = "1s"
    ratio = 40
    throughput = "500_000/s"
    [report_usage]
    p99_9 = "1s"
    [open]
    p50 = "30ms"
    [memory]
    preloaded = "60MB"
    held = "6KiB"
    preload_time = "2s"
    [mix]
    throughput = 1000.5
    """
    found = {(limit.operation, limit.key): (limit.bound, limit.line) for limit in load_budget(budget(tmp_path, text))}
    expected = {
        ("metered", "p50"): (400, 3),
        ("metered", "p90"): (1500, 4),
        ("metered", "p99"): (5000, 5),
        ("metered", "p99_9"): (1e6, 6),
        ("metered", "p99_99"): (2e6, 7),
        ("metered", "max"): (1e9, 8),
        ("metered", "ratio"): (40, 9),
        ("metered", "throughput"): (5e5, 10),
        ("report", "p99_9"): (1e9, 12),
        ("open", "p50"): (3e7, 14),
        ("memory", "preloaded"): (6e7, 16),
        ("memory", "held"): (6144, 17),
        ("memory", "preload_time"): (2e9, 18),
        ("mix", "throughput"): (1000.5, 20),
    }
    assert expected == found


def test_every_mistake_is_told_with_its_line_its_path_and_the_nearest_name(tmp_path: Path) -> None:
    text = """[meterd]
p50 = "1us"

[metered]
p59 = "1us"
p50 = "fast"
p99 = 5
"p99.9" = "1 MB"
throughput = -1
ratio = nan
[open]
throughput = 3
[memory]
preloaded = "60"
p99 = "5us"
[enum]
p99 . 9 = "1s"
[numeric]
throughput = 1000000000000000000000000000000000000000
"""
    file = budget(tmp_path, text)
    with pytest.raises(BudgetInvalid) as failed:
        load_budget(file)
    found = {problem.path: problem for problem in failed.value.problems}
    lines = {"meterd": 1, "metered.p59": 5, "metered.p50": 6, "metered.p99": 7, 'metered."p99.9"': 8}
    lines |= {"metered.throughput": 9, "metered.ratio": 10, "open.throughput": 12, "memory.preloaded": 14}
    lines |= {"memory.p99": 15, "enum.p99": 17, "numeric.throughput": 19}
    assert lines == {path: problem.line for path, problem in found.items()}
    assert "did you mean `metered`?" == found["meterd"].hint
    assert re.fullmatch("did you mean `p[59][09]`\\?", found["metered.p59"].hint or "")
    assert "quotes" in str(found["enum.p99"])
    assert f"{file}:6: metered.p50: is `fast`" in str(found["metered.p50"])


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('[metered]\np99 = "5us"\np99.9 = "1ms"\n', 3, 'in quotes: "p99.9"'),
        ("[metered\n", 1, "budget.toml:1"),
        ('[metered]\np50 = "1us"\np50 = "2us"\n', 3, "budget.toml:3"),
        ("metered = 3\n", 1, "[metered]"),
        ("[metered]\np50 = { ns = 3 }\n", 2, "for example"),
    ],
)
def test_what_is_not_a_budget_is_exit_code_2_with_the_line(
    tmp_path: Path, text: str, line: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = budget(tmp_path, text)
    assert 2 == main(["bench", "--budget", file])
    assert says in capsys.readouterr().err
    assert 2 == main(["bench", "--budget", file, "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert ("BudgetInvalid", line, file) == (
        answer["code"],
        answer["problems"][0]["line"],
        answer["problems"][0]["file"],
    )


def test_an_empty_or_unreadable_budget_is_bad_input(tmp_path: Path) -> None:
    for name in (budget(tmp_path, "# nothing\n"), budget(tmp_path, "[metered]\n"), str(tmp_path), "/no/such/file"):
        with pytest.raises(InvalidInput):
            load_budget(name)
    (tmp_path / "latin.toml").write_bytes(b'[metered]\np99 = "5\xb5s"\n')
    with pytest.raises(BudgetInvalid, match="UTF-8"):
        load_budget(str(tmp_path / "latin.toml"))


@pytest.mark.parametrize("value", ["0us", "0.0 ms", 0, 0.0, -1])
def test_nothing_is_no_amount(value: object) -> None:
    """A limit of nothing would be one that every run breaks."""
    assert {None} == {parse_amount(value, unit) for unit in set(UNITS.values())}


@given(st.one_of(st.text(max_size=70), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.integers())))
def test_any_value_is_an_amount_above_zero_or_none(value: object) -> None:
    for unit in set(UNITS.values()):
        found = parse_amount(value, unit)
        assert found is None or 0 < found < 1e18


@given(st.dictionaries(st.text(max_size=8), st.one_of(st.text(max_size=8), st.integers(), st.booleans()), max_size=4))
def test_a_table_of_anything_is_limits_or_told_mistakes(table: dict[str, object]) -> None:
    import tempfile

    text = "[metered]\n" + "".join(f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in table.items())
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8", errors="surrogatepass") as file:
        file.write(text)
        file.flush()
        try:
            found = load_budget(file.name)
        except InvalidInput as failed:
            assert failed.message
        else:
            assert len(table) == len(found)


# Verdicts --------------------------------------------------------------------------------------------------------


def verdict(key: str, bound: float, result: dict[str, Any]) -> Any:
    """The verdict on one limit of the metered answer."""
    (found,) = judge([Limit("metered", key, bound, 1)], result)
    return found


def test_a_limit_is_kept_up_to_its_bound_and_broken_beyond_by_how_much() -> None:
    result = measured(calls=10**6)
    assert "kept" == verdict("p99", 1000, result).state
    broken = verdict("p99", 400, result)
    assert ("broken", 2.5, 600) == (broken.state, broken.by, broken.excess)
    assert "metered p99 is 1.00 us, at most 400 ns: 600 ns too much (2.50 times)" == str(broken)
    assert "kept" == verdict("throughput", 5e5, result).state
    slow = verdict("throughput", 1e6, result)
    assert ("broken", 2.0, 5e5) == (slow.state, slow.by, slow.excess)
    assert "too few (2.00 times)" in str(slow)


def test_a_percentile_of_too_few_calls_is_judged_by_what_is_known() -> None:
    result = measured(calls=1500, few=("p99_9", "p99_99"))
    assert "kept" == verdict("p99_99", 20_000, result).state
    sure = verdict("p99_99", 999, result)
    assert ("broken", 1000) == (sure.state, sure.found)
    open_ = verdict("p99_99", 15_000, result)
    assert ("unjudged", False, None) == (open_.state, open_.is_kept, open_.by)
    assert "p99.99 needs 100,000 calls and 1,500 were made" in str(open_)


def test_what_was_not_measured_is_not_kept() -> None:
    result = measured(calls=10**6)
    result["skipped"] = [{"name": "enum", "why": "none of 5 customers has an enum entitlement"}]
    limits = [Limit(name, key, 1, 1) for name, key in (("enum", "p50"), ("mix", "throughput"), ("memory", "held"))]
    texts = [str(found) for found in judge(limits, result)]
    assert "none of 5 customers" in texts[0]
    assert "--mix" in texts[1]
    assert "--operation memory" in texts[2]
    assert {"unjudged"} == {found.state for found in judge(limits, result)}
    assert "unjudged" == verdict("ratio", 10, result).state


def test_every_operation_can_have_a_budget_for_every_figure_it_has() -> None:
    assert "ratio" in KEYS["credit"]
    assert "ratio" not in KEYS["report"]
    assert ("preloaded", "held", "preload_time") == KEYS["memory"]
    assert set(UNITS) == {key for keys in KEYS.values() for key in keys}


def test_the_budget_in_the_help_text_is_a_budget(tmp_path: Path) -> None:
    shown = re.search(r"\[metered\]\n(?:.+\n?)+", command.help or "")
    assert shown is not None
    lines = shown[0].splitlines()
    limits = load_budget(budget(tmp_path, "\n".join(line.strip() for line in lines)))
    assert {"metered", "report", "open", "memory", "mix"} == {limit.operation for limit in limits}


# The exit code ---------------------------------------------------------------------------------------------------


def test_a_broken_budget_is_exit_code_5_and_says_which_and_by_how_much(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = budget(tmp_path, '[metered]\np50 = "1ns"\nmax = "1h"\n'.replace("1h", "3600s"))
    asked = ["bench", "--customers", "30", "--iterations", "50", "--operation", "metered", "--plain", "--budget", file]
    assert 5 == main([*asked, "--report", str(tmp_path / "r.html")])
    out = capsys.readouterr().out
    assert re.search(
        r"BROKEN +metered p50 is [\d.]+ [nu]s, at most 1 ns: [\d.]+ [nu]s too much \([\d.,]+ times\)", out
    )
    assert re.search(r"kept +metered max is .*, at most 3600 s", out)
    assert "1 of 2 limits kept" in out
    assert "1 of 2 limits broken" in (tmp_path / "r.html").read_text("utf-8")
    budget(tmp_path, '[metered]\np50 = "1s"\n"p99.99" = "9s"\nthroughput = 1\n')
    assert 0 == main(asked)
    assert "3 of 3 limits kept" in capsys.readouterr().out


@pytest.mark.parametrize("runs", [("alone", "mix"), ("mix", "alone")])
def test_an_operation_alone_says_more_of_itself_than_its_part_in_a_mix(runs: tuple[str, str]) -> None:
    figures = {"alone": 100, "mix": 900}
    result = measured(calls=1000)
    (item,) = result["operations"]
    result["operations"] = [item | {"run": run, "p50": figures[run]} for run in runs]
    (found,) = judge([Limit("metered", "p50", 500, 1)], result)
    assert ("kept", 100) == (found.state, found.found)
