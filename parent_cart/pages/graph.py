"""A small SVG chart of bytes per second over the last minutes, as text without script and style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cart_common.process.number_words import byte_words

from .rates import SAMPLE_EVERY_S, SAMPLES_KEPT, Sample

WIDTHS: Final = {"wide": 1100, "middle": 720, "narrow": 340}
"""The widths of the chart for three widths of screens, so that its text is about as large as the page's."""
HEIGHT: Final = 220
LEFT: Final = 74
RIGHT: Final = 8
TOP: Final = 12
BOTTOM: Final = 26
SPAN_S: Final = SAMPLE_EVERY_S * SAMPLES_KEPT
LINES: Final = 4


def charts(samples: Sequence[Sample], now: float) -> str:
    """Return one chart for each width of screens; the page shows one of them."""
    return "".join(chart(samples, now, width, name) for name, width in WIDTHS.items())


def chart(samples: Sequence[Sample], now: float, width: int, name: str) -> str:
    """Return the chart; time runs from left to right and ends now.

    Args:
        samples: the oldest first.
        now: the time on the clock of the samples, in seconds.
        width: the chart's width, in units in which its text is 12 high.
        name: the chart's CSS class.
    """
    top = nice_top(max((sample.bytes_per_s for sample in samples), default=0.0))
    across, down = width - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    spots = [
        (LEFT + across * (1 - (now - sample.at) / SPAN_S), TOP + down * (1 - sample.bytes_per_s / top))
        for sample in samples
        if now - sample.at <= SPAN_S
    ]
    parts = [_line(width, TOP + down * step / LINES, top * (1 - step / LINES)) for step in range(LINES + 1)]
    parts += [
        f'<text x="{LEFT + across * share:.0f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{words}</text>'
        for share, anchor, words in (
            (0.0, "start", f"{SPAN_S / 60:g} min ago"),
            (0.5, "middle", f"{SPAN_S / 120:g} min ago"),
            (1.0, "end", "now"),
        )
    ]
    if spots:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        floor = TOP + down
        parts.append(f'<polygon class="area" points="{spots[0][0]:.1f},{floor} {path} {spots[-1][0]:.1f},{floor}"/>')
        parts.append(f'<polyline class="curve" points="{path}"/>')
    most = byte_words(max((sample.bytes_per_s for sample in samples), default=0.0))
    return (
        f'<svg class="{name}" viewBox="0 0 {width} {HEIGHT}" role="img" '
        f'aria-label="Relayed bytes per second in the last {SPAN_S / 60:g} minutes: at most {most} per second">'
        f"{''.join(parts)}</svg>"
    )


def nice_top(most: float) -> float:
    """Return the upper end of the scale: 1, 2, 4 or 8 times a power of ten, at least ``most``."""
    top = 1000.0
    while True:
        for step in (1, 2, 4, 8):
            if step * top >= most:
                return step * top
        top *= 10


def _line(width: int, y: float, rate: float) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{byte_words(rate)}/s</text>'
    )
