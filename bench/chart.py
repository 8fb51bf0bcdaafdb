"""Numbers in, SVG out: lines by size on logarithmic axes, and stacked bars."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10

COLOURS = ("#2f6fdd", "#e0892b", "#3a9c6b", "#b5434f", "#7a5cc0", "#6b7280")
WIDTH = 760


def lines(title: str, curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Draw one line for each name; both axes are logarithmic."""
    height, left, right, top, bottom = 380, 60, 190, 50, 50
    points = [point for curve in curves.values() for point in curve]
    low_x, high_x = (log10(choose(x for x, _ in points)) for choose in (min, max))
    low_y = floor(log10(min(y for _, y in points)))
    high_y = ceil(log10(max(y for _, y in points)))

    def across(x: float) -> float:
        return left + (log10(x) - low_x) / ((high_x - low_x) or 1) * (WIDTH - left - right)

    def up(y: float) -> float:
        return height - bottom - (log10(y) - low_y) / (high_y - low_y) * (height - top - bottom)

    parts = []
    for power in range(low_y, high_y + 1):
        y = up(10**power)
        parts.append(_rule(left, y, WIDTH - right, y))
        parts.append(_text(left - 8, y + 4, f"{10**power:g} s", "end"))
    parts += [
        _text(across(x), height - bottom + 20, f"{x:,.0f}", "middle")
        for x in sorted({x for x, _ in points})
    ]
    for curve, colour in zip(curves.values(), COLOURS, strict=False):
        places = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in curve)
        parts.append(
            f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts += [
            f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="{colour}"/>'
            for x, y in curve
        ]
    parts += _legend(list(curves), WIDTH - right + 20, top)
    return _svg(title, height, parts)


def bars(title: str, stacks: Mapping[str, Mapping[str, float]]) -> str:
    """Draw one bar for each name, made of its parts."""
    left, right, top, step = 190, 60, 80, 36
    names = list(dict.fromkeys(part for stack in stacks.values() for part in stack))
    longest = max(sum(stack.values()) for stack in stacks.values())
    height = top + step * len(stacks) + 20
    parts = []
    for row, (name, stack) in enumerate(stacks.items()):
        x, y = float(left), top + row * step
        parts.append(_text(left - 10, y + 17, name, "end"))
        for part, value in stack.items():
            width = value / longest * (WIDTH - left - right)
            colour = COLOURS[names.index(part)]
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="24" fill="{colour}"/>'
            )
            x += width
        parts.append(_text(x + 6, y + 17, f"{sum(stack.values()):.1f}", "start"))
    for column, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        x = left + column * 110
        parts.append(f'<rect x="{x}" y="48" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(x + 18, 58, name, "start"))
    return _svg(title, height, parts)


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="sans-serif" font-size="13">'
    )
    background = f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    name = f"<title>{escape(title)}</title>"
    heading = f'<text x="16" y="28" font-size="16" fill="#111827">{escape(title)}</text>'
    return "\n".join([head, name, background, heading, *parts, "</svg>"]) + "\n"


def _legend(names: Sequence[str], x: float, y: float) -> list[str]:
    parts = []
    for row, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        parts.append(f'<rect x="{x}" y="{y + row * 22}" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(x + 18, y + row * 22 + 11, name, "start"))
    return parts


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1}" y1="{y1:.1f}" x2="{x2}" y2="{y2:.1f}" stroke="#e5e7eb"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#374151">{escape(text)}</text>'
    )
