"""Drawing how usage went: columns of characters for a terminal, and a picture as SVG.

Law: pure; what is drawn is a staircase, for usage holds until it changes.
"""

from stigg_local.core.usage_result import UsageHistory
from stigg_local.core.words import UsageMarkerType

BLOCKS, PLAIN = " ▁▂▃▄▅▆▇█", " .:-=+*%#"
HEIGHT = 8
SVG_WIDTH, SVG_HEIGHT = 800, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 34, 40

_COLOURS = {UsageMarkerType.PERIODIC_RESET: "#6b7280", UsageMarkerType.SUBSCRIPTION_CHANGE_RESET: "#b45309"}


def columns(history: UsageHistory, width: int) -> list[float]:
    """The highest usage in each of so many equal parts of the time."""
    start, length = history.start_ms, max(1, history.end_ms + 1 - history.start_ms)
    found = [0.0] * width
    level, at = 0.0, 0
    for point in history.points:
        column = min(width - 1, (point.timestamp_ms - start) * width // length)
        for passed in range(at, column + 1):
            # Where usage begins anew at the very beginning of a column, nothing of before shows in it.
            is_here = passed == column and (point.timestamp_ms - start) * width % length == 0
            found[passed] = max(found[passed], 0.0 if is_here else level)
        level, at = float(point.value), column
        found[column] = max(found[column], level)
    for passed in range(at + 1, width):
        found[passed] = level
    return found


def lines(history: UsageHistory, width: int, *, is_plain: bool) -> list[str]:
    """The chart, highest row first, with its scale and a row of marks where usage began anew."""
    levels = columns(history, width)
    top = max([*levels, 0.0])
    steps = PLAIN if is_plain else BLOCKS
    label = max(len(_number(top)), 1)
    drawn = []
    for row in range(HEIGHT, 0, -1):
        cells = []
        for level in levels:
            filled = level / top * HEIGHT - (row - 1) if top else 0.0
            cells.append(steps[0 if filled <= 0 else max(1, min(8, round(filled * 8)))])
        name = _number(top) if row == HEIGHT else "0" if row == 1 else ""
        drawn.append(f"{name:>{label}} {'|' if is_plain else '┤'}{''.join(cells)}".rstrip())
    marks = [" "] * width
    length = max(1, history.end_ms + 1 - history.start_ms)
    for marker in history.markers:
        is_periodic = marker.type == UsageMarkerType.PERIODIC_RESET
        marks[(marker.timestamp_ms - history.start_ms) * width // length] = "^" if is_periodic else "*"
    if history.markers:
        drawn.append(f"{'':>{label}}  {''.join(marks)}".rstrip())
    return drawn


def svg(history: UsageHistory, title: str) -> str:
    """The picture: a staircase, a dashed line at each reset, and what the axes mean."""
    from html import escape

    width, height = SVG_WIDTH - _LEFT - _RIGHT, SVG_HEIGHT - _TOP - _BOTTOM
    length = max(1, history.end_ms - history.start_ms)
    top = max([float(point.value) for point in history.points] + [0.0]) or 1.0

    def x(at_ms: int) -> float:
        return round(_LEFT + (at_ms - history.start_ms) / length * width, 2)

    def y(value: float) -> float:
        return round(_TOP + height - value / top * height, 2)

    path = [f"M{_LEFT} {y(0)}"]
    for point in history.points:
        path.append(f"H{x(point.timestamp_ms)}V{y(float(point.value))}")
    path.append(f"H{_LEFT + width}")
    markers = [
        f'<line x1="{x(item.timestamp_ms)}" y1="{_TOP}" x2="{x(item.timestamp_ms)}" y2="{_TOP + height}"'
        f' stroke="{_COLOURS[item.type]}" stroke-dasharray="4 3"><title>{item.type.value}'
        f" {item.timestamp:%Y-%m-%dT%H:%M:%SZ}</title></line>"
        for item in history.markers
    ]
    baseline, title = _TOP + height, escape(title, quote=False)
    text = 'font-family="sans-serif" font-size="12" fill="#374151"'
    begin, end = history.start_date, history.end_date
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{SVG_WIDTH}" height="{SVG_HEIGHT}"'
            f' viewBox="0 0 {SVG_WIDTH} {SVG_HEIGHT}" role="img">',
            f"<title>{title}</title>",
            f'<rect width="{SVG_WIDTH}" height="{SVG_HEIGHT}" fill="#ffffff"/>',
            f'<text x="{_LEFT}" y="20" {text}>{title}</text>',
            f'<line x1="{_LEFT}" y1="{baseline}" x2="{_LEFT + width}" y2="{baseline}" stroke="#9ca3af"/>',
            f'<path d="{"".join(path)}V{baseline}H{_LEFT}Z" fill="#93c5fd" fill-opacity="0.35" stroke="none"/>',
            f'<path d="{"".join(path)}" fill="none" stroke="#1d4ed8" stroke-width="1.5"/>',
            *markers,
            f'<text x="{_LEFT - 8}" y="{y(top) + 4}" text-anchor="end" {text}>{_number(top)}</text>',
            f'<text x="{_LEFT - 8}" y="{baseline + 4}" text-anchor="end" {text}>0</text>',
            f'<text x="{_LEFT}" y="{baseline + 20}" {text}>{begin:%Y-%m-%d %H:%M}</text>',
            f'<text x="{_LEFT + width}" y="{baseline + 20}" text-anchor="end" {text}>{end:%Y-%m-%d %H:%M} UTC</text>',
            "</svg>",
            "",
        ]
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
