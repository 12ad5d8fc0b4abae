"""The report's plots as inline SVG: size or latency against NDCG@10, with the front that nothing beats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.compare import counterparts
from bench.measurements import Drop, Interval
from bench.pareto import pareto_front
from bench.report import FAIL, INCONCLUSIVE, Profile
from bench.views.cells import interval_text
from bench.views.outcomes import standing
from bench.views.plot_style import MUTED, PAPER, draw_legend, drawing, plain_axes, scale_x, series_of, svg_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RUNTIME_MARKERS = ("o", "^", "D", "v", "P", "X")
POINTS_PER_INCH = 72
LABEL_POINTS = 12.0
LABEL_GAP = 12.0
CHARACTER_POINTS = 5.2
LABEL_CHARACTERS = 30
MOST_LABELS = 16
"""As many names as fit above one another; a longer front has the others in their notes."""


@dataclass(frozen=True)
class Cost:
    """What quality is plotted against: its name, its axis, its value and perhaps its interval."""

    prefix: str
    label: str
    unit: str
    value: Callable[[Profile], float]
    interval: Callable[[Profile], Interval | None]


def size_cost() -> Cost:
    """MB of graph and weights."""
    return Cost("size", "Artifact size", "MB", lambda one: one.file_mb, lambda one: None)


def latency_cost(length: str) -> Cost:
    """Median milliseconds of a text of so many tokens, with its interval."""
    return Cost(
        "latency",
        f"Latency p50 at {length} tokens",
        "ms",
        lambda one: one.latency_ms[length].p50,
        lambda one: one.latency_ms[length].p50_interval,
    )


def pareto_svg(profiles: Sequence[Profile], cost: Cost) -> str:
    """Cost against NDCG@10, a marker per profile (hollow: it fails, half: inconclusive), the front drawn.

    Bars are intervals: of the cost and, where the profile has one, of its NDCG@10 less the reference's.
    """
    with drawing(4.4) as figure:
        axes = plain_axes(figure, f"{cost.label} ({cost.unit})", "NDCG@10")
        labels = _precision_labels(profiles)
        series, shapes = series_of(list(labels.values())), _shapes(profiles)
        for index, profile in enumerate(profiles):
            colour, own = series[labels[profile.precision]]
            _draw_bars(axes, profile, cost, colour)
            _draw_marker(axes, profile, cost, (colour, shapes.get(profile.runtime, own), f"at-{index}"))
        scale_x(axes, [cost.value(profile) for profile in profiles])
        front = pareto_front(profiles, cost.value)
        _draw_front(
            axes, [(cost.value(one), one.ndcg_at_10, one.name) for one in profiles if one.name in front]
        )
        draw_legend(axes, series, shapes)
        notes = {f"at-{index}": _note(profile, cost) for index, profile in enumerate(profiles)}
        return svg_of(figure, cost.prefix, f"{cost.label} against NDCG@10, with the Pareto front", notes)


def _draw_marker(axes: Axes, profile: Profile, cost: Cost, style: tuple[str, str, str]) -> None:
    colour, marker, gid = style
    found = standing(profile)
    axes.plot(
        cost.value(profile),
        profile.ndcg_at_10,
        marker,
        color=colour,
        markerfacecolor=PAPER if found == FAIL else colour,
        markerfacecoloralt=PAPER,
        fillstyle="bottom" if found == INCONCLUSIVE else "full",
        markersize=7,
        zorder=3,
        gid=gid,
    )


def _draw_bars(axes: Axes, profile: Profile, cost: Cost, colour: str) -> None:
    """Open ends are left out."""
    x, y = cost.value(profile), profile.ndcg_at_10
    style: dict[str, Any] = {"color": colour, "linewidth": 0.9, "alpha": 0.45, "zorder": 2}
    low, high = ndcg_interval(profile)
    axes.plot([x, x], [y if low is None else low, y if high is None else high], **style)
    if ends := cost.interval(profile):
        axes.plot([x if end is None else end for end in ends], [y, y], **style)


def ndcg_interval(profile: Profile) -> Interval:
    """NDCG@10 as the interval of its drop has it: paired with the reference, whose own spread is left out."""
    drop: Drop | None = profile.ndcg_drop_full_dim or profile.ndcg_drop_same_dim
    if drop is None:
        return [None, None]
    low, high = drop.interval
    return [None if end is None else drop.reference - end for end in (high, low)]


def _note(profile: Profile, cost: Cost) -> str:
    ends = cost.interval(profile)
    spread = f" {interval_text(ends, 2)}" if ends else ""
    quality = f"NDCG@10 {profile.ndcg_at_10:.4f} {interval_text(ndcg_interval(profile))}"
    return f"{profile.name}: {cost.value(profile):.4g}{spread} {cost.unit}, {quality}, {standing(profile)}"


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


def _short(name: str) -> str:
    """A label that fits: its ends, where names differ, are kept."""
    half = LABEL_CHARACTERS // 2
    return name if len(name) <= LABEL_CHARACTERS else f"{name[: half - 1]}…{name[-half:]}"


def _draw_front(axes: Axes, front: list[tuple[float, float, str]]) -> None:
    """A staircase through the front, and its names in the corner above it, which the front keeps empty."""
    points = sorted((x, y, _short(name)) for x, y, name in front)
    costs, scores = [x for x, _, _ in points], [y for _, y, _ in points]
    axes.plot(costs, scores, color=MUTED, linewidth=1, drawstyle="steps-post", zorder=1)
    step = -(-len(points) // MOST_LABELS)
    points = points[::step]
    _make_room(axes, points)
    scale = POINTS_PER_INCH / axes.figure.dpi
    heights = [
        (y - axes.bbox.y0) * scale for _, y in axes.transData.transform([(x, y) for x, y, _ in points])
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
