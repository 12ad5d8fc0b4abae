"""A phone's answer is believed only as far as it fits the question; jobs are named by what they depend on."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_samples import CONFIG, NAMES

from android_harness.driver.jobs import DeviceConfig, Setting, make_jobs
from android_harness.driver.profiles import make_profile
from android_harness.driver.results import read_answer
from android_harness.protocol import Job
from bench.bearings import Bearings
from common.errors import UserError
from common.retrieval import read_retrieval_set
from export.artifact import Artifact, open_artifact

pytest_plugins = ("device_fixtures",)

NAME = NAMES[1]
TEXTS = "texts/ab.jsonl"
SETTING = Setting("device", "0" * 64, "cores 6, 7")
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def artifact(artifacts: Path) -> Artifact:
    return open_artifact(artifacts / NAME)


@pytest.fixture
def count(small_data: Path) -> int:
    data = read_retrieval_set(small_data, "test")
    return len(data.queries) + len(data.documents)


@pytest.fixture
def answered(answers: dict[str, tuple[Job, Path]], tmp_path: Path) -> tuple[Job, Path]:
    job, folder = answers[NAME]
    shutil.copytree(folder, tmp_path / "answer")
    return job, tmp_path / "answer"


def test_the_agents_answer_becomes_a_profile_as_the_host_would_make_it(
    answered: tuple[Job, Path], artifact: Artifact, small_data: Path, count: int
) -> None:
    job, folder = answered
    answer = read_answer(folder, job, artifact, count, "phone")
    data = read_retrieval_set(small_data, "test")
    profile, quality = make_profile(artifact, [answer], data, Bearings(None))
    assert profile.golden.ids_equal
    assert profile.golden.cosine_min > 0.8
    assert profile.faults == []
    assert quality.ndcg_at_10 > 0.3
    assert profile.load_ms == answer.result.costs["warm"].load_ms
    assert set(profile.cache_states) == {"build", "warm"}


def test_vectors_that_are_not_finite_are_the_models_fault(
    answered: tuple[Job, Path], artifact: Artifact, small_data: Path, count: int
) -> None:
    job, folder = answered
    answer = read_answer(folder, job, artifact, count, "phone")
    vectors = answer.vectors.copy()
    vectors[-1, 0] = np.nan
    data = read_retrieval_set(small_data, "test")
    profile, _ = make_profile(artifact, [replace(answer, vectors=vectors)], data, Bearings(None))
    assert [one.name for one in profile.faults] == ["not-finite"]
    assert np.isfinite(profile.ndcg_at_10)


def _set(*path: str | int, to: Any) -> Edit:
    def edit(raw: dict[str, Any]) -> None:
        *parents, last = path
        inner: Any = raw
        for key in parents:
            inner = inner[key]
        inner[last] = to

    return edit


WARM = ("costs", "warm")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_set("schema", to="pocketvec.result/9"), "is foreign: schema 'pocketvec.result/9'"),
        (_set("job", to="ab"), "it is the result of another job, ab, not of "),
        (_set("manifest_sha256", to="ab"), "it is of another artifact"),
        (_set("target", "kind", to="host"), "target.kind is host"),
        (_set("target", "threads", to=3), "threads is 3, it has to be 1"),
        (_set("rows", to=7), "rows is 7, it has to be "),
        (_set("dim", to=64), "dim is 64, it has to be 128"),
        (_set("golden_ids_equal", to=[True]), "golden_ids_equal is 1, it has to be "),
        (_set("costs", to={}), "costs are of no state, asked for were build, warm"),
        (_set(*WARM, "latency_ms", to={}), "costs.warm: latency_ms lacks 16 tokens"),
        (
            _set(*WARM, "latency_ms", "16", "ms", to=[1.0]),
            "costs.warm: latency_ms.16 has 1 timings, it has to be 30",
        ),
        (_set(*WARM, "latency_ms", "16", "ms", to=[-1.0] * 30), "costs.warm: a time of -1.0 ms"),
        (_set(*WARM, "latency_ms", "16", "warm_up", to=999), "costs.warm: latency_ms.16.warm_up is 999"),
        (_set(*WARM, "load_ms", to=0.0), "costs.warm: a time of 0.0 ms"),
        (_set(*WARM, "ram_mb", "run_peak", to={}), "costs.warm: ram_mb.run_peak is of no length, not of 16"),
        (_set(*WARM, "ram_mb", "rest", "anonymous", to=-5.0), "costs.warm: ram_mb.rest: parts of a process"),
        (_set(*WARM, "ram_mb", "load_high_water", to=5.0), "costs.warm: ram_mb.load_peak is "),
        (_set(*WARM, "ram_mb", "anonymous_peak", to=1.0), "costs.warm: ram_mb.anonymous_peak is 1 MB"),
        (_set("surprise", to=1), "unknown field 'surprise'"),
        (_set(*WARM, "first_ms", to=float("nan")), "is cut off or not JSON (NaN is no measurement)"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(
    answered: tuple[Job, Path], artifact: Artifact, count: int, edit: Edit, words: str
) -> None:
    job, folder = answered
    path = folder / "result.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    edit(raw)
    path.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(UserError) as raised:
        read_answer(folder, job, artifact, count, "phone")
    assert str(raised.value).startswith("phone: result.json")
    assert words in str(raised.value)


def test_vectors_of_another_size_are_refused(
    answered: tuple[Job, Path], artifact: Artifact, count: int
) -> None:
    job, folder = answered
    whole = (folder / "vectors.f32").read_bytes()
    (folder / "vectors.f32").write_bytes(whole[:-1])
    with pytest.raises(UserError, match=rf"vectors.f32 has {len(whole) - 1} bytes, but .* take {len(whole)}"):
        read_answer(folder, job, artifact, count, "phone")


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        (replace(CONFIG, lengths=(16, 64)), SETTING),
        (replace(CONFIG, runs=31), SETTING),
        (replace(CONFIG, threads=2), SETTING),
        (replace(CONFIG, mode="app"), SETTING),
        (CONFIG, replace(SETTING, kind="emulated")),
        (CONFIG, replace(SETTING, client_sha256="1" * 64)),
        (CONFIG, replace(SETTING, affinity=None)),
    ],
)
def test_a_jobs_name_changes_with_whatever_its_answer_depends_on(
    artifact: Artifact, artifacts: Path, config: DeviceConfig, setting: Setting
) -> None:
    def name(config: DeviceConfig, setting: Setting, texts: str = TEXTS) -> str:
        return make_jobs(artifact, texts, config, setting)[-1].id

    known = name(CONFIG, SETTING)
    assert known == name(CONFIG, SETTING)
    assert name(config, setting) != known
    assert name(CONFIG, SETTING, "texts/cd.jsonl") != known
    other = open_artifact(artifacts / NAMES[0])
    assert make_jobs(other, TEXTS, CONFIG, SETTING)[-1].id != known


def test_the_app_gets_a_job_for_each_cache_state_and_the_shell_one_for_all(artifact: Artifact) -> None:
    in_app = replace(CONFIG, mode="app")
    litert = replace(artifact, manifest=replace(artifact.manifest, runtime="litert"))
    assert [one.states for one in make_jobs(artifact, TEXTS, CONFIG, SETTING)] == [["build", "warm"]]
    assert [one.states for one in make_jobs(litert, TEXTS, CONFIG, SETTING)] == [["build", "warm"]]
    jobs = make_jobs(litert, TEXTS, in_app, SETTING)
    assert [(one.states, one.texts) for one in jobs] == [(["build"], None), (["warm"], TEXTS)]
    assert [one.states for one in make_jobs(litert, TEXTS, in_app, SETTING, cached=False)] == [["none"]]
    assert [one.states for one in make_jobs(artifact, TEXTS, in_app, SETTING)] == [["none"]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"runs": 5}, "bench-runs 5: at least 30"),
        ({"lengths": ()}, "lengths"),
        ({"threads": 0}, "threads 0"),
        ({"seconds": 0}, "timeout 0"),
        ({"cores": "little"}, "cores 'little': one of big, all"),
    ],
)
def test_nonsense_is_refused_before_a_phone_is_asked(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as raised:
        DeviceConfig(**changes)
    assert str(raised.value).startswith(words)
