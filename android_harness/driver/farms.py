"""The same app and jobs on phones of a device farm: scripts and configuration, given an account there.

Firebase Test Lab gives a clean phone to every run, puts files on it and pulls a folder. AWS Device Farm gives
a shell with adb beside the phone, where one run does all jobs. docs/device-farms.md names what this follows.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from android_harness.protocol import Job
from bench.measurements import WARM_CACHE
from common.errors import UserError

ROOT = "/data/local/tmp/pocketvec"
PACKAGE = "dev.pocketvec.harness"
RUNNER = f"{PACKAGE}.BenchInstrumentation"
RESULTS = f"/sdcard/Android/media/{PACKAGE}/results"
NAME = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
SECONDS_PER_MINUTE = 60
FIREBASE_MOST_MINUTES = 45
"""Test Lab's limit for a run on a physical phone."""
AWS_MINUTES = (5, 150)
"""Device Farm's for a run, unless an account has been given more."""


@dataclass(frozen=True)
class FarmPlan:
    """What is to be measured.

    apk: the app; it is its own test package. files: local path by path relative to the root on the phone
    (artifacts/..., texts/..., jobs/<id>.json). seconds: the most that one job may take. devices: Firebase's
    own words, such as model=oriole,version=33.
    """

    apk: Path
    jobs: Sequence[Job]
    files: Mapping[str, Path]
    devices: Sequence[str] = ("model=MODEL_ID,version=VERSION_ID",)
    seconds: int = 1800

    def __post_init__(self) -> None:
        for job in self.jobs:
            if job_path(job) not in self.files:
                raise UserError(f"job {job.id}: {job_path(job)} is not among the files of the plan")
        for name in self.files:
            if not NAME.fullmatch(name):
                raise UserError(
                    f"{name}: letters, digits, '.', '_', '-' and '/' alone can be names on a phone"
                )
        for path in map(str, self.files.values()):
            if set(path) & set(",=^"):
                raise UserError(f"{path}: a path with ',', '=' or '^' cannot be given to gcloud; rename it")


def job_path(job: Job) -> str:
    """Where a job's file lies below the root."""
    return f"jobs/{job.id}.json"


def firebase(plan: FarmPlan) -> str:
    """A shell script with one `gcloud firebase test android run` for each job.

    Raises UserError for a job that needs the weight cache of an earlier one: the next phone has none.
    """
    for job in plan.jobs:
        if WARM_CACHE in job.states:
            raise UserError(
                f"{job.artifact}: Firebase gives every run a clean phone, so a job in state "
                f"'{WARM_CACHE}' finds no weight cache; measure it on AWS or at your desk"
            )
    head = [
        "#!/bin/sh",
        "# Runs every job on Firebase Test Lab and brings the results into ./results.",
        "# Wants gcloud, signed in, and BUCKET=<a Cloud Storage bucket of the project>.",
        "set -eu",
        ': "${BUCKET:?name a Cloud Storage bucket, without gs://}"',
        "mkdir -p results",
    ]
    lines = [line for job in plan.jobs for line in _firebase_job(plan, job)]
    return "\n".join([*head, *lines, "echo 'next: pocketvec device --from results'"]) + "\n"


def aws(plan: FarmPlan) -> dict[str, str]:
    """The files of a run on AWS Device Farm by name: the test spec and the script that schedules it."""
    return {"testspec.yml": _test_spec(plan), "run.sh": _aws_script(plan)}


def _firebase_job(plan: FarmPlan, job: Job) -> Iterator[str]:
    folder = f"pocketvec/{job.id}"
    minutes = min(math.ceil(plan.seconds / SECONDS_PER_MINUTE), FIREBASE_MOST_MINUTES)
    files = ",".join(f"{ROOT}/{name}={path}" for name, path in sorted(_files_of(plan, job).items()))
    apk = shlex.quote(str(plan.apk))
    words = [
        "gcloud firebase test android run",
        "--type instrumentation",
        f"--app {apk}",
        f"--test {apk}",
        f"--test-runner-class {RUNNER}",
        *(f"--device {shlex.quote(device)}" for device in plan.devices),
        f"--environment-variables root={ROOT},job={job_path(job)}",
        f"--other-files {shlex.quote(files)}",
        f"--directories-to-pull {RESULTS}",
        f"--timeout {minutes}m",
        "--no-auto-google-login --no-record-video --no-performance-metrics",
        f'--results-bucket "$BUCKET" --results-dir {folder}',
    ]
    yield ""
    yield f"# {job.artifact}, weight cache: {', '.join(job.states)}"
    yield " \\\n    ".join(words)
    yield f'gcloud storage cp --recursive "gs://$BUCKET/{folder}" results/'


def _files_of(plan: FarmPlan, job: Job) -> dict[str, Path]:
    """The files that one job reads."""
    wanted = {job_path(job), job.texts}
    return {
        name: path
        for name, path in plan.files.items()
        if name in wanted or name.startswith(f"{job.artifact}/")
    }


def _test_spec(plan: FarmPlan) -> str:
    """YAML for INSTRUMENTATION in a custom environment. JSON strings are YAML strings."""
    adb = "adb -s $DEVICEFARM_DEVICE_UDID"
    instrument = f"am instrument -w -e root {ROOT} -e job"
    jobs = " ".join(job_path(job) for job in plan.jobs)
    log = "$DEVICEFARM_LOG_DIR/instrument.txt"
    prepare = [
        f"{adb} shell mkdir -p {ROOT}",
        f"{adb} shell cp -r /sdcard/pocketvec/. {ROOT}/",
        f"{adb} shell chmod -R a+rX {ROOT}",
        f"{adb} shell svc power stayon usb",
    ]
    test = [
        f"for job in {jobs}; do {adb} shell {instrument} $job {PACKAGE}/{RUNNER} | tee -a {log}; done",
        f"test $(grep -c 'INSTRUMENTATION_CODE: -1' {log}) -eq {len(plan.jobs)}",
    ]
    finish = [f"{adb} pull {RESULTS} $DEVICEFARM_LOG_DIR/results"]
    return "\n".join(
        [
            "version: 0.1",
            "android_test_host: amazon_linux_2",
            "phases:",
            *_phase("pre_test", prepare),
            *_phase("test", test),
            *_phase("post_test", finish),
            "artifacts:",
            "  - $DEVICEFARM_LOG_DIR",
            "",
        ]
    )


def _phase(name: str, commands: Sequence[str]) -> Iterator[str]:
    yield f"  {name}:"
    yield "    commands:"
    for command in commands:
        yield f"      - {json.dumps(command)}"


def _aws_script(plan: FarmPlan) -> str:
    least, most = AWS_MINUTES
    minutes = min(max(math.ceil(plan.seconds * len(plan.jobs) / SECONDS_PER_MINUTE), least), most)
    copies = [
        f'mkdir -p "$data/{Path(name).parent}" && cp {shlex.quote(str(path))} "$data/{name}"'
        for name, path in sorted(plan.files.items())
    ]
    return AWS_SCRIPT.format(copies="\n".join(copies), apk=shlex.quote(str(plan.apk)), minutes=minutes)


AWS_SCRIPT = """\
#!/bin/sh
# Uploads app, data and test spec to AWS Device Farm and schedules one run of all jobs.
# Wants the aws command, signed in, curl and zip; PROJECT_ARN and POOL_ARN name a project and a device pool.
set -eu
: "${{PROJECT_ARN:?the ARN of a Device Farm project}}" "${{POOL_ARN:?the ARN of a device pool}}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
data=$work/pocketvec
{copies}
(cd "$work" && zip -q -r data.zip pocketvec)

upload() {{ # type, name, file: prints the upload's ARN once Device Farm has taken it
    set -- "$@" "$(aws devicefarm create-upload --project-arn "$PROJECT_ARN" --type "$1" --name "$2" \\
        --query 'upload.[arn,url]' --output text)"
    arn=$(printf '%s' "$4" | cut -f 1)
    curl -sS -f -T "$3" "$(printf '%s' "$4" | cut -f 2)" >&2
    while :; do
        case $(aws devicefarm get-upload --arn "$arn" --query upload.status --output text) in
            SUCCEEDED) printf '%s\\n' "$arn"; return ;;
            FAILED) echo "$2: Device Farm refused it" >&2; exit 1 ;;
        esac
        sleep 5
    done
}}

app=$(upload ANDROID_APP app.apk {apk})
test=$(upload INSTRUMENTATION_TEST_PACKAGE test.apk {apk})
spec=$(upload INSTRUMENTATION_TEST_SPEC testspec.yml testspec.yml)
data=$(upload EXTERNAL_DATA data.zip "$work/data.zip")
run=$(aws devicefarm schedule-run --project-arn "$PROJECT_ARN" --device-pool-arn "$POOL_ARN" \\
    --name pocketvec --app-arn "$app" --test "type=INSTRUMENTATION,testPackageArn=$test,testSpecArn=$spec" \\
    --configuration "extraDataPackageArn=$data" \\
    --execution-configuration "jobTimeoutMinutes={minutes},videoCapture=false" --query run.arn --output text)
echo "scheduled: $run"
echo "when it is over: aws devicefarm list-artifacts --type FILE --arn $run"
echo "unpack its customer artifacts into results, then: pocketvec device --from results"
"""
