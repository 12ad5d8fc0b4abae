"""Hand-made reports for the gate: one profile, or one model in both runtimes."""

import dataclasses

from bench.report import CacheState, Comparison, Context, Latency, Memory, Profile, Report, Target

PROFILE = Profile(
    name="onnx-q4_0-128d",
    runtime="onnx",
    precision="q4_0",
    dim=128,
    file_bytes=5_000_000,
    ndcg_at_10=0.34,
    recall_at_10=0.5,
    mrr_at_10=0.3,
    ndcg_drop_same_dim=0.01,
    ndcg_drop_full_dim=0.05,
    golden_cosine_mean=0.97,
    golden_cosine_min=0.9,
    golden_worst_text="worst of all",
    golden_ids_equal=True,
    rounding_cosine_mean=0.97,
    rounding_cosine_min=0.9,
    load_ms=50.0,
    latency_ms={length: Latency(1.0, 2.0, 3.0, 50, 10) for length in ("16", "64", "256")},
    ram_mb=Memory(30.0, 80.0, 90.0, 40.0, 30.0),
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
    return Report("pocketvec.report/1", CONTEXT, "ungated", None, [profile])
