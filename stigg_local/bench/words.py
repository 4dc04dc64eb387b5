"""Figures as people read them, the same in the table, the report and a verdict."""

from typing import Any

_BARS = "▁▂▃▄▅▆▇█"


def duration_text(nanoseconds: float) -> str:
    """Nanoseconds in the unit that fits."""
    for factor, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if nanoseconds >= factor:
            return f"{_three(nanoseconds / factor)} {unit}"
    return f"{nanoseconds:.0f} ns"


def size_text(count: float) -> str:
    """Bytes in the unit that fits."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if count >= factor:
            return f"{_three(count / factor)} {unit}"
    return f"{count:.0f} B"


def rate_text(per_second: float) -> str:
    """Calls a second."""
    return f"{float(f'{per_second:.3g}'):,.0f}/s"


def amount_text(value: float, unit: str) -> str:
    """A figure of a budget: nanoseconds, bytes, calls a second or times."""
    if unit == "ns":
        return duration_text(value)
    if unit == "B":
        return size_text(value)
    return rate_text(value) if unit == "/s" else f"{value:.1f} lookups"


def times_text(times: float) -> str:
    """How many times something is something else."""
    return f"{times:.2f}" if times < 99.995 else f"{times:,.0f}"


def key_text(key: str) -> str:
    """A figure's key as it is shown: `p99.9` for `p99_9`."""
    return key.replace("_", ".") if key.startswith("p9") else key.replace("_", " ")


def bars(histogram: list[list[float]], width: int = 24) -> str:
    """A histogram on one line; whatever holds a call shows."""
    bins = min(width, len(histogram))
    counts = [0.0] * bins
    for place, (_, _, count) in enumerate(histogram):
        counts[place * bins // len(histogram)] += count
    top = max(counts, default=0)
    if not top:
        return ""
    return "".join(_BARS[min(7, int(count / top * 7.999))] if count else " " for count in counts)


def figure(item: dict[str, Any], key: str) -> str:
    """A percentile of an operation; a dash where too few calls were made for it."""
    return "–" if key in item["tooFew"] else duration_text(item[key])  # noqa: RUF001


def _three(value: float) -> str:
    """Three digits of a number from 1 to below 1,000."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"
