"""How plots are drawn: the same bytes every time, text as text, colours from the page.

Colours are stand-ins that become CSS variables, so that one drawing serves a light and a dark page.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#111213", "#616263", "#d1d2d3", "#fefdfc"
# Okabe and Ito's palette without its yellow, which white paper swallows, and two more.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6f4a8e", "#8c6d46")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SWATCH = "s"
CSS = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)", PAPER: "var(--paper)"}
CSS |= {colour: f"var(--series-{index})" for index, colour in enumerate(SERIES)}

WIDTH_INCHES = 7.6
WIDE_RANGE = 4.0
LEGEND_COLUMNS = 6


@contextmanager
def drawing(height_inches: float) -> Iterator[Figure]:
    """A figure under fixed settings, whatever the reader's matplotlibrc says."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "pocketvec",
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": MUTED,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "axes.edgecolor": LINE,
    }
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        # Only the measuring font lacks such a glyph; the page draws the text with the reader's fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")


def plain_axes(figure: Figure, x_label: str, y_label: str) -> Axes:
    """Axes with a grid and without a frame."""
    axes = figure.add_subplot()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def scale_x(axes: Axes, values: Sequence[float]) -> None:
    """Logarithmic where the values span a wide range, with plain numbers as ticks."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, ScalarFormatter

    if min(values) > 0 and max(values) / min(values) > WIDE_RANGE:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())


def series_of(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker by name; the marker differs where the colours come round again."""
    return {
        name: (SERIES[index % len(SERIES)], MARKERS[index % len(MARKERS)])
        for index, name in enumerate(dict.fromkeys(names))
    }


def draw_legend(axes: Axes, series: dict[str, tuple[str, str]], shapes: dict[str, str]) -> None:
    """Above the plot: each series by its marker or, where markers tell runtimes, by a patch of its colour."""
    from matplotlib.lines import Line2D

    entries = [(name, colour, SWATCH if shapes else own) for name, (colour, own) in series.items()]
    entries += [(runtime, MUTED, marker) for runtime, marker in shapes.items()]
    handles = [
        Line2D([], [], linestyle="", color=colour, marker=marker, label=name)
        for name, colour, marker in entries
    ]
    axes.figure.legend(
        handles=_by_row(handles, LEGEND_COLUMNS),
        loc="outside upper left",
        ncols=min(len(entries), LEGEND_COLUMNS),
        frameon=False,
        handletextpad=0.3,
        columnspacing=1.2,
        borderaxespad=0.2,
    )


def _by_row(handles: list[Any], columns: int) -> list[Any]:
    """Handles in an order that reads by row where Matplotlib fills the legend by column."""
    return [handle for column in range(columns) for handle in handles[column::columns]]


def svg_of(figure: Figure, prefix: str, label: str, notes: Mapping[str, str]) -> str:
    """The figure as an <svg> element for HTML: own ids, no namespaces, its size left to the page.

    `notes` are shown on hovering over the element of that gid.
    """
    figure.patch.set_visible(False)
    buffer = io.StringIO()
    empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=empty)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    for gid, note in notes.items():
        start = f'<g id="{gid}">'
        text = text.replace(start, f"{start}<title>{html.escape(note)}</title>", 1)
    text = re.sub(r'\sid="', f' id="{prefix}-', text).replace("url(#", f"url(#{prefix}-")
    text = text.replace('xlink:href="#', f'href="#{prefix}-')
    text = re.sub(r'\s(width|height)="[\d.]+pt"', "", text, count=2)
    for colour, variable in CSS.items():
        text = text.replace(colour, variable)
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1)
