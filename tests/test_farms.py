"""What device farms are given: scripts that a shell runs, with flags that the farms' own reference knows."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

from android_harness.driver.farms import RESULTS, ROOT, FarmPlan, aws, firebase
from android_harness.protocol import JOB_SCHEMA, Job
from common.errors import UserError

GCLOUD_FLAGS = {
    *(
        "app",
        "test",
        "type",
        "device",
        "timeout",
        "test-runner-class",
        "environment-variables",
        "other-files",
    ),
    *("directories-to-pull", "auto-google-login", "record-video", "performance-metrics"),
    *("results-bucket", "results-dir"),
}
"""Those used, each of which `gcloud firebase test android run` lists in its reference."""
AWS_CALLS = {
    "create-upload": {"project-arn", "type", "name", "query", "output"},
    "get-upload": {"arn", "query", "output"},
    "schedule-run": {
        *("project-arn", "device-pool-arn", "name", "app-arn", "test", "configuration"),
        *("execution-configuration", "query", "output"),
    },
}
UPLOAD_TYPES = ["ANDROID_APP", "INSTRUMENTATION_TEST_PACKAGE", "INSTRUMENTATION_TEST_SPEC", "EXTERNAL_DATA"]
RECORD = '#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done >> "$RECORD"\nprintf "%s\\n" -- >> "$RECORD"\n'


def make_job(number: int, artifact: str, state: str = "none", texts: str | None = None) -> Job:
    return Job(
        JOB_SCHEMA, f"{number:032x}", "device", f"artifacts/{artifact}", [state], [16], 50, 4, 20, texts
    )


@pytest.fixture
def plan(tmp_path: Path) -> FarmPlan:
    jobs = [make_job(1, "onnx-q4_0-256d", texts="texts/abc.jsonl"), make_job(2, "onnx-int8-256d", "build")]
    names = ["texts/abc.jsonl", *(f"jobs/{job.id}.json" for job in jobs)]
    names += [f"{job.artifact}/{name}" for job in jobs for name in ("manifest.json", "model.onnx")]
    for name in [*names, "app release.apk"]:
        path = tmp_path / "local files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    local = tmp_path / "local files"
    return FarmPlan(local / "app release.apk", jobs, {name: local / name for name in names}, seconds=600)


def run_script(script: Path, folder: Path, commands: dict[str, str], **variables: str) -> list[list[str]]:
    """Run a script with stand-ins for the farms' commands; gives the words of each call."""
    programs = folder / "programs"
    programs.mkdir()
    for name, text in commands.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    record = folder / "record"
    record.touch()
    paths = f"{programs}:{os.environ['PATH']}"
    environment = {**os.environ, **variables, "PATH": paths, "RECORD": str(record)}
    subprocess.run(
        ["/bin/sh", script.name], cwd=script.parent, env=environment, check=True, capture_output=True
    )
    return [call.split("\n") for call in record.read_text().removesuffix("\n--\n").split("\n--\n")]


def flags_of(words: list[str]) -> dict[str, str]:
    """Flags with their values; a switch has none."""
    pairs = zip(words, [*words[1:], ""], strict=True)
    return {
        word[2:]: "" if after.startswith("--") else after for word, after in pairs if word.startswith("--")
    }


def test_firebase_gets_a_command_for_each_job_with_known_flags_and_its_own_files(
    plan: FarmPlan, tmp_path: Path
) -> None:
    (tmp_path / "firebase.sh").write_text(firebase(plan))
    calls = run_script(tmp_path / "firebase.sh", tmp_path, {"gcloud": RECORD}, BUCKET="bucket")
    runs = [call for call in calls if call[0] == "firebase"]
    assert [call[:4] for call in runs] == [["firebase", "test", "android", "run"]] * 2
    for call, job in zip(runs, plan.jobs, strict=True):
        flags = flags_of(call)
        assert {flag.removeprefix("no-") for flag in flags} == GCLOUD_FLAGS
        assert flags["app"] == flags["test"] == str(plan.apk)
        assert flags["environment-variables"] == f"root={ROOT},job=jobs/{job.id}.json"
        assert flags["directories-to-pull"] == RESULTS
        assert flags["timeout"] == "10m"
        pushed = dict(pair.split("=") for pair in flags["other-files"].split(","))
        assert all(Path(path).is_file() for path in pushed.values())
        texts = {job.texts} if job.texts else set()
        expected = {
            f"jobs/{job.id}.json",
            f"{job.artifact}/manifest.json",
            f"{job.artifact}/model.onnx",
            *texts,
        }
        assert set(pushed) == {f"{ROOT}/{name}" for name in expected}


def test_firebase_puts_and_pulls_only_where_it_is_allowed_to(plan: FarmPlan) -> None:
    """RegularFile.devicePath and directoriesToPull of the Testing API name these."""
    assert ROOT.startswith("/data/local/tmp/")
    assert RESULTS.startswith("/sdcard/")


def test_firebase_refuses_a_job_that_needs_an_earlier_ones_cache(plan: FarmPlan) -> None:
    job = make_job(3, "litert-int8-256d", "warm")
    files = {**plan.files, f"jobs/{job.id}.json": plan.apk}
    with pytest.raises(
        UserError, match=r"artifacts/litert-int8-256d: Firebase gives every run a clean phone"
    ):
        firebase(FarmPlan(plan.apk, [job], files))


def test_the_test_spec_is_yaml_that_runs_all_jobs_and_keeps_the_results(plan: FarmPlan) -> None:
    spec = yaml.safe_load(aws(plan)["testspec.yml"])
    assert (spec["version"], spec["android_test_host"]) == (0.1, "amazon_linux_2")
    assert list(spec["phases"]) == ["pre_test", "test", "post_test"]
    commands = [line for phase in spec["phases"].values() for line in phase["commands"]]
    for line in commands:
        subprocess.run(["/bin/sh", "-n", "-c", line], check=True)
    assert all(job.id in spec["phases"]["test"]["commands"][0] for job in plan.jobs)
    assert commands[-1] == f"adb -s $DEVICEFARM_DEVICE_UDID pull {RESULTS} $DEVICEFARM_LOG_DIR/results"
    assert spec["artifacts"] == ["$DEVICEFARM_LOG_DIR"]


@pytest.mark.parametrize(("answers", "verdict"), [("-1 -1", 0), ("-1 0", 1)])
def test_a_run_on_aws_fails_when_one_job_fails(
    plan: FarmPlan, tmp_path: Path, answers: str, verdict: int
) -> None:
    adb = tmp_path / "adb"
    adb.write_text(
        '#!/bin/sh\nset -- $(cat "$CODES"); echo "INSTRUMENTATION_CODE: $1"; shift; echo "$*" > "$CODES"\n'
    )
    adb.chmod(0o755)
    (tmp_path / "codes").write_text(answers)
    commands = yaml.safe_load(aws(plan)["testspec.yml"])["phases"]["test"]["commands"]
    variables = {
        "CODES": str(tmp_path / "codes"),
        "DEVICEFARM_LOG_DIR": str(tmp_path),
        "DEVICEFARM_DEVICE_UDID": "x",
    }
    environment = {**os.environ, **variables, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    codes = [
        subprocess.run(["/bin/sh", "-c", line], env=environment, capture_output=True).returncode
        for line in commands
    ]
    assert codes == [0, verdict]


def test_aws_gets_app_data_and_spec_and_one_run(plan: FarmPlan, tmp_path: Path) -> None:
    folder = tmp_path / "emitted"
    folder.mkdir()
    for name, text in aws(plan).items():
        (folder / name).write_text(text)
    answer = 'case $2 in create-upload) printf "arn:%s\\thttps://upload\\n" "$6" ;;'
    fake = RECORD + answer + " get-upload) echo SUCCEEDED ;; esac\n"
    keep = '#!/bin/sh\nwhile [ $# -gt 0 ]; do [ "$1" = -T ] && cp "$2" "$KEPT/"; shift; done\n'
    zipped = '#!/bin/sh\nexec python3 -m zipfile -c "$3" "$4"\n'
    kept = tmp_path / "kept"
    kept.mkdir()
    commands = {"aws": fake, "curl": keep, "zip": zipped}
    arns = {"PROJECT_ARN": "arn:project", "POOL_ARN": "arn:pool", "KEPT": str(kept)}
    calls = run_script(folder / "run.sh", tmp_path, commands, **arns)
    for call in calls:
        assert call[0] == "devicefarm"
        assert set(flags_of(call)) <= AWS_CALLS[call[1]]
    assert [flags_of(call)["type"] for call in calls if call[1] == "create-upload"] == UPLOAD_TYPES
    run = flags_of(calls[-1])
    spec, package = "arn:INSTRUMENTATION_TEST_SPEC", "arn:INSTRUMENTATION_TEST_PACKAGE"
    assert run["test"] == f"type=INSTRUMENTATION,testPackageArn={package},testSpecArn={spec}"
    assert run["configuration"] == "extraDataPackageArn=arn:EXTERNAL_DATA"
    assert run["execution-configuration"] == "jobTimeoutMinutes=20,videoCapture=false"
    with zipfile.ZipFile(kept / "data.zip") as data:
        files = {name for name in data.namelist() if not name.endswith("/")}
    assert files == {f"pocketvec/{name}" for name in plan.files}


def test_a_path_that_gcloud_would_split_is_refused(plan: FarmPlan, tmp_path: Path) -> None:
    files = {**plan.files, "texts/abc.jsonl": tmp_path / "a,b.jsonl"}
    with pytest.raises(UserError, match=r"a,b\.jsonl: a path with ',', '=' or '\^'"):
        FarmPlan(plan.apk, plan.jobs, files)


@pytest.mark.parametrize(("seconds", "minutes"), [(10, 5), (600, 20), (7200, 150)])
def test_device_farm_is_asked_for_no_more_time_than_it_gives(
    plan: FarmPlan, seconds: int, minutes: int
) -> None:
    script = aws(dataclasses.replace(plan, seconds=seconds))["run.sh"]
    assert f"jobTimeoutMinutes={minutes}," in script


def test_a_job_without_its_file_is_refused(plan: FarmPlan) -> None:
    with pytest.raises(UserError, match=r"jobs/0+1\.json is not among the files"):
        FarmPlan(plan.apk, plan.jobs, {})
