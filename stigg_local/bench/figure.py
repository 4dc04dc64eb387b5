"""The report's figures as SVG: percentile curves of all operations, and a histogram of each.

Laws: everything is drawn with classes of the page's style sheet, so that one text serves light and dark; nothing is
fetched; every mark says in its title what it stands for.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from stigg_local.bench.words import duration_text

_WIDTH, _HEIGHT = 1080, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 150, 16, 46
_LABEL_GAP = 17
_CARD_WIDTH, _CARD_HEIGHT, _CARD_LEFT, _CARD_BOTTOM, _CARD_TOP = 510, 170, 12, 26, 30
# Ranks with a name, as far to the right as there are nines.
_TICKS = (
    (0.0, "min"),
    (0.5, "p50"),
    (0.9, "p90"),
    (0.99, "p99"),
    (0.999, "p99.9"),
    (0.9999, "p99.99"),
    (0.99999, "p99.999"),
)
_MARKED = (("p50", "p50"), ("p99", "p99"), ("p99_9", "p99.9"))


def curves(operations: Sequence[Mapping[str, Any]]) -> str:
    """Latency by percentile, both axes logarithmic, one line for each operation."""
    drawn = [item for item in operations if len(item.get("curve", ())) > 1]
    if not drawn:
        return ""
    low, high = _span([value for item in drawn for _, value in item["curve"]])
    nines = max(_nines(item["curve"][-1][0]) for item in drawn)

    def x(rank: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * _nines(rank) / nines

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - math.log10(max(value, low) / low) / math.log10(high / low))

    parts = [_decades(low, high, y)]
    for rank, name in _TICKS:
        if _nines(rank) <= nines + 1e-9:
            parts.append(_line(x(rank), _TOP, x(rank), _HEIGHT - _BOTTOM, "grid"))
            parts.append(_text(x(rank), _HEIGHT - _BOTTOM + 20, name, "tick", "middle"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(_text(middle, _HEIGHT - 6, "share of calls that take no longer", "axis", "middle"))
    ends = []
    for item in drawn:
        points = [(x(rank), y(value)) for rank, value in item["curve"]]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        name = _name(item)
        parts.append(f'<polyline class="curve s-{escape(item["name"])}{_dash(item)}" points="{path}">')
        parts.append(f"<title>{escape(name)}</title></polyline>")
        for (px, py), (rank, value) in zip(points, item["curve"], strict=True):
            told = f"{name}: {rank * 100:.6g} % of calls take at most {duration_text(value)}"
            parts.append(f'<circle class="dot f-{escape(item["name"])}" cx="{px:.1f}" cy="{py:.1f}" r="2.6">')
            parts.append(f"<title>{escape(told)}</title></circle>")
        ends.append((points[-1], item))
    parts += _labels(ends)
    return _svg(_WIDTH, _HEIGHT, "latency by percentile", parts)


def histogram(item: Mapping[str, Any]) -> str:
    """How the calls of one operation are spread, on a logarithmic axis, with its percentiles marked."""
    bins: list[list[float]] = item["histogram"]
    low, high = bins[0][0], max(bins[-1][1], bins[0][0] * 1.001)
    top = max(count for _, _, count in bins)
    floor = _CARD_HEIGHT - _CARD_BOTTOM

    def x(value: float) -> float:
        place = math.log(max(value, low) / low) / math.log(high / low)
        return _CARD_LEFT + (_CARD_WIDTH - 2 * _CARD_LEFT) * min(1.0, place)

    parts = [_line(_CARD_LEFT, floor, _CARD_WIDTH - _CARD_LEFT, floor, "base")]
    for place, (start, end, count) in enumerate(bins):
        if not count:
            continue
        # A bin with one call in a million shows as a hair.
        height = max(1.0, (floor - _CARD_TOP) * count / top)
        beyond = " and beyond" if place == len(bins) - 1 else ""
        told = f"{duration_text(start)} to {duration_text(end)}{beyond}: {count:,.0f} calls"
        width = max(1.0, x(end) - x(start) - 1.5)
        parts.append(
            f'<rect class="f-{escape(item["name"])}" x="{x(start):.1f}" y="{floor - height:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}"><title>{escape(told)}</title></rect>'
        )
    shown_to = -math.inf
    for key, name in _MARKED:
        # What lies beyond the axis has its place in the table.
        if key in item["tooFew"] or item[key] > high:
            continue
        at = x(item[key])
        parts.append(_line(at, _CARD_TOP - 4, at, floor, "mark"))
        text = f"{name} {duration_text(item[key])}"
        width = 6.2 * len(text)
        start = min(max(at - width / 2, _CARD_LEFT), _CARD_WIDTH - _CARD_LEFT - width)
        if start < shown_to:
            continue
        shown_to = start + width + 8
        parts.append(_text(start, _CARD_TOP - 10, text, "tick", "start"))
    parts += _durations(low, high, x, floor + 17)
    return _svg(_CARD_WIDTH, _CARD_HEIGHT, f"histogram of {item['name']}", parts)


def _durations(low: float, high: float, x: Any, y: float) -> Iterator[str]:
    """Round durations below a histogram, as many as have room."""
    taken = -math.inf
    for value in _rounds(low, high):
        text = duration_text(value).replace(".00 ", " ").replace(".0 ", " ")
        half = 3.4 * len(text)
        at = x(value)
        if at - half > max(0.0, taken + 10) and at + half <= _CARD_WIDTH:
            taken = at + half
            yield _line(at, y - 17, at, y - 13, "base") + _text(at, y, text, "tick", "middle")


def _rounds(low: float, high: float) -> Iterator[float]:
    power = 10 ** math.floor(math.log10(low))
    steps = (1, 2, 3, 5) if high / low > 4 else (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9)
    while power <= high:
        for step in steps:
            if low <= power * step <= high:
                yield power * step
        power *= 10


def _decades(low: float, high: float, y: Any) -> str:
    parts = []
    value = low
    while value <= high * 1.001:
        parts.append(_line(_LEFT, y(value), _WIDTH - _RIGHT, y(value), "grid"))
        text = duration_text(value).replace(".00 ", " ").replace(".0 ", " ")
        parts.append(_text(_LEFT - 10, y(value) + 4, text, "tick", "end"))
        value *= 10
    return "".join(parts)


def _labels(ends: list[tuple[tuple[float, float], Mapping[str, Any]]]) -> Iterator[str]:
    """A name at the end of each line; names that would touch are moved apart, lines lead to them."""
    ordered = sorted(ends, key=lambda end: end[0][1])
    wanted = [end[0][1] for end in ordered]
    places: list[float] = []
    for at in wanted:
        places.append(max(at, places[-1] + _LABEL_GAP) if places else max(at, _TOP + 6))
    # Pushed below the axis: up again, from the last one on.
    limit = float(_HEIGHT - _BOTTOM)
    for index in range(len(places) - 1, -1, -1):
        places[index] = min(places[index], limit)
        limit = places[index] - _LABEL_GAP
    column = _WIDTH - _RIGHT + 22
    for ((px, py), item), at in zip(ordered, places, strict=True):
        yield f'<path class="lead s-{escape(item["name"])}" d="M{px:.1f} {py:.1f}L{column - 6} {at:.1f}"/>'
        yield f'<circle class="f-{escape(item["name"])}" cx="{column}" cy="{at:.1f}" r="4"/>'
        yield _text(column + 9, at + 4, _name(item), "label", "start")


def _name(item: Mapping[str, Any]) -> str:
    return f"{item['name']} (mix)" if item["run"] == "mix" else str(item["name"])


def _dash(item: Mapping[str, Any]) -> str:
    return " mixed" if item["run"] == "mix" else ""


def _nines(rank: float) -> float:
    return -math.log10(1 - rank)


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Whole decades around the values."""
    low = 10 ** math.floor(math.log10(max(1, min(values))))
    return low, max(low * 10, 10 ** math.ceil(math.log10(max(values))))


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
    return f"{head}{''.join(parts)}</svg>"
