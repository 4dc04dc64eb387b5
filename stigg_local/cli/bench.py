"""`bench`: latencies, throughput, memory and opening on a user's own data, held against a budget."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from stigg_local.cli.options import data_dir_option, named_directory, pass_output
from stigg_local.cli.output import Output, clean
from stigg_local.errors import InvalidInput, StiggError

if TYPE_CHECKING:
    from stigg_local.bench.budget import Verdict
    from stigg_local.bench.compare import Change
    from stigg_local.bench.source import Progress

BROKEN = 5
# What the whole table takes.
WIDE = 140
STDOUT = "-"


def _json_target(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
    """Only `--json` without a file makes standard output JSON; with one, words go there as ever."""
    out = ctx.find_object(Output)
    if value is not None and out is not None:
        out.as_json = value == STDOUT
    return value


@click.command(short_help="Measure it on your data, against a budget.")
@click.option("--catalog", metavar="FILE", help="A catalog file: applied to the copy, or for generated customers.")
@click.option("--customers", type=int, metavar="N", help="How many are generated.  [default: 100000]")
@click.option("--features", type=int, metavar="N", help="Features of a generated catalog.  [default: 50]")
@click.option(
    "--operation",
    "--op",
    "operations",
    multiple=True,
    metavar="NAME[,NAME]",
    help="Measured alone; see above.",
)
@click.option("--mix", multiple=True, metavar="NAME=WEIGHT[,…]", help="Measured together, calls in turns.")
@click.option("--threads", type=int, default=1, show_default=True, metavar="N", help="Threads that make the calls.")
@click.option(
    "--seconds",
    "--duration",
    "seconds",
    type=float,
    default=10.0,
    show_default=True,
    metavar="S",
    help="For all calls together.",
)
@click.option("--iterations", type=int, metavar="N", help="So many calls of each operation, instead of seconds.")
@click.option("--seed", type=int, metavar="N", help="Of the questions and their order; the same in every run without.")
@click.option("--budget", metavar="FILE", help="TOML; exit code 5 where a limit in it is not kept.")
@click.option("--compare", "earlier", metavar="FILE", help="What --output wrote before: ratios, and what is noise.")
@click.option("--report", "--html", "html", metavar="FILE", help="Write a report with figures, in one HTML file.")
@click.option("--output", "--json-out", "output", metavar="FILE", help="Write the result there as JSON.")
@click.option(
    "--json",
    "json_file",
    is_flag=False,
    flag_value=STDOUT,
    is_eager=True,
    callback=_json_target,
    metavar="[FILE]",
    help="Print one JSON object, for errors too; with FILE as --output.",
)
@click.option("--plain", is_flag=True, expose_value=False, help="Print without colour, boxes and progress bars.")
@data_dir_option
@pass_output
def bench(
    out: Output,
    *,
    data_dir: str | None,
    catalog: str | None,
    customers: int | None,
    features: int | None,
    operations: tuple[str, ...],
    mix: tuple[str, ...],
    threads: int,
    seconds: float,
    iterations: int | None,
    seed: int | None,
    budget: str | None,
    earlier: str | None,
    html: str | None,
    output: str | None,
    json_file: str | None,
) -> int:
    """Measure latencies, throughput, memory and opening, and hold them against a budget.

    With --data-dir a copy of that directory is measured, and the directory itself is only read. Without it,
    customers are generated, on the catalog of --catalog or on a generated one.

    \b
    Operations:
      boolean numeric enum metered credit generic   an answer from memory, by each getter
      requested   a metered answer with another requested_usage each time
      disk        an answer about a customer who is not in memory
      report      a usage report, on disk when it returns
      open        the constructor and the first answer, in a fresh process
      memory      customers preloaded and held, in a fresh process
    Without --operation and --mix all of them are measured, each alone.

    \b
    A budget file. Units are ns, us, ms, s; KB, MB, GB. Latencies are p50 p90 p99 "p99.9" "p99.99" max,
    for each operation; a percentile that too few calls were made for is kept where none was slower:
      [metered]
      p50 = "400ns"
      p99 = "5us"
      "p99.99" = "2ms"
      ratio = 40             # of a dictionary lookup; for answers from memory
      throughput = "500_000/s"
      [report]
      p99 = "20ms"
      [open]
      p50 = "30ms"
      [memory]
      preloaded = "60MB"     # all customers, in compact form
      held = "6KB"           # one customer with one answer
      preload_time = "2s"
      [mix]
      throughput = "100_000/s"

    \b
    Examples:
      stigg-local bench --report bench.html
      stigg-local bench --data-dir var/stigg --budget budget.toml --output bench.json
      stigg-local bench --mix metered=8,report=1,boolean=4 --threads 4 --seconds 20
      stigg-local bench --operation metered,disk --iterations 100000 --compare bench.json

    Exit codes 2: bad input or usage, a mistake in the budget file among it; nothing was measured. 5: a limit of the
    budget was broken or could not be judged, or answers were wrong.
    """
    from stigg_local.bench.budget import judge, load_budget
    from stigg_local.bench.compare import compare, load_result, unlike
    from stigg_local.bench.operations import parse_runs
    from stigg_local.bench.session import Request
    from stigg_local.bench.session import bench as measured
    from stigg_local.bench.timing import SEED

    is_generated = customers is not None or features is not None
    if is_generated and _is_from_environment():
        data_dir = None
    if data_dir is not None and is_generated:
        raise click.UsageError("--customers and --features are for generated data, without --data-dir")
    if catalog is not None and features is not None:
        raise click.UsageError("--features does not go with --catalog, which has its own")
    # Whatever is wrong with a file is said before anything is measured.
    limits = [] if budget is None else load_budget(budget)
    before = None if earlier is None else load_result(earlier)
    written = [name for name in (output, None if json_file == STDOUT else json_file) if name]
    targets = [*([html] if html else []), *written]
    for target in targets:
        _check_writable(target)
    request = Request(
        runs=parse_runs(operations, mix),
        seconds=seconds,
        iterations=iterations,
        seed=SEED if seed is None else seed,
        threads=threads,
        data_dir=None if data_dir is None else str(named_directory(data_dir)),
        catalog=catalog,
        customers=100_000 if customers is None else customers,
        features=50 if features is None else features,
    )
    with _progress(out) as progress:
        result = measured(request, progress)
    verdicts = judge(limits, result)
    result["budget"] = None if budget is None else {"file": budget, "verdicts": [item.to_dict() for item in verdicts]}
    changes = [] if before is None else compare(before, result)
    result["compare"] = None
    if before is not None:
        told = unlike(before, result)
        result["compare"] = {"file": earlier, "unlike": told, "changes": [item.to_dict() for item in changes]}
    _write(result, html=html, json_files=written)
    if out.as_json:
        out.json(result)
    else:
        _show(out, result, verdicts, changes)
        for target in targets:
            out.line(f"written: {target}")
    return BROKEN if result["wrong"] or not all(item.is_kept for item in verdicts) else 0


def _is_from_environment() -> bool:
    """Whether the data directory is the one of the environment variable, which an option outdoes."""
    return click.get_current_context().get_parameter_source("data_dir") is ParameterSource.ENVIRONMENT


def _check_writable(target: str) -> None:
    path = Path(target)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InvalidInput(f"`{target}` cannot be written", hint="name a file in a directory that exists")


def _write(result: dict[str, Any], *, html: str | None, json_files: "Sequence[str]") -> None:
    import json

    texts = {name: json.dumps(result, indent=1) + "\n" for name in json_files}
    if html is not None:
        from stigg_local.bench.page import page

        texts[html] = page(result)
    for name, text in texts.items():
        try:
            Path(name).write_text(text, "utf-8")
        except OSError as error:
            raise StiggError(f"`{name}` cannot be written: {error.strerror}", hint="name another file") from error


@contextmanager
def _progress(out: Output) -> "Iterator[Progress]":
    """A bar that is drawn only when it is told something: no thread of its own disturbs what is measured.

    Where it goes to a file, each part that begins is one line there.
    """
    from stigg_local.cli.output import terminal

    shown = None if out.as_json or out.plain else terminal(sys.stderr)
    if shown is None:
        yield _silent if out.as_json or out.plain else _Lines(out).told
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=shown, transient=True, auto_refresh=False, redirect_stdout=False) as bar:
        task = bar.add_task("beginning", total=1.0)

        def told(what: str, done: float, total: float) -> None:
            bar.update(task, description=clean(what), completed=done, total=total or 1.0)
            bar.refresh()

        yield told


def _silent(_what: str, _done: float, _total: float) -> None:
    """Nobody looks."""


class _Lines:
    def __init__(self, out: Output) -> None:
        self._out = out
        self._last = ""

    def told(self, what: str, _done: float, _total: float) -> None:
        if what != self._last:
            self._last = what
            self._out.note(what)


# What is shown ---------------------------------------------------------------------------------------------------


def _show(out: Output, result: dict[str, Any], verdicts: "Sequence[Verdict]", changes: "Sequence[Change]") -> None:
    from stigg_local.bench.words import duration_text, rate_text, size_text

    environment, data = result["environment"], result["data"]
    out.line(data["source"], "title")
    out.line(
        f"{environment['python']}, SQLite {environment['sqlite']}, {environment['processors']} processors, "
        f"{environment['fileSystem']}, load {environment['load']}; {result['settings']['threads']} thread(s); "
        f"a dictionary lookup takes {result['lookup']} ns",
        "dim",
    )
    out.line()
    _operations(out, result)
    if result["mix"] is not None:
        out.line(f"the mix: {rate_text(result['mix']['throughput'])}, all operations and threads together")
    memory = result["memory"]
    if memory is not None:
        out.line(
            f"memory: {memory['customers']:,} customers preloaded take {size_text(memory['preloaded'])} and "
            f"{duration_text(memory['preload_time'])}; a customer held with one answer {size_text(memory['held'])}"
        )
    for item in result["skipped"]:
        out.line(f"not measured: {item['name']}: {item['why']}")
    _few(out, result)
    if result["answers"] is not None:
        out.line(f"answers {result['answers']}: equal for the same data, seed and operations", "dim")
    out.line(
        "latencies are of single calls, less the clock's own cost; throughput is of blocks without a clock; "
        "garbage collection stays on",
        "dim",
    )
    for text in result["wrong"]:
        out.line(f"WRONG: {text}", "bad")
    if result["compare"] is not None:
        _compared(out, result["compare"], changes)
    if result["budget"] is not None:
        out.line()
        kept = sum(item.is_kept for item in verdicts)
        out.line(f"budget {result['budget']['file']}: {kept} of {len(verdicts)} limits kept", "title")
        for item in sorted(verdicts, key=lambda item: item.is_kept):
            word = {"kept": "kept", "broken": "BROKEN", "unjudged": "NOT KEPT"}[item.state]
            out.line(f"  {word:<8}  {item}", "good" if item.is_kept else "bad")


def _operations(out: Output, result: dict[str, Any]) -> None:
    from stigg_local.bench.samples import RANKS
    from stigg_local.bench.words import bars, duration_text, figure, rate_text

    header = ["operation", *(shown for _, shown in RANKS.values()), "max"]
    more = ["timed", "throughput", "lookups", "distribution (log)"]
    latencies, others = [], []
    for item in result["operations"]:
        if not item["calls"]:
            continue
        name = item["name"] if item["weight"] is None else f"{item['name']}={item['weight']}"
        latencies.append([name, *(figure(item, key) for key in RANKS), duration_text(item["max"])])
        rate = "" if item["throughput"] is None else rate_text(item["throughput"])
        ratio = "" if item["ratio"] is None else f"{item['ratio']:.1f}"
        others.append([f"{item['calls']:,}", rate, ratio, bars(item["histogram"])])
    if latencies and _is_narrow():
        out.table(header, latencies)
        out.table(["operation", *more], [[row[0], *other] for row, other in zip(latencies, others, strict=True)])
    elif latencies:
        out.table(header + more, [row + other for row, other in zip(latencies, others, strict=True)])


def _is_narrow() -> bool:
    """Whether standard output is a terminal that would cut a wide table."""
    import shutil

    return sys.stdout.isatty() and shutil.get_terminal_size().columns < WIDE


def _few(out: Output, result: dict[str, Any]) -> None:
    """Which percentiles are left out, and what they need."""
    from stigg_local.bench.samples import RANKS, needed

    for key, (rank, shown) in RANKS.items():
        names = [item["name"] for item in result["operations"] if item["calls"] and key in item["tooFew"]]
        if names:
            out.line(f"too few calls for {shown}, which needs {needed(rank):,}: {', '.join(names)}", "dim")


def _compared(out: Output, compared: dict[str, Any], changes: "Sequence[Change]") -> None:
    from stigg_local.bench.budget import UNITS
    from stigg_local.bench.words import amount_text, key_text

    out.line()
    out.line(f"compared with {compared['file']}", "title")
    for text in compared["unlike"]:
        out.line(f"  unlike: {text}", "bad")
    header = ["operation", "figure", "before", "now", "ratio", "noise", ""]
    rows = [
        [
            item.operation,
            key_text(item.key),
            amount_text(item.before, UNITS[item.key]),
            amount_text(item.now, UNITS[item.key]),
            f"{item.ratio:.2f}",
            f"{1 / (1 + item.band):.2f}–{1 + item.band:.2f}",  # noqa: RUF001 - a range
            "" if item.word == "same" else item.word,
        ]
        for item in changes
    ]
    if _is_narrow():
        noise = header.index("noise")
        for row in [header, *rows]:
            del row[noise]
    out.table(header, rows)
