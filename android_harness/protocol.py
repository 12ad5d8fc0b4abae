"""What the driver asks of a phone, and what a phone answers: job and result, the same from shell and app.

On the phone everything lies under one root:

    artifacts/<key>/            an artifact folder as export wrote it
    texts/<key>.jsonl           texts to embed: a JSON array [prompt, text] on each line
    jobs/<id>.json              a Job; its paths are relative to the root
    <where it is told>/<id>/    result.json (a Result, written last) and vectors.f32

vectors.f32 is float32, little endian, [n, dim]: a vector for each text of golden.json in its order, then one
for each line of the job's texts. Vectors come as the model gives them, not normalised again.

Sizes and times carry their unit in the name. Memory in MB is 10**6 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.device import Device as Device
from bench.device import Thermal as Thermal
from bench.measurements import CACHE_STATES, Memory
from bench.measurements import Pss as Pss
from bench.report import TARGET_KINDS, Target
from common.errors import UserError
from export.fault import Fault

JOB_SCHEMA = "pocketvec.job/1"
RESULT_SCHEMA = "pocketvec.result/1"
RESULT_NAME, VECTORS_NAME = "result.json", "vectors.f32"
SHELL, APP = CLIENTS = ("shell", "app")


@dataclass(frozen=True)
class Job:
    """One artifact and what is asked of it.

    id: hexadecimal digest of all that the answer depends on. kind: host, emulated or device, as the driver
    sees the target. states: the cache states to measure, each in a fresh process: `none` for a profile
    without a weight cache, `build` and then `warm` for one with it (a client that is one process takes one
    state a job). texts: path of the texts to embed, None for the golden ones alone. lengths: in tokens.
    runs: timed ones of each length, after at most max_warm_up.
    """

    schema: str
    id: str
    kind: str
    artifact: str
    states: list[str]
    lengths: list[int]
    runs: int
    threads: int
    max_warm_up: int
    texts: str | None = None

    def __post_init__(self) -> None:
        if self.schema != JOB_SCHEMA:
            raise UserError(f"schema '{self.schema}' is not '{JOB_SCHEMA}'")
        if not self.states or not set(self.states) <= set(CACHE_STATES):
            raise UserError(f"states {self.states}: some of {', '.join(CACHE_STATES)}")
        if self.kind not in TARGET_KINDS:
            raise UserError(f"kind '{self.kind}': one of {', '.join(TARGET_KINDS)}")


@dataclass(frozen=True)
class Timings:
    """Milliseconds of every timed inference of one text, in order, after `warm_up` others."""

    warm_up: int
    ms: list[float]


@dataclass(frozen=True)
class Cost:
    """One fresh process in one cache state; fields as in a report's profile, timings raw.

    pss_mb: at `start`, `after_load`, `after_first` and `rest`, where the phone tells.
    """

    load_ms: float
    first_ms: float
    latency_ms: dict[str, Timings]
    ram_mb: Memory
    cache_bytes: int = 0
    pss_mb: dict[str, Pss] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What one job gave.

    job: its id. manifest_sha256: of the artifact's manifest.json as it lies on the phone. client: shell or
    app. costs: by cache state. golden_ids_equal: for each golden text, whether the client's own tokenizer
    gave its ids. rows, dim: shape of vectors.f32. faults: structural faults that the client found itself.
    notes: what it had to measure differently or could not, a line each.
    """

    schema: str
    job: str
    manifest_sha256: str
    created: str
    client: str
    target: Target
    device: Device | None
    versions: dict[str, str]
    costs: dict[str, Cost]
    golden_ids_equal: list[bool]
    rows: int
    dim: int
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.schema != RESULT_SCHEMA:
            raise UserError(f"schema '{self.schema}' is not '{RESULT_SCHEMA}'")
        if self.client not in CLIENTS:
            raise UserError(f"client '{self.client}': one of {', '.join(CLIENTS)}")
        if self.target.kind not in TARGET_KINDS:
            raise UserError(f"target.kind '{self.target.kind}': one of {', '.join(TARGET_KINDS)}")
