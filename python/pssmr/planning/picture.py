"""A plan as a picture: classes down, lanes across."""

from __future__ import annotations

from html import escape

from pssmr.planning.service_plan import ServicePlan

_ROW, _LANE, _TOP, _MARGIN, _BARS = 26, 54, 80, 16, 96
_LETTER = 7.2
"""The width of a letter, about, in the picture's units."""
_NAME_LETTERS_MAX = 48

_INK, _FAINT, _ONE_OF, _ALL_OF = "#1f2933", "#d9dfe6", "#7fb3d5", "#d1603d"


def draw(plan: ServicePlan) -> str:
    """The picture, as the text of an SVG file."""
    names = [_shortened(f"{each.name} ({', '.join(each.commands)})") for each in plan.classes]
    left = _MARGIN + int(_LETTER * max(len(name) for name in names)) + 70
    lanes = plan.early.lanes
    width = left + _LANE * lanes + _MARGIN
    width = max(width, 520)
    bottom = _TOP + _ROW * len(names)
    height = bottom + _BARS + 2 * _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="ui-monospace, monospace" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(_MARGIN, 24, f"{plan.service}: at most {plan.speed_up:.2f} times one lane", size=15),
        f'<rect x="{_MARGIN}" y="36" width="12" height="12" fill="{_ONE_OF}"/>',
        _text(_MARGIN + 18, 46, "in one of the lanes"),
        f'<rect x="{_MARGIN + 190}" y="36" width="12" height="12" fill="{_ALL_OF}"/>',
        _text(_MARGIN + 208, 46, "in all of them at once"),
    ]
    for lane in range(lanes):
        parts.append(_text(left + _LANE * lane + _LANE // 2, _TOP - 6, f"lane {lane}", anchor="middle"))
    for row, (each, name) in enumerate(zip(plan.classes, names, strict=True)):
        y = _TOP + _ROW * row
        parts.append(f'<line x1="{_MARGIN}" y1="{y}" x2="{left + _LANE * lanes}" y2="{y}" stroke="{_FAINT}"/>')
        parts.append(_text(_MARGIN, y + 17, name))
        parts.append(_text(left - 10, y + 17, f"{each.share:.1%}", anchor="end"))
        colour = _ALL_OF if each.synchronised and len(each.lanes) > 1 else _ONE_OF
        if colour == _ALL_OF:
            first, last = min(each.lanes), max(each.lanes)
            parts.append(
                f'<line x1="{left + _LANE * first + _LANE // 2}" y1="{y + _ROW // 2}" '
                f'x2="{left + _LANE * last + _LANE // 2}" y2="{y + _ROW // 2}" stroke="{colour}" stroke-width="3"/>'
            )
        for lane in each.lanes:
            parts.append(
                f'<rect x="{left + _LANE * lane + 6}" y="{y + 4}" width="{_LANE - 12}" height="{_ROW - 8}" rx="4" '
                f'fill="{colour}"/>'
            )
    parts.append(_text(_MARGIN, bottom + 28, "load"))
    for lane, load in enumerate(plan.loads):
        x, full = left + _LANE * lane + 6, _BARS - 24
        tall = round(full * load, 1)
        parts.append(
            f'<rect x="{x}" y="{bottom + 12}" width="{_LANE - 12}" height="{full}" fill="none" stroke="{_FAINT}"/>'
        )
        parts.append(
            f'<rect x="{x}" y="{bottom + 12 + full - tall}" width="{_LANE - 12}" height="{tall}" fill="{_INK}"/>'
        )
        parts.append(_text(x + (_LANE - 12) // 2, bottom + 26 + full, f"{load:.0%}", anchor="middle"))
    return "\n".join([*parts, "</svg>", ""])


def _shortened(text: str) -> str:
    return text if len(text) <= _NAME_LETTERS_MAX else f"{text[: _NAME_LETTERS_MAX - 1]}…"


def _text(x: int, y: int, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="{_INK}">{escape(text)}</text>'
