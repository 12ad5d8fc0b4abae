"""The device command: artifacts measured on phones over adb, into the same report and under the same gate."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from android_harness.driver.defaults import BIG, CORES, DEFAULT_SECONDS, DEFAULT_THREADS, FARMS
from android_harness.protocol import APP, CLIENTS, SHELL
from common.errors import UserError
from common.files import refuse_existing, whole_folder
from common.progress import Display
from pocketvec import BUNDLED_DATA, DEFAULT_GATES

if TYPE_CHECKING:
    from android_harness.driver.app_client import AppClient
    from android_harness.driver.jobs import DeviceConfig
    from android_harness.driver.phone import Phone
    from android_harness.driver.session import Client, Measured, Order
    from android_harness.driver.shell_client import ShellClient
    from bench.bearings import Bearings
    from bench.report import Report
    from common.retrieval import RetrievalSet
    from export.artifact import Artifact

TEXT = "measure artifacts on Android phones over adb and gate them; exit 0, 1 or 2"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which artifacts, which phones, how to measure, where to write."""
    from pocketvec.options import integers

    parser.add_argument("artifacts", type=Path, nargs="+", help="artifact folders")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report, or for one a phone")
    parser.add_argument(
        "--serial",
        action="append",
        default=[],
        help="a phone, as adb lists it; repeatable (default: $ANDROID_SERIAL, or the only one)",
    )
    parser.add_argument("--all-devices", action="store_true", help="every phone that adb lists, at once")
    parser.add_argument("--mode", choices=CLIENTS, default=SHELL, help="a payload in adb's shell, or the app")
    parser.add_argument(
        "--payload", type=Path, default=None, help="shell mode: a payload that was built before"
    )
    parser.add_argument("--apk", type=Path, default=None, help="app mode: the harness app")
    parser.add_argument("--emit", choices=FARMS, default=None, help="write a device farm's run instead")
    parser.add_argument(
        "--from",
        dest="from_results",
        type=Path,
        default=None,
        help="a device farm's results, in place of phones",
    )
    parser.add_argument("--cores", choices=CORES, default=BIG, help="shell mode: cores that threads may use")
    parser.add_argument("--data", type=Path, default=BUNDLED_DATA, help="retrieval set, a BEIR folder")
    parser.add_argument("--split", default="test", help="qrels to score")
    parser.add_argument(
        "--reference", default=None, help="model to score as the fp32 reference (needs torch)"
    )
    parser.add_argument("--lengths", type=integers, default=(16, 64, 256), help="tokens, comma-separated")
    parser.add_argument("--bench-runs", type=int, default=50, help="timed inferences per length")
    parser.add_argument("--threads", type=int, default=DEFAULT_THREADS, help="threads of the runtime")
    parser.add_argument(
        "--timeout", type=int, default=DEFAULT_SECONDS, help="seconds that one artifact may take"
    )
    parser.add_argument("--gates", type=Path, default=DEFAULT_GATES, help="limits")
    parser.add_argument("--prompt", default=None, help="the model's prompt for queries, by name")


def device(given: argparse.Namespace) -> int:
    """Measure on phones, gate, write a report for each; the last line of stdout is the verdict as JSON.

    With --emit, write what a device farm takes instead; with --from, read what it gave.
    """
    from android_harness.driver.jobs import DeviceConfig
    from bench.limits import read_gates
    from common.retrieval import read_retrieval_set

    mode = APP if given.emit or given.from_results else given.mode
    config = DeviceConfig(
        given.lengths, given.bench_runs, given.threads, given.prompt, mode, given.cores, given.timeout
    )
    read_gates(given.gates)
    refuse_existing(given.out)
    data = read_retrieval_set(given.data, given.split)
    artifacts = _open(given.artifacts, config)
    if given.emit:
        return _emit(given, _order(artifacts, data, config, _app(given)))
    if given.from_results is None:
        return _measure(given, artifacts, data, config)
    from android_harness.driver.farm_runs import read_farm

    order = _order(artifacts, data, config, _app(given))
    found = read_farm(given.from_results, order)
    return _report_all(given, found, order, data, _bearings(given, artifacts, data))


def _measure(
    given: argparse.Namespace, artifacts: list[Artifact], data: RetrievalSet, config: DeviceConfig
) -> int:
    from android_harness.driver.adb import find_adb
    from android_harness.driver.choice import SERIAL_VARIABLE, choose, parse_devices
    from android_harness.driver.facts import refuse_same
    from android_harness.driver.measuring import forget_results, measure_phones
    from android_harness.driver.phone import Phone

    adb = find_adb()
    adb.start_server()
    listed, preset = parse_devices(adb.list_devices()), os.environ.get(SERIAL_VARIABLE, "")
    chosen = choose(listed, given.serial, given.all_devices, preset)
    phones = [Phone(adb, one.serial) for one in chosen]
    refuse_same(phones)
    client = _app(given) if config.mode == APP else _payload(given, phones)
    order = _order(artifacts, data, config, client)
    bearings = _bearings(given, artifacts, data)
    with Display() as display:
        measured = measure_phones(phones, order, display)
    code = _report_all(given, measured, order, data, bearings)
    forget_results(phones, measured, order)
    return code


def _emit(given: argparse.Namespace, order: Order) -> int:
    from android_harness.driver.farm_runs import SCRIPT, write_farm
    from pocketvec.commands import PASSED

    with whole_folder(given.out) as folder:
        write_farm(given.emit, order, given.apk, folder)
    sys.stdout.write(f"{given.out / SCRIPT}\n")
    return PASSED


def _report_all(
    given: argparse.Namespace,
    measured: list[Measured],
    order: Order,
    data: RetrievalSet,
    bearings: Bearings,
) -> int:
    reports = {one.name: _report(given, one, order, data, bearings) for one in measured}
    return _conclude(reports, _write(reports, given.out))


def _open(paths: list[Path], config: DeviceConfig) -> list[Artifact]:
    """The artifacts, checked as far as they can be without a phone."""
    from android_harness.driver.jobs import check_runtime
    from bench.measure import check_artifacts
    from export.artifact import open_artifact

    artifacts = [open_artifact(path) for path in paths]
    check_artifacts(artifacts, config)
    for one in artifacts:
        check_runtime(one.manifest)
    return artifacts


def _app(given: argparse.Namespace) -> AppClient:
    """The app that is given."""
    from android_harness.driver.app_client import read_app

    if given.apk is None:
        raise UserError("name the harness app with --apk; docs/device.md says how to build it")
    return read_app(given.apk)


def _payload(given: argparse.Namespace, phones: list[Phone]) -> ShellClient:
    """The payload that is given, or else the one for the phones' ABI."""
    from android_harness.driver.facts import read_facts
    from android_harness.driver.payload import kept_payload, read_payload
    from android_harness.driver.shell_client import ShellClient

    if given.payload is not None:
        return ShellClient(read_payload(given.payload), given.cores, given.threads)
    abis = {read_facts(one).abi for one in phones}
    if len(abis) > 1:
        raise UserError(f"phones of different ABIs ({', '.join(sorted(abis))}): measure on them in turn")
    return ShellClient(read_payload(kept_payload(abis.pop())), given.cores, given.threads)


def _order(artifacts: list[Artifact], data: RetrievalSet, config: DeviceConfig, client: Client) -> Order:
    from android_harness.driver.jobs import retrieval_texts, texts_content
    from android_harness.driver.session import Order

    texts = retrieval_texts(data, artifacts[0].manifest, config.prompt_name)
    return Order(artifacts, texts_content(texts), len(texts), config, client)


def _bearings(given: argparse.Namespace, artifacts: list[Artifact], data: RetrievalSet) -> Bearings:
    """The reference, and a server's documents, both taken on this computer."""
    from bench.bearings import take_bearings
    from bench.measure import carried_reference

    if given.reference is None:
        reference = carried_reference(artifacts[0], data, given.prompt)
    else:
        from bench.reference import score_reference

        dims = [artifact.manifest.dim for artifact in artifacts]
        reference = score_reference(given.reference, data, dims, given.prompt)
    return take_bearings(artifacts, data, reference, given.prompt)


def _report(
    given: argparse.Namespace, measured: Measured, order: Order, data: RetrievalSet, bearings: Bearings
) -> Report:
    from android_harness.driver.measuring import make_report
    from bench.gate import apply_gates
    from bench.limits import gates_identity, read_gates

    plain = make_report(measured, order.artifacts, data, bearings, order).made_by(given.command_line)
    return apply_gates(plain, read_gates(given.gates), gates_identity(given.gates))


def _write(reports: dict[str, Report], out: Path) -> dict[str, Path]:
    """All reports or none: one in `out` itself, several each in a folder of its phone's."""
    from bench.report_folder import write_report_folder

    names = folder_names(list(reports)) if len(reports) > 1 else dict.fromkeys(reports, ".")
    with whole_folder(out) as folder:
        for serial, report in reports.items():
            (folder / names[serial]).mkdir(exist_ok=True)
            write_report_folder(report, folder / names[serial])
    return {serial: out / name for serial, name in names.items()}


def folder_names(serials: list[str]) -> dict[str, str]:
    """A folder's name for each phone, unlike all others, whatever it calls itself: `..`, `a:1`, `a_1`."""
    names: dict[str, str] = {}
    for serial in serials:
        plain = re.sub(r"[^a-zA-Z0-9.-]", "_", serial).lstrip(".") or "phone"
        taken = {one.lower() for one in names.values()}  # a Mac's disk does not tell letters' cases apart
        tried = (plain, *(f"{plain}_{number}" for number in range(2, len(serials) + 1)))
        names[serial] = next(one for one in tried if one.lower() not in taken)
    return names


def _conclude(reports: dict[str, Report], folders: dict[str, Path]) -> int:
    """Print the verdict as `bench` does; of several phones, each one's under its serial."""
    from pocketvec.commands import GATE_FAILED, PASSED, verdict_of

    verdicts = {serial: verdict_of(report, folders[serial]) for serial, report in reports.items()}
    failed = any(one["verdict"] != "pass" for one in verdicts.values())
    whole = {"verdict": "fail" if failed else "pass", "devices": verdicts}
    line = whole if len(verdicts) > 1 else next(iter(verdicts.values()))
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    return GATE_FAILED if failed else PASSED
