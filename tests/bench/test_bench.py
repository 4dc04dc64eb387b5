"""The latency-budget harness: what it measures on, what it makes of it, and that a user's directory stays as it is."""

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from html.parser import HTMLParser
from pathlib import Path
from time import perf_counter
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stigg_local import Stigg
from stigg_local.bench import data, questions, session
from stigg_local.bench.answers import answers_hash, differing
from stigg_local.bench.compare import Change, compare, unlike
from stigg_local.bench.load import Amount, Load
from stigg_local.bench.operations import ALL, CALLED, HOT, KINDS, parse_runs
from stigg_local.bench.page import page
from stigg_local.bench.questions import Data
from stigg_local.bench.samples import RANKS, Samples, needed
from stigg_local.bench.session import Request, bench
from stigg_local.bench.timing import Draws
from stigg_local.cli.main import main
from stigg_local.errors import InvalidInput
from stigg_local.store.duplicate import duplicate

EXAMPLE = Path(data.__file__).parents[1] / "cli" / "example" / "catalog.toml"
SMALL = ("--customers", "60", "--iterations", "40")


def quiet(_what: str, _done: float, _total: float) -> None:
    """Nobody looks."""


@pytest.fixture(scope="module", autouse=True)
def _few_rounds() -> Iterator[None]:
    """What makes figures steady is not what is looked at here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "ROUNDS", 2)
        patch.setattr(session, "PASSES", 1)
        patch.setattr(questions, "ANSWERS_MAX", 100)
        yield


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """Everything measured once, on little data."""
    runs = parse_runs(ALL, ["metered=6,boolean=3,report=1"])
    with pytest.MonkeyPatch.context() as patch:
        # Each is a process of its own.
        patch.setattr(session, "OPENS_MIN", 2)
        patch.setattr(session, "OPENS_MAX", 2)
        # Some customers are left who are not in memory.
        patch.setattr(questions, "WORKING_SET", 200)
        return bench(Request(runs=runs, seconds=0.4, customers=300), quiet) | {"budget": None, "compare": None}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A user's directory with some customers, which nobody has open."""
    path = tmp_path / "theirs"
    with Stigg(catalog=data.catalog(10), data_dir=path) as client:
        data.write_customers(client, 40)
    return path


def fingerprints(directory: Path) -> dict[str, tuple[int, str]]:
    """Modification time and content of every file."""
    return {
        path.name: (path.stat().st_mtime_ns, blake2b(path.read_bytes()).hexdigest())
        for path in sorted(directory.iterdir())
    }


# What is measured on ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["as it was left", "a log without its index", "the database alone"])
def test_the_directory_of_a_user_is_not_touched_by_one_byte(directory: Path, tmp_path: Path, state: str) -> None:
    if state == "the database alone":
        (tmp_path / "whole").mkdir()
        duplicate(str(directory), str(tmp_path / "whole"))
        directory = tmp_path / "whole"
        assert not list(directory.glob("*-wal"))
    elif state == "a log without its index":
        for path in directory.iterdir():
            if path.name not in {"authority.db", "authority.db-wal"}:
                path.unlink()
    before = fingerprints(directory)
    request = Request(runs=parse_runs(["metered", "report", "disk"]), iterations=20, data_dir=str(directory))
    assert 40 == bench(request, quiet)["data"]["customers"]
    assert before == fingerprints(directory)


def test_a_directory_in_use_is_measured_while_its_owner_writes(directory: Path) -> None:
    with Stigg(data_dir=directory) as client:
        stop = threading.Event()
        made = [0]

        def write() -> None:
            while not stop.is_set():
                client.report_usage(data.customer_id(1), data.features(10).metered[0], 1)
                made[0] += 1

        start = client.get_metered_entitlement(data.customer_id(1), data.features(10).metered[0]).current_usage
        writer = threading.Thread(target=write)
        writer.start()
        try:
            request = Request(runs=parse_runs(["report", "metered"]), iterations=50, data_dir=str(directory))
            found = bench(request, quiet)
        finally:
            stop.set()
            writer.join()
        end = client.get_metered_entitlement(data.customer_id(1), data.features(10).metered[0]).current_usage
    assert [] == found["wrong"]
    assert start + made[0] == end


def test_a_catalog_is_applied_to_the_copy_alone(directory: Path) -> None:
    before = fingerprints(directory)
    request = Request(runs=parse_runs(["generic"]), iterations=5, data_dir=str(directory), catalog=str(EXAMPLE))
    found = bench(request, quiet)
    assert "catalog.toml applied to it" in found["data"]["source"]
    assert before == fingerprints(directory)


def test_customers_are_generated_on_any_catalog_with_a_plan_to_be_had() -> None:
    request = Request(
        runs=parse_runs(["metered", "credit", "report"]), iterations=20, catalog=str(EXAMPLE), customers=50
    )
    found = bench(request, quiet)
    assert 50 == found["data"]["customers"]
    assert [] == found["wrong"]


@pytest.mark.parametrize(
    "request_",
    [
        Request(runs=(), customers=0),
        Request(runs=(), features=4),
        Request(runs=(), seconds=0),
        Request(runs=(), seconds=float("nan")),
        Request(runs=(), iterations=0),
        Request(runs=(), threads=0),
        Request(runs=(), seed=-1),
        Request(runs=(), data_dir="/nowhere/at/all"),
    ],
)
def test_what_cannot_be_measured_is_bad_input(request_: Request) -> None:
    with pytest.raises(InvalidInput):
        bench(request_, quiet)


def test_a_customer_who_is_entitled_through_a_resource_is_asked_about_there(tmp_path: Path) -> None:
    catalog = data.catalog(5)
    catalog["products"][0]["multipleSubscriptions"] = True
    with Stigg(catalog=catalog, data_dir=tmp_path / "theirs") as client:
        client.provision_customer("acme", subscription_params=None)
        client.provision_subscription("acme", "plan-0", resource_id="site-1")
    request = Request(runs=parse_runs(["metered", "report"]), iterations=10, data_dir=str(tmp_path / "theirs"))
    found = bench(request, quiet)
    assert [] == found["skipped"] + found["wrong"]


# What is asked for -----------------------------------------------------------------------------------------------


def test_operations_and_mixes_are_read_in_every_form() -> None:
    names = [[pair[0] for pair in run.weights] for run in parse_runs(["metered,report_usage", "check"])]
    assert [["metered"], ["report"], ["generic"]] == names
    mix, alone = parse_runs(["disk"], ["metered=8,report=1", "boolean=4"])
    assert (("metered", 8), ("report", 1), ("boolean", 4)) == mix.weights
    assert (True, False) == (mix.is_mix, alone.is_mix)
    assert parse_runs(["metered=8"]) == parse_runs((), ["metered=8"])
    assert [(name,) for name in ALL] == [tuple(pair[0] for pair in run.weights) for run in parse_runs(())]


@pytest.mark.parametrize(
    ("given_", "mix", "hint"),
    [
        (["meterd"], [], "metered"),
        (["zzz"], [], "boolean"),
        (["metered", "get_metered_entitlement"], [], "once"),
        ([], ["metered"], "metered=8"),
        ([], ["open=3"], "process of its own"),
        ([], ["metered=0"], "1,000,000"),
        ([], ["metered=٣"], "1,000,000"),
        ([""], [], "boolean"),
    ],
)
def test_a_wrong_operation_names_the_way_out(given_: list[str], mix: list[str], hint: str) -> None:
    with pytest.raises(InvalidInput) as failed:
        parse_runs(given_, mix)
    assert hint in str(failed.value)


# What is made of the calls ---------------------------------------------------------------------------------------


def test_every_operation_has_figures(result: dict[str, Any]) -> None:
    alone = [item["name"] for item in result["operations"] if item["run"] == "alone"]
    assert [*CALLED, "open"] == alone
    assert [] == result["skipped"] + result["wrong"]
    for item in result["operations"]:
        assert item["min"] <= item["p50"] <= item["p99"] <= item["p99_99"] <= item["max"]
        assert item["calls"] == sum(count for _, _, count in item["histogram"])
        assert (item["name"] in HOT and item["run"] == "alone") is (item["ratio"] is not None)
        assert (item["answers"] is None) is (KINDS[item["name"]].is_write or item["name"] == "open")
    assert 300 == result["memory"]["customers"]
    assert result["memory"]["preload_time"] > 0
    json.dumps(result, allow_nan=False)


def test_a_mix_is_called_by_its_weights(result: dict[str, Any]) -> None:
    mixed = {item["name"]: item["calls"] for item in result["operations"] if item["run"] == "mix"}
    total = sum(mixed.values())
    for name, share in {"metered": 0.6, "boolean": 0.3, "report": 0.1}.items():
        assert abs(mixed[name] / total - share) < 0.05


@pytest.mark.parametrize("threads", [1, 3])
def test_iterations_are_that_many_calls(threads: int) -> None:
    runs = parse_runs(["boolean", "report"], ["metered=2,report=1"])
    found = bench(Request(runs=runs, iterations=37, threads=threads, customers=30), quiet)
    assert {37} == {item["calls"] for item in found["operations"] if item["run"] == "alone"}
    assert 37 == sum(item["calls"] for item in found["operations"] if item["run"] == "mix")
    assert [] == found["wrong"]


def test_the_same_data_and_seed_give_the_same_answers_whatever_else_is_measured() -> None:
    def answers(names: list[str], **more: Any) -> dict[str, str]:
        found = bench(Request(runs=parse_runs(names), iterations=3, **({"customers": 20} | more)), quiet)
        return {item["name"]: item["answers"] for item in found["operations"]}

    first = answers(["report", "metered", "disk"])
    assert first["metered"] == answers(["metered"])["metered"]
    assert first["disk"] == answers(["boolean", "disk"])["disk"]
    assert first["metered"] != answers(["metered"], seed=7)["metered"]
    assert first["metered"] != answers(["metered"], features=10)["metered"]


def test_a_report_that_is_not_counted_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    genuine, calls = Stigg.report_usage, Counter[str]()

    def lossy(self: Stigg, *given_: Any, **named: Any) -> Any:
        calls["all"] += 1
        return None if calls["all"] % 20 == 0 else genuine(self, *given_, **named)

    monkeypatch.setattr(Stigg, "report_usage", lossy)
    assert 5 == main(["bench", *SMALL, "--operation", "report"])
    assert re.search(r"WRONG: `report` was called 80 times and counted 7\d", capsys.readouterr().out)


def test_answers_that_differ_are_counted_unless_time_alone_changed_them() -> None:
    class Answer:
        def __init__(self, usage: int, valid_until: Any = None) -> None:
            self.usage, self.valid_until = usage, valid_until

        def to_dict(self) -> dict[str, Any]:
            return {"currentUsage": self.usage, "validUntil": self.valid_until, "feature": [{"asOf": id(self)}]}

    class Instant:
        def timestamp(self) -> float:
            return 100.0

    one = Answer(1)
    assert answers_hash([one]) == answers_hash([Answer(1)])
    assert answers_hash([one]) != answers_hash([Answer(2)])
    assert 0 == differing([one, one], [Answer(1), Answer(1)], between_ms=(0, 10))
    assert 1 == differing([one, one], [Answer(1), Answer(2)], between_ms=(0, 10))
    assert 0 == differing([Answer(9, Instant())], [one], between_ms=(99_990, 100_010))
    # Around its end by no more than a clock is corrected by.
    assert 0 == differing([Answer(9, Instant())], [one], between_ms=(101_000, 101_010))
    # Held beyond its end is as wrong as changed before it.
    assert 1 == differing([Answer(9, Instant())], [one], between_ms=(200_000, 200_010))
    assert 1 == differing([Answer(9, Instant())], [one], between_ms=(50_000, 50_010))


def test_every_call_of_a_load_is_counted_for_its_operation(directory: Path) -> None:
    with Stigg(data_dir=directory) as client:
        operations_made = Data(client, [data.customer_id(index) for index in range(40)])
        (run,) = parse_runs((), ["boolean=3,numeric=1"])
        operations = [operations_made.operation(name) for name, _ in run.weights]
        load = Load(run, operations, threads=1)
        load.measure(Amount(0.05), lambda _: None)
    made = [load.made(0), load.made(1)]
    assert all(count >= samples.calls for count, samples in zip(made, load.samples, strict=True))
    assert abs(made[0] / sum(made) - 0.75) < 0.01


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=300), st.integers(0, 50))
def test_percentiles_are_those_of_the_sorted_calls(taken: list[int], less: int) -> None:
    samples = Samples("metered")
    samples.fold(Counter(taken), less=less)
    ordered = sorted(max(0, item - less) for item in taken)
    shown = samples.to_dict()
    for key, (rank, _) in RANKS.items():
        assert ordered[round((len(ordered) - 1) * rank)] == shown[key]
        assert (needed(rank) > len(ordered)) is (key in shown["tooFew"])
    assert len(taken) == sum(count for _, _, count in shown["histogram"])
    assert all(low < high for low, high, _ in shown["histogram"])


def test_a_percentile_needs_ten_calls_beyond_it() -> None:
    assert [20, 100, 1000, 10_000, 100_000] == [needed(rank) for rank, _ in RANKS.values()]


@given(st.integers(0, 2**63), st.integers(1, 40), st.integers(0, 60))
def test_a_sample_holds_different_items_and_follows_from_the_seed(seed: int, size: int, count: int) -> None:
    found = Draws(seed).sample(range(size), count)
    assert found == Draws(seed).sample(range(size), count)
    assert min(size, count) == len(set(found)) == len(found)


# Before and now --------------------------------------------------------------------------------------------------


def test_a_result_compared_with_itself_differs_in_nothing(result: dict[str, Any]) -> None:
    changes = compare(result, result)
    assert {"same"} == {change.word for change in changes}
    assert {1.0} == {change.ratio for change in changes}
    assert {"metered", "metered in the mix", "memory"} <= {change.operation for change in changes}
    assert [] == unlike(result, result)


@pytest.mark.parametrize(
    ("now", "is_floor", "word"),
    [
        (105, False, "same"),
        (106, False, "worse"),
        (95.5, False, "same"),
        (95.1, False, "better"),
        (106, True, "better"),
    ],
)
def test_a_change_counts_beyond_its_band_either_way(now: float, is_floor: bool, word: str) -> None:
    """By as much slower as faster: a twentieth more, or what a twentieth more would have been before."""
    assert word == Change("metered", "p50", 100, now, 0.05, is_floor).word


def test_a_figure_is_compared_where_both_runs_can_tell(result: dict[str, Any]) -> None:
    """The band is the noise of both; of another number of customers, memory says nothing."""
    before, now = (json.loads(json.dumps(result)) for _ in range(2))
    for one, few in ((before, ["p99"]), (now, [])):
        for item in one["operations"]:
            item["tooFew"] = few
            item["noise"]["p50"] = 0.2
    before["memory"]["customers"] += 1
    found = {(change.operation, change.key): change.band for change in compare(before, now)}
    assert 0.4 == found["metered", "p50"]
    assert ("metered", "p99") not in found
    assert "memory" not in {operation for operation, _ in found}


def test_what_got_slower_beyond_the_noise_is_worse_and_other_answers_are_told(result: dict[str, Any]) -> None:
    slow = json.loads(json.dumps(result))
    for item in slow["operations"]:
        if item["name"] == "metered":
            item["p50"] *= 30
            item["throughput"] /= 30
            item["answers"] = "0" * 16
    slow["environment"]["processors"] = 64
    words = {(change.operation, change.key): change.word for change in compare(result, slow)}
    assert "worse" == words["metered", "p50"] == words["metered", "throughput"]
    assert "same" == words["boolean", "p50"]
    told = unlike(slow, result)
    assert any("processors 64 before" in text for text in told)
    assert "the answers of `metered` are others than before" in told


# The report ------------------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """What is open, and what was met."""

    VOID = frozenset({"meta", "circle", "rect", "line", "path"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.met: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.met[tag] += 1
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.met[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()


def hostile(value: Any) -> Any:
    """The same with markup in every text that is no name of ours."""
    if isinstance(value, dict):
        return {
            key: hostile(item) if key not in {"name", "operation", "run", "key", "unit", "state", "word"} else item
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return f'{value}<script src="http://x/">"&\'</script>' if isinstance(value, str) else value


def verdicts() -> dict[str, Any]:
    """A budget as it stands in a result: one limit of each state."""
    common = {"key": "p99", "unit": "ns", "bound": 5.0, "line": 1, "why": "", "text": "t", "operation": "metered"}
    kept = common | {"found": 4.0, "state": "kept", "isKept": True, "by": None, "excess": None}
    broken = common | {"found": 10.0, "state": "broken", "isKept": False, "by": 2.0, "excess": 5.0}
    unjudged = common | {"found": None, "state": "unjudged", "isKept": False, "by": None, "excess": None}
    return {"file": "budget.toml", "verdicts": [kept, broken, unjudged | {"why": "add --operation metered"}]}


def full(result: dict[str, Any]) -> dict[str, Any]:
    """A result with everything that a report can show."""
    changes = [change.to_dict() for change in compare(result, result)]
    compared = {"file": "before.json", "unlike": ["python 3 before, 4 now"], "changes": changes}
    return result | {"budget": verdicts(), "compare": compared, "wrong": ["one answer"]}


def test_the_report_is_whole_and_stands_alone(result: dict[str, Any]) -> None:
    text = page(full(result))
    tags = Tags(text)
    assert [] == tags.open
    shown = [item for item in result["operations"] if item["calls"]]
    assert 1 + len(shown) == tags.met["svg"]
    for figure in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(figure)
    headings = re.findall(r"<h2>([^<]*)", text)
    assert [
        "Budget",
        "Operations",
        "Latency by percentile",
        "Distribution",
        "Memory",
        "Compared with before.json",
    ] == headings[:6]
    assert ["How it was measured", "Environment"] == headings[6:]
    assert "2 of 3 limits broken" in text
    assert "prefers-color-scheme:dark" in text
    for outside in ("http:", "https:", "@import", "url(", "<script", "<link", "<img", "<iframe", "javascript:"):
        assert outside not in text
    assert not {"src", "href", "srcset", "data", "onload", "onclick"} & {name for name, _ in tags.attributes}


def test_the_report_escapes_whatever_others_wrote(result: dict[str, Any]) -> None:
    strange = full(result)
    for part in ("data", "environment", "budget", "compare", "wrong", "skipped", "method", "startedAt"):
        strange[part] = hostile(strange[part] or [{"name": "enum", "why": "none"}])
    tags = Tags(page(strange))
    assert [] == tags.open
    assert 0 == tags.met["script"]
    assert "src" not in {name for name, _ in tags.attributes}
    assert Tags(page(full(result))).met == tags.met


def test_a_report_of_nothing_but_memory_has_no_figures() -> None:
    found = bench(Request(runs=parse_runs(["memory"]), iterations=5, customers=20), quiet)
    tags = Tags(page(found | {"budget": None, "compare": None}))
    assert [] == tags.open
    assert 0 == tags.met["svg"]


# The command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STIGG_LOCAL_DATA_DIR", raising=False)
    return tmp_path


def test_the_command_writes_a_table_json_and_a_report_and_compares(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["bench", *SMALL, "--operation", "metered,boolean", "--mix", "metered=3,report=1"]
    assert 0 == main([*asked, "--output", "one.json", "--report", "one.html"])
    out, err = capsys.readouterr()
    assert re.search(r"\nmetered=3 +\d", out)
    assert re.search(r"\nboolean .* 40 .*[▁▂▃▄▅▆▇█]", out)
    assert "p99.99, which needs 100,000" in out
    assert "measuring metered" in err
    earlier = json.loads(Path("one.json").read_text("utf-8"))
    assert [] == Tags(Path("one.html").read_text("utf-8")).open
    assert 0 == main([*asked, "--json-out", "two.json", "--compare", "one.json", "--plain"])
    out, err = capsys.readouterr()
    assert "compared with one.json" in out
    assert "" == err
    now = json.loads(Path("two.json").read_text("utf-8"))
    assert earlier["answers"] == now["answers"]
    assert now["compare"]["changes"]
    assert [] == now["compare"]["unlike"]


def test_json_on_standard_output_is_one_object_with_the_verdicts(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("budget.toml").write_text('[boolean]\np50 = "1ns"\n', "utf-8")
    assert 5 == main(["bench", *SMALL, "--op", "boolean", "--budget", "budget.toml", "--json"])
    out, err = capsys.readouterr()
    (verdict,) = json.loads(out)["budget"]["verdicts"]
    assert "" == err
    assert ("boolean", "p50", "broken", False, 2) == tuple(
        verdict[name] for name in ("operation", "key", "state", "isKept", "line")
    )
    assert verdict["by"] == verdict["found"] == verdict["excess"] + 1


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "[]",
        "{}",
        '{"schema": 1, "operations": []}',
        '{"schema": 99, "operations": []}',
        '{"schema": 1, "operations": [{"name": "metered"}], "lookup": NaN}',
        '{"schema": 1, "operations": [[]], "lookup": 1, "memory": null}',
    ],
)
def test_an_earlier_result_that_is_none_is_said_before_anything_is_measured(
    in_folder: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("earlier.json").write_text(damage, "utf-8")
    assert 2 == main(["bench", *SMALL, "--compare", "earlier.json"])
    assert "earlier.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--operation", "meterd"),
        ("--mix", "metered"),
        ("--customers", "0"),
        ("--iterations", "0"),
        ("--seed", "-1"),
        ("--seconds", "nan"),
        ("--data-dir", "nowhere"),
        ("--data-dir", ".", "--customers", "5"),
        ("--catalog", "missing.toml", "--operation", "metered"),
        ("--features", "9", "--catalog", "missing.toml"),
        ("--output", "no/such/folder/x.json"),
        ("--report", "."),
        ("--compare", "missing.json"),
        ("--budget", "missing.toml"),
    ],
)
def test_wrong_use_is_exit_code_2(in_folder: Path, arguments: tuple[str, ...]) -> None:
    assert 2 == main(["bench", "--iterations", "3", *arguments])


def test_an_environment_variable_gives_way_to_generated_customers(
    in_folder: Path, directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STIGG_LOCAL_DATA_DIR", str(directory))
    assert 0 == main(["bench", *SMALL, "--op", "boolean", "--json"])
    assert 60 == json.loads(capsys.readouterr().out)["data"]["customers"]
    assert 0 == main(["bench", "--iterations", "3", "--op", "boolean", "--json"])
    assert 40 == json.loads(capsys.readouterr().out)["data"]["customers"]


@pytest.mark.stress
def test_a_hundred_thousand_customers_of_fifty_features_take_less_than_a_minute(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = perf_counter()
    assert 0 == main(["bench", "--customers", "100000", "--features", "50", "--report", "bench.html", "--json"])
    assert perf_counter() - start < 60
    found = json.loads(capsys.readouterr().out)
    assert (100_000, 50, []) == (found["data"]["customers"], found["data"]["features"], found["wrong"])
