"""The report as one HTML file: verdicts first, then the table, the figures, the comparison and the environment.

Law: the file stands alone: no script, no font and no picture from elsewhere; all text of others is escaped.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from stigg_local.bench.budget import FLOORS, UNITS
from stigg_local.bench.figure import curves, histogram
from stigg_local.bench.operations import ALL, KINDS
from stigg_local.bench.samples import RANKS, needed
from stigg_local.bench.words import amount_text, duration_text, figure, key_text, rate_text, size_text, times_text

# On light and on dark, in the order of the operations.
_PALETTE = (
    ("#2a6fd6", "#5b9bff"),
    ("#12946a", "#35c393"),
    ("#b07a00", "#e5b13a"),
    ("#d03a3a", "#ff7b76"),
    ("#5a45b8", "#a594ff"),
    ("#3e7d1e", "#84c35c"),
    ("#c2478f", "#f28cc6"),
    ("#cf5a1d", "#ff9a62"),
    ("#5c6370", "#aab2c0"),
    ("#0b7f91", "#46c3d4"),
    ("#7a4a2b", "#c99a76"),
    ("#8a1fb0", "#d487f2"),
    ("#4d6b00", "#b3d14d"),
    ("#1f4f7a", "#7fb2dd"),
)
# Operation -> its colours; more operations than colours begin anew.
_COLOURS = {name: _PALETTE[place % len(_PALETTE)] for place, name in enumerate(n for n in ALL if n != "memory")}
_STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#16181d;--soft:#5b6270;--line:#e2e5ea;--good:#12764f;
--bad:#b3261e;--goodback:#e7f5ee;--badback:#fdecea;LIGHT}
@media(prefers-color-scheme:dark){:root{--page:#101216;--card:#181b21;--ink:#e9ebef;--soft:#9aa3b2;--line:#2c313a;
--good:#5fd3a0;--bad:#ff8a80;--goodback:#15291f;--badback:#331a19;DARK}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1140px;margin:0 auto;padding:32px 24px 56px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px}h2{font-size:18px;margin:0 0 4px}h3{font-size:15px;margin:0}
p{margin:0 0 10px}.soft{color:var(--soft)}.small{font-size:13px}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px 20px;margin:18px 0 0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th{font-weight:600;color:var(--soft);font-size:13px}
th,td{text-align:right;padding:6px 9px;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child,.left{text-align:left}td.wrap{white-space:normal}.whole{white-space:nowrap}
tr:last-child td{border-bottom:0}
.key{display:inline-block;width:10px;height:10px;border-radius:50%;margin-right:8px}
.banner{border-radius:10px;padding:14px 20px;margin:18px 0 0;font-weight:600;font-size:17px}
.banner.good{background:var(--goodback);color:var(--good)}.banner.bad{background:var(--badback);color:var(--bad)}
td.good{color:var(--good)}td.bad{color:var(--bad);font-weight:600}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(430px,1fr));gap:10px 28px;margin-top:12px}
svg{display:block;width:100%;height:auto}
svg text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;fill:var(--soft)}svg text.label{fill:var(--ink);
font-size:13px}svg text.axis{font-size:13px}
.grid{stroke:var(--line);stroke-width:1}.base{stroke:var(--soft);stroke-width:1}
.mark{stroke:var(--ink);stroke-width:1;stroke-dasharray:3 3}
.curve{fill:none;stroke-width:2;stroke-linejoin:round}.mixed{stroke-dasharray:7 4}
.lead{fill:none;stroke-width:1.5;stroke-dasharray:1 5;stroke-linecap:round;opacity:.7}.dot{opacity:.9}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 20px;margin:8px 0 0;font-size:14px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
code{font:13px ui-monospace,Menlo,Consolas,monospace;color:var(--soft)}
@media print{body{background:#fff}section{break-inside:avoid}}
"""


def page(result: Mapping[str, Any]) -> str:
    """The report of a result.

    Args:
        result: As `session.bench` gives it, with `budget` and `compare` added.
    """
    operations = [item for item in result["operations"] if item["calls"]]
    parts = [_head(result), *_wrong(result["wrong"]), *_budget(result["budget"])]
    if operations:
        parts += [_operations(result, operations), _curves(operations), _histograms(operations)]
    parts += [*_memory(result["memory"]), *_compare(result["compare"]), _method(result), _environment(result)]
    style = _STYLE.replace("LIGHT", _variables(0)).replace("DARK", _variables(1)) + _classes()
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>stigg-local bench, {escape(result['startedAt'])}</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n<main>\n{chr(10).join(parts)}\n</main>\n</body>\n</html>\n"
    )


def _variables(place: int) -> str:
    return "".join(f"--{name}:{colours[place]};" for name, colours in _COLOURS.items())


def _classes() -> str:
    return "".join(
        f".s-{name}{{stroke:var(--{name})}}.f-{name}{{fill:var(--{name})}}.k-{name}{{background:var(--{name})}}"
        for name in _COLOURS
    )


def _head(result: Mapping[str, Any]) -> str:
    settings, environment = result["settings"], result["environment"]
    threads = "1 thread" if settings["threads"] == 1 else f"{settings['threads']} threads"
    return (
        f"<h1>What it costs: {escape(result['data']['source'])}</h1>"
        f'<p class="soft">{escape(result["startedAt"])}, {threads}, {escape(_amount(settings))}, '
        f"{escape(environment['python'])}, {escape(str(environment['processor'] or environment['machine']))}</p>"
    )


def _amount(settings: Mapping[str, Any]) -> str:
    if settings["iterations"] is not None:
        return f"{settings['iterations']:,} calls of each operation"
    return f"{settings['seconds']:g} seconds of calls"


def _wrong(wrong: Sequence[str]) -> Iterator[str]:
    if wrong:
        yield f'<div class="banner bad">Wrong answers: {escape("; ".join(wrong))}</div>'


def _budget(budget: Mapping[str, Any] | None) -> Iterator[str]:
    if budget is None:
        return
    verdicts: list[dict[str, Any]] = budget["verdicts"]
    broken = [item for item in verdicts if not item["isKept"]]
    kept = len(verdicts) - len(broken)
    text = f"{len(broken)} of {len(verdicts)} limits broken" if broken else f"The budget is kept: all {kept} limits"
    yield f'<div class="banner {"bad" if broken else "good"}">{text}</div>'
    rows = []
    for item in sorted(verdicts, key=lambda item: item["isKept"]):
        is_known = item["found"] is not None and item["state"] != "unjudged"
        found = amount_text(item["found"], item["unit"]) if is_known else "–"  # noqa: RUF001
        word, why = "kept", item["why"]
        if item["state"] == "broken":
            times = f", {times_text(item['by'])} ×" if item["by"] else ""  # noqa: RUF001
            word = f"{amount_text(item['excess'], item['unit'])} too {'few' if _is_floor(item) else 'much'}{times}"
        elif item["state"] == "unjudged":
            word = "cannot be judged"
        rows.append(
            f'<tr><td>{_key(item["operation"])}{escape(item["operation"])}</td><td class="left">'
            f"{escape(key_text(item['key']))}</td><td>{found}</td>"
            f"<td>{'at least' if _is_floor(item) else 'at most'} "
            f"{amount_text(item['bound'], item['unit'])}</td>"
            f'<td class="{"good" if item["isKept"] else "bad"}">{word}</td>'
            f'<td class="left wrap">{_whole(why)}</td></tr>'
        )
    yield (
        f'<section><h2>Budget</h2><p class="soft small">{escape(budget["file"])}</p><div class="scroll"><table>'
        '<tr><th>operation</th><th class="left">figure</th><th>measured</th><th>limit</th><th>verdict</th>'
        f"<th></th></tr>{''.join(rows)}</table></div></section>"
    )


def _is_floor(verdict: Mapping[str, Any]) -> bool:
    return verdict["key"] in FLOORS


def _operations(result: Mapping[str, Any], operations: Sequence[dict[str, Any]]) -> str:
    rows = []
    for item in operations:
        name = item["name"] if item["weight"] is None else f"{item['name']} = {item['weight']}"
        cells = [f"{item['calls']:,}", *(figure(item, key) for key in RANKS), duration_text(item["max"])]
        cells.append("" if item["throughput"] is None else rate_text(item["throughput"]))
        cells.append("" if item["ratio"] is None else f"{item['ratio']:.1f}")
        cells.append("" if item["answers"] is None else f"<code>{escape(item['answers'][:8])}</code>")
        rows.append(
            f'<tr title="{escape(KINDS[item["name"]].meaning)}"><td>{_key(item["name"])}{escape(name)}</td>'
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + "</tr>"
        )
    header = "".join(f"<th>{name}</th>" for _, name in RANKS.values())
    lookup = result["lookup"]
    notes = [
        "Each call is timed by itself, less what reading the clock takes; throughput is of calls without a clock.",
        "Answers: a hash of what was answered; the same data and seed give the same one.",
        f"Lookups: the time of a call in units of a dictionary lookup, which takes {lookup} ns here.",
        "A dash: fewer than ten calls lie beyond that percentile, so it would be an accident "
        f"(p99.99 needs {needed(0.9999):,} calls).",
    ]
    if result["mix"] is not None:
        rate = rate_text(result["mix"]["throughput"])
        notes.append(f"The mix: {rate}, all operations and threads together.")
    notes += [f"Not measured: {item['name']}: {item['why']}." for item in result["skipped"]]
    return (
        '<section><h2>Operations</h2><div class="scroll"><table><tr><th>operation</th><th>calls timed</th>'
        f"{header}<th>max</th><th>throughput</th><th>lookups</th><th>answers</th></tr>{''.join(rows)}</table></div>"
        f'<p class="soft small" style="margin-top:12px">{escape(" ".join(notes))}</p></section>'
    )


def _curves(operations: Sequence[dict[str, Any]]) -> str:
    return (
        '<section><h2>Latency by percentile</h2><p class="soft small">The further right, the rarer the call; '
        f"a line ends where too few calls are left to say more.</p>{curves(operations)}</section>"
    )


def _histograms(operations: Sequence[dict[str, Any]]) -> str:
    cards = []
    for item in operations:
        kind, mixed, meaning = KINDS[item["name"]], "", KINDS[item["name"]].meaning
        if item["run"] == "mix":
            # What is answered from memory when nothing else is called may not be after a report.
            mixed, meaning = " in the mix", f"{kind.method}, in turns with the others"
        cards.append(
            f'<div><h3>{_key(item["name"])}{escape(item["name"])}{mixed}</h3><p class="soft small" style="margin:0">'
            f"{escape(meaning)}; {item['calls']:,} calls</p>{histogram(item)}</div>"
        )
    return (
        '<section><h2>Distribution</h2><p class="soft small">Calls by duration on a logarithmic axis; the last bar '
        f'holds everything beyond it.</p><div class="cards">{"".join(cards)}</div></section>'
    )


def _memory(memory: Mapping[str, Any] | None) -> Iterator[str]:
    if memory is None:
        return
    yield (
        "<section><h2>Memory</h2>"
        + _pairs(
            {
                f"{memory['customers']:,} customers, preloaded": size_text(memory["preloaded"]),
                "time to preload them": duration_text(memory["preload_time"]),
                "one customer held with one answer": size_text(memory["held"]),
            }
        )
        + "</section>"
    )


def _compare(compared: Mapping[str, Any] | None) -> Iterator[str]:
    if compared is None:
        return
    rows = []
    for item in compared["changes"]:
        unit, band = UNITS[item["key"]], item["band"]
        word = {"same": "", "better": "better", "worse": "worse"}[item["word"]]
        name = item["operation"].partition(" ")[0]
        rows.append(
            f"<tr><td>{_key(name)}{escape(item['operation'])}</td>"
            f'<td class="left">{key_text(item["key"])}</td>'
            f"<td>{amount_text(item['before'], unit)}</td><td>{amount_text(item['now'], unit)}</td>"
            f"<td>{item['ratio']:.2f}</td><td>{1 / (1 + band):.2f}–{1 + band:.2f}</td>"  # noqa: RUF001
            f'<td class="left {"good" if word == "better" else "bad"}">{word}</td></tr>'
        )
    unlike = "".join(f"<p>Unlike: {escape(text)}</p>" for text in compared["unlike"])
    yield (
        f'<section><h2>Compared with {escape(compared["file"])}</h2><p class="soft small">Now over before. Within '
        f"the noise, which both runs show between their own slices, a difference says nothing.</p>{unlike}"
        '<div class="scroll"><table><tr><th>operation</th><th class="left">figure</th><th>before</th><th>now</th>'
        "<th>ratio</th><th>noise</th>"
        f"<th></th></tr>{''.join(rows)}</table></div></section>"
    )


def _method(result: Mapping[str, Any]) -> str:
    return f"<section><h2>How it was measured</h2>{_pairs(result['method'])}</section>"


def _environment(result: Mapping[str, Any]) -> str:
    environment, data, settings = result["environment"], result["data"], result["settings"]
    collections = [item["collections"] for item in result["operations"] if item["collections"]]
    full = sum(item[-1] for item in collections)
    told = {
        "stigg_local": environment["stiggLocal"],
        "Python": environment["python"],
        "SQLite": environment["sqlite"],
        "system": f"{environment['system']}, {environment['machine']}",
        "processor": f"{environment['processors']} × {environment['processor'] or 'unknown'}",  # noqa: RUF001
        "load at the beginning": environment["load"],
        "file system": environment["fileSystem"] or "unknown",
        "customers": f"{data['customers']:,}, {data['workingSet']:,} of them asked about in memory",
        "features": data["features"],
        "database": size_text(data["bytes"]),
        "threads, seed": f"{settings['threads']}, {settings['seed']}",
        "full garbage collections": f"{full} while calls were made",
    }
    return f"<section><h2>Environment</h2>{_pairs(told)}</section>"


def _pairs(pairs: Mapping[str, Any]) -> str:
    rows = (f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in pairs.items())
    return f"<dl>{''.join(rows)}</dl>"


def _whole(text: str) -> str:
    """Text whose options are not torn apart at their hyphens."""
    words = [escape(word) for word in text.split()]
    return " ".join(f'<span class="whole">{word}</span>' if word.startswith("--") else word for word in words)


def _key(name: str) -> str:
    return f'<span class="key k-{escape(name)}"></span>' if name in _COLOURS else ""
