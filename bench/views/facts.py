"""What the numbers of a report depend on, in words: context, reference, limits, and how to measure again."""

from __future__ import annotations

from collections.abc import Iterable

from bench.compare import LITERT
from bench.report import Report
from bench.views.cells import DASH
from bench.views.phone_facts import phone_facts

NO_REFERENCE = "No reference was scored on this data, so the NDCG lost is not known."
NO_GATES = "No limits were applied."
BASELINE = "the interpreter with numpy, before the runtime is imported."
APP_BASELINE = "the app's process, before the runtime is loaded."
LITERT_LATENCY = "; LiteRT pads a text to the next length that the file has a signature for"


def context_facts(report: Report) -> list[tuple[str, str]]:
    """The context as (name, text) pairs, with what the units mean."""
    context, target = report.context, report.context.target
    timed = [one for profile in report.profiles for one in profile.latency_ms.values()]
    return [
        ("Measured", context.created),
        ("Device", f"{target.kind}, {target.os}"),
        ("Processor", f"{target.cpu}, {target.cores} cores"),
        ("Threads", str(target.threads)),
        *phone_facts(report),
        ("Versions", ", ".join(f"{name} {number}" for name, number in context.versions.items())),
        ("Data", ", ".join(f"{name} {value}" for name, value in context.data.items())),
        ("Query prompt", f"“{context.query_prompt}”" if context.query_prompt else "none"),
        ("Cache", context.cache),
        (
            "Latency",
            f"batch 1, {_span(one.runs for one in timed)} timed runs per length after "
            f"{_span(one.warm_up for one in timed)} to warm up"
            + (LITERT_LATENCY if any(one.runtime == LITERT for one in report.profiles) else ""),
        ),
        (
            "Memory",
            "MB is 1,000,000 bytes. RAM over baseline is the kernel's highest mark of the whole process "
            f"less the baseline, {baseline_span(report)} MB: "
            + (APP_BASELINE if context.versions.get("client") == "app" else BASELINE),
        ),
        ("Intervals", "95 %, over the queries (NDCG) or the timed runs (latency)."),
        ("Gates", gates_text(report)),
    ]


def gates_text(report: Report) -> str:
    """Which limits were applied: their file's name and hash."""
    if not report.gates:
        return NO_GATES
    return f"{report.gates.get('name', DASH)}, SHA-256 {report.gates.get('sha256', DASH)}"


def reproduce_lines(report: Report) -> list[str]:
    """The commands that measure again and judge again, as far as the report knows them."""
    measure = [report.context.reproduce] if report.context.reproduce else []
    judge = [f"pocketvec gate report.json --gates {report.gates['name']}"] if "name" in report.gates else []
    return measure + judge


def baseline_span(report: Report) -> str:
    """The baselines' range in MB."""
    return _span(round(one.ram_mb.baseline, 1) for one in report.profiles)


def reference_rows(report: Report) -> list[tuple[str, ...]]:
    """(dimension, before, after, gain) as shown, largest dimension first; empty without a reference."""
    if report.reference is None:
        return []
    after, before = report.reference.after, report.reference.before or {}
    rows = []
    for dim in sorted({*after, *before}, key=int, reverse=True):
        old, new = before.get(dim), after.get(dim)
        gain = DASH if old is None or new is None else f"{new - old:+.4f}"
        rows.append((dim, *(DASH if score is None else f"{score:.4f}" for score in (old, new)), gain))
    return rows


def _span(values: Iterable[float]) -> str:
    """The values' range, as one number where they agree."""
    ordered = sorted(set(values))
    if not ordered:
        return DASH
    return f"{ordered[0]:g}" if len(ordered) == 1 else f"{ordered[0]:g} to {ordered[-1]:g}"
