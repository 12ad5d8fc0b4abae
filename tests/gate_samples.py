"""Hand-made reports for the gate: one profile, or one model in both runtimes."""

import dataclasses

from bench.measurements import CacheState, Drop, Golden, Latency, LatencyRatio, Memory, MemoryPoint, WorstText
from bench.report import REPORT_SCHEMA, Comparison, Context, Profile, Report, Target

QUERIES = 16


def latency(p50: float, p90: float, p99: float) -> Latency:
    return Latency(p50, p90, p99, [p50, p50], [p90, p90], [p99, None], 10, [p50, p90, p99] * 10)


def memory(start: float, load_peak: float, run_peak: float, anonymous: float) -> Memory:
    """Of the two peaks as the kernel has them; the samples are a little below."""

    def point(total: float) -> MemoryPoint:
        kept = min(anonymous, total)
        return MemoryPoint(kept, total - kept, 0.0)

    return Memory(
        start=point(start),
        after_load=point(load_peak - 2),
        load_peak=point(load_peak - 1),
        load_high_water=load_peak,
        after_first=point(run_peak - 2),
        run_peak={length: point(run_peak - 1) for length in ("16", "64", "256")},
        run_high_water=dict.fromkeys(("16", "64", "256"), run_peak),
        anonymous_peak=anonymous,
        rest=point(run_peak - 2),
    )


def drop(value: float, half_width: float = 0.001, reference: float = 0.4) -> Drop:
    return Drop(value, [value - half_width, value + half_width], reference, half_width / 2, QUERIES)


def golden(**changes: object) -> Golden:
    worst = [WorstText("worst of all", 0.9, 1.0, True)]
    plain = Golden(42, 0.97, 0.9, 1e-7, True, True, worst)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def ratio(value: float, half_width: float = 0.01) -> LatencyRatio:
    ends: list[float | None] = [value - half_width, value + half_width]
    return LatencyRatio("onnx-fp32-128d", value, ends, [value] * 30, [1.0] * 30)


PROFILE = Profile(
    name="onnx-q4_0-128d",
    runtime="onnx",
    precision="q4_0",
    dim=128,
    file_bytes=5_000_000,
    ndcg_at_10=0.34,
    recall_at_10=0.5,
    mrr_at_10=0.3,
    ndcg_by_query=[0.34] * QUERIES,
    asymmetric_by_query=[0.35] * QUERIES,
    ndcg_drop_same_dim=drop(0.01),
    ndcg_drop_full_dim=drop(0.05),
    ndcg_drop_asymmetric=drop(0.005),
    golden=golden(),
    rounding_cosine_mean=0.97,
    rounding_cosine_min=0.9,
    load_ms=50.0,
    latency_ms={length: latency(1.0, 2.0, 3.0) for length in ("16", "64", "256")},
    latency_ratio={length: ratio(0.8) for length in ("16", "64", "256")},
    ram_mb=memory(30.0, 80.0, 90.0, 40.0),
)
TARGET = Target("host", "a processor", 2, 2, "Linux")
CONTEXT = Context("2026-01-01T00:00:00+00:00", TARGET, {}, {"name": "d"}, "query: ", "warm")


LITERT = dataclasses.replace(
    PROFILE,
    name="litert-q4_0-128d",
    runtime="litert",
    first_ms=3.0,
    cache_states={
        state: CacheState(50.0, 3.0, PROFILE.latency_ms, PROFILE.ram_mb, 2_000_000)
        for state in ("none", "build", "warm")
    },
)
COMPARISON = Comparison(
    PROFILE.name, LITERT.name, 128, 0.9, 0.34, 0.34, 0.0, 0.004, 0.95, "256", p50_ratio=0.5, ram_ratio=0.85
)


def both_runtimes(*comparisons: Comparison, precision: str = "q4_0") -> Report:
    litert = dataclasses.replace(LITERT, precision=precision)
    return dataclasses.replace(
        report_with(), profiles=[report_with().profiles[0], litert], comparisons=list(comparisons)
    )


def report_with(**changes: object) -> Report:
    profile = dataclasses.replace(PROFILE, **changes)  # type: ignore[arg-type]
    queries = [f"q{number}" for number in range(QUERIES)]
    return Report(REPORT_SCHEMA, CONTEXT, "ungated", queries, None, [profile])


def on(kind: str, **changes: object) -> Report:
    report = report_with(**changes)
    target = Target(kind, "a processor", 8, 4, "Android 15")
    return dataclasses.replace(report, context=dataclasses.replace(report.context, target=target))
