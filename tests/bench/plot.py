"""Standings as bars, in SVG: pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tests.bench.report import Standing

_LABELS, _BARS, _ROW = 330, 420, 30  # pixels
_SPEED, _CPU = "#2f6f9f", "#d58936"


def plot(lines: Sequence[Standing]) -> str:
    """Two bars each: chunks a second, and microseconds of CPU a chunk."""
    height = _ROW * (len(lines) + 1) + 10
    fastest = max(each.chunks_per_second for each in lines)
    dearest = max(each.cpu_us_per_chunk for each in lines)
    shown = [_text(10, 20, "chunks/s (blue), microseconds of CPU a chunk (orange)")]
    for number, each in enumerate(lines, 1):
        top = number * _ROW
        shown.append(_text(10, top + 17, each.title))
        shown += _bar(top + 2, each.chunks_per_second / fastest, each.chunks_per_second, _SPEED)
        shown += _bar(top + 14, each.cpu_us_per_chunk / dearest, each.cpu_us_per_chunk, _CPU)
    size = f'width="{_LABELS + _BARS + 70}" height="{height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">\n'
        '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(shown) + "\n</svg>\n"
    )


def _bar(top: int, share: float, value: float, colour: str) -> list[str]:
    width = max(1, round(share * _BARS))
    bar = f'<rect x="{_LABELS}" y="{top}" width="{width}" height="11" fill="{colour}"/>'
    return [bar, _text(_LABELS + width + 5, top + 10, f"{value:,.0f}", 11)]


def _text(left: int, base: int, words: str, size: int = 13) -> str:
    return f'<text x="{left}" y="{base}" font-size="{size}">{escape(words)}</text>'
