"""Curves over one axis as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 720, 400, 60, 48, 48, 160
_INK, _FAINT = "#1f2933", "#d9dfe6"
_COLOURS = ("#d1603d", "#2f7fb5", "#4b9b5f", "#8e5ea2", "#c2a13a", "#5f6c7b", "#b53f72", "#3aa6a0")


def draw_curves(title: str, axis: str, values: Sequence[float], curves: Mapping[str, Sequence[float]]) -> str:
    """The picture, as the text of an SVG file: a curve for each name, dashed if the name is `bound`.

    The values are evenly spaced, whatever they are.
    """
    top = max(max(curve) for curve in curves.values()) or 1.0
    across = _WIDTH - _LEFT - _RIGHT

    def x(index: int) -> float:
        return round(_LEFT + across * index / max(len(values) - 1, 1), 1)

    def y(value: float) -> float:
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="ui-monospace, monospace" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(16, 24, title, size=15),
        _text(_LEFT + across / 2, _HEIGHT - 10, axis, anchor="middle"),
    ]
    for step in range(5):
        value = top * step / 4
        parts.append(
            f'<line x1="{_LEFT}" y1="{y(value)}" x2="{x(len(values) - 1)}" y2="{y(value)}" stroke="{_FAINT}"/>'
        )
        parts.append(_text(_LEFT - 8, y(value) + 4, f"{value:.3g}", anchor="end"))
    for index, value in enumerate(values):
        parts.append(_text(x(index), _HEIGHT - _BOTTOM + 18, f"{value:g}", anchor="middle"))
    for number, (name, curve) in enumerate(curves.items()):
        is_bound = name == "bound"
        colour = _INK if is_bound else _COLOURS[number % len(_COLOURS)]
        dashes = ' stroke-dasharray="5 4"' if is_bound else ""
        points = " ".join(f"{x(index)},{y(value)}" for index, value in enumerate(curve))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        down = _TOP + 18 * number
        parts.append(
            f'<line x1="{_WIDTH - _RIGHT + 16}" y1="{down}" x2="{_WIDTH - _RIGHT + 40}" y2="{down}" stroke="{colour}" '
            f'stroke-width="2"{dashes}/>'
        )
        parts.append(_text(_WIDTH - _RIGHT + 46, down + 4, name))
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="{_INK}">{escape(text)}</text>'
