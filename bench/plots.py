"""The report's two plots as inline SVG: the same bytes every time, text as text, colours from the page.

Colours are stand-ins that become CSS variables, so that one drawing serves a light and a dark page.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.compare import counterparts
from bench.report import BYTES_PER_MB, Profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#111213", "#616263", "#d1d2d3", "#fefdfc"
# Okabe and Ito's palette without its yellow, which white paper swallows, and two more.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6f4a8e", "#8c6d46")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
RUNTIME_MARKERS = ("o", "^", "D", "v", "P", "X")
SWATCH = "s"
CSS = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)", PAPER: "var(--paper)"}
CSS |= {colour: f"var(--series-{index})" for index, colour in enumerate(SERIES)}

WIDTH_INCHES = 6.0
POINTS_PER_INCH = 72
LABEL_POINTS = 12.0
LABEL_GAP = 12.0
CHARACTER_POINTS = 5.2
LABEL_CHARACTERS = 30
WIDE_RANGE = 4.0
LEGEND_COLUMNS = 5


def size_svg(profiles: Sequence[Profile], front: Sequence[str]) -> str:
    """Size in MB against NDCG@10, one marker per profile (hollow: it fails), `front` drawn and labelled."""
    with _drawing(4.4) as figure:
        axes = _axes(figure, "Artifact size (MB)", "NDCG@10")
        labels = _precision_labels(profiles)
        series, shapes = _series(list(labels.values())), _shapes(profiles)
        for profile in profiles:
            colour, own = series[labels[profile.precision]]
            face = PAPER if profile.verdict == "fail" else colour
            marker = shapes.get(profile.runtime, own)
            axes.plot(*_point(profile), marker, color=colour, markerfacecolor=face, markersize=7, zorder=3)
        _x_scale(axes, [_point(profile)[0] for profile in profiles])
        _draw_front(axes, [profile for profile in profiles if profile.name in front])
        _legend(axes, series, shapes)
        return _svg(figure, "size", "Artifact size against NDCG@10, with the Pareto front")


def latency_svg(profiles: Sequence[Profile], lengths: Sequence[str]) -> str:
    """One row per profile, fastest first: p50 as a marker and a whisker to p90, for each token length."""
    rows = sorted(profiles, key=lambda profile: _p50(profile, lengths[-1]))
    series, shapes = _series([f"{length} tokens" for length in lengths]), _shapes(profiles)
    with _drawing(1.2 + 0.27 * len(rows)) as figure:
        axes = _axes(figure, "Milliseconds per text, batch 1: p50, whisker to p90", "")
        for row, profile in enumerate(rows):
            for length, timed in profile.latency_ms.items():
                colour, own = series[f"{length} tokens"]
                marker = shapes.get(profile.runtime, own)
                whisker = [[0.0], [max(timed.p90 - timed.p50, 0.0)]]
                axes.errorbar([timed.p50], [row], xerr=whisker, fmt=marker, color=colour, capsize=3, ms=6)
        values = [
            value for one in rows for timed in one.latency_ms.values() for value in (timed.p50, timed.p90)
        ]
        _x_scale(axes, values)
        axes.set_yticks(range(len(rows)), [_short(profile.name) for profile in rows], parse_math=False)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        _legend(axes, series, shapes)
        return _svg(figure, "latency", "Latency of every profile by text length")


def _precision_labels(profiles: Sequence[Profile]) -> dict[str, str]:
    """What the legend calls each precision: with its counterpart's where only that one stands beside it."""
    labels = {profile.precision: profile.precision for profile in profiles}
    pairs = {(onnx.precision, litert.precision) for onnx, litert in counterparts(profiles)}
    for onnx, litert in sorted(pairs):
        if onnx != litert and (litert, litert) not in pairs:
            labels[onnx] = labels[litert] = f"{onnx} / {litert}"
    return labels


def _shapes(profiles: Sequence[Profile]) -> dict[str, str]:
    """Marker by runtime, where there is more than one to tell apart."""
    runtimes = list(dict.fromkeys(profile.runtime for profile in profiles))
    if len(runtimes) < 2:
        return {}
    return {name: RUNTIME_MARKERS[index % len(RUNTIME_MARKERS)] for index, name in enumerate(runtimes)}


def _p50(profile: Profile, length: str) -> float:
    return profile.latency_ms[length].p50 if length in profile.latency_ms else float("inf")


def _point(profile: Profile) -> tuple[float, float]:
    return profile.file_bytes / BYTES_PER_MB, profile.ndcg_at_10


def _series(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker by name; the marker differs where the colours come round again."""
    return {
        name: (SERIES[index % len(SERIES)], MARKERS[index % len(MARKERS)])
        for index, name in enumerate(dict.fromkeys(names))
    }


def _short(name: str) -> str:
    """A label that fits: its ends, where names differ, are kept."""
    half = LABEL_CHARACTERS // 2
    return name if len(name) <= LABEL_CHARACTERS else f"{name[: half - 1]}…{name[-half:]}"


def _draw_front(axes: Axes, front: list[Profile]) -> None:
    """A staircase through the front, and its names in the corner above it, which the front keeps empty."""
    points = sorted((*_point(profile), _short(profile.name)) for profile in front)
    sizes, scores = [x for x, _, _ in points], [y for _, y, _ in points]
    axes.plot(sizes, scores, color=MUTED, linewidth=1, drawstyle="steps-post", zorder=1)
    _make_room(axes, points)
    scale = POINTS_PER_INCH / axes.figure.dpi
    heights = [
        (y - axes.bbox.y0) * scale for _, y in axes.transData.transform(list(zip(sizes, scores, strict=True)))
    ]
    for point, own, height in zip(points, heights, _spread(heights, axes.bbox.height * scale), strict=True):
        axes.annotate(
            point[2],
            point[:2],
            xytext=(-LABEL_GAP, height - own),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=9,
            parse_math=False,
            arrowprops={
                "arrowstyle": "-",
                "color": MUTED,
                "linewidth": 0.6,
                "relpos": (1, 0.5),
                "shrinkA": 0,
                "shrinkB": 4,
            },
        )


def _make_room(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Widen both ranges so that every label fits left of its point and above it."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.2 * (high - low))
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # lays out: widths are known after it
    width = axes.bbox.width * POINTS_PER_INCH / axes.figure.dpi
    forward = axes.xaxis.get_transform()
    left, right = forward.transform(axes.get_xlim())
    for x, _, label in points:
        share = min((len(label) * CHARACTER_POINTS + LABEL_GAP) / width, 0.7)
        left = min(left, (forward.transform([x])[0] - share * right) / (1 - share))
    axes.set_xlim(forward.inverted().transform([left])[0], None)


def _spread(heights: list[float], top: float) -> list[float]:
    """Label heights at least a line apart, each above its point where there is room under `top`."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height + LABEL_POINTS, placed[-1] + LABEL_POINTS if placed else height))
    for index in reversed(range(len(placed))):
        above = placed[index + 1] - LABEL_POINTS if index + 1 < len(placed) else top
        placed[index] = min(placed[index], above)
    return placed


def _x_scale(axes: Axes, values: Sequence[float]) -> None:
    """Logarithmic where the values span a wide range, with plain numbers as ticks."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, ScalarFormatter

    if min(values) > 0 and max(values) / min(values) > WIDE_RANGE:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())


@contextmanager
def _drawing(height_inches: float) -> Iterator[Figure]:
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
        "ytick.color": INK,
        "axes.edgecolor": LINE,
    }
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        # Only the measuring font lacks such a glyph; the page draws the text with the reader's fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")


def _axes(figure: Figure, x_label: str, y_label: str) -> Axes:
    axes = figure.add_subplot()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _legend(axes: Axes, series: dict[str, tuple[str, str]], shapes: dict[str, str]) -> None:
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


def _svg(figure: Figure, prefix: str, label: str) -> str:
    """The figure as an <svg> element for HTML: own ids, no namespaces, its size left to the page."""
    figure.patch.set_visible(False)
    buffer = io.StringIO()
    empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=empty)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\sid="', f' id="{prefix}-', text).replace("url(#", f"url(#{prefix}-")
    text = text.replace('xlink:href="#', f'href="#{prefix}-')
    text = re.sub(r'\s(width|height)="[\d.]+pt"', "", text, count=2)
    for colour, variable in CSS.items():
        text = text.replace(colour, variable)
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1)
