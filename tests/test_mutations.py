"""The mutation table: every fault put into a real artifact is named by what bench runs, and the gate blocks.

Each row is examined once, as bench does it; what the two halves gave is then played back with one of them
switched off, which must lose exactly the names that are its own.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import mutations as m
import pytest
import test_diagnosis as d
import test_lint_weights as weights
from fault_rows import ENCODER, PROMPTS
from fault_rows_output import HEAD, SQUARE, WEIGHTS
from fault_table import BOTH, DIAGNOSIS, LINT, Examined, Row, examined, markdown, mutated
from gate_samples import report_with

from bench.gate import apply_gates
from bench.limits import read_gates
from bench.report_file import read_report
from common.errors import UserError
from export.fault import Fault
from export.to_onnx import export_onnx
from pocketvec import DEFAULT_GATES
from pocketvec.cli import main

ROWS = [*PROMPTS, *ENCODER, *HEAD, *WEIGHTS]
DOCS = Path(__file__).parent.parent / "docs" / "faults.md"
IDS = [f"{row.fault}-{row.artifact}".replace(" ", "-").replace("'", "") for row in ROWS]
ASKED_FOR = """prompt-missing prompt-doubled cls-pooling not-normalised window-off-by-one window-halved
    bos-eos-swapped bos-missing eos-missing padding-changes-vector batch-changes-vector out-of-range-guard
    fp16-activations dense-order-swapped embedding-scale-missing rope-base-wrong rows-shuffled block-zeroed
    scale-off slice-missing head-transposed"""


@pytest.fixture(scope="module")
def right(
    artifacts: Path,
    litert_artifacts: Path,
    gguf_artifacts: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with every artifact that a row names."""
    folder = tmp_path_factory.mktemp("right")
    for root in (artifacts, litert_artifacts, gguf_artifacts):
        for path in root.iterdir():
            (folder / path.name).symlink_to(path)
    square = weights.square_starter(tmp_path_factory.mktemp("square") / "checkpoint")
    (made,) = export_onnx(square, [64], tmp_path_factory.mktemp("square-artifact"))
    (folder / SQUARE).symlink_to(made)
    return folder


@pytest.fixture(scope="module", params=ROWS, ids=IDS)
def case(
    request: pytest.FixtureRequest, right: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Row, Examined]]:
    row: Row = request.param
    folder = tmp_path_factory.mktemp("wrong")
    yield row, examined(mutated(row, right, folder / row.artifact))
    shutil.rmtree(folder)


def names(faults: list[Fault]) -> set[str]:
    return {fault.name for fault in faults}


def test_the_fault_is_named_and_nothing_is_that_the_table_does_not_have(case: tuple[Row, Examined]) -> None:
    row, found = case
    assert row.name in found.names
    assert (names(found.by_lint), names(found.by_running)) == (
        set(row.lint.split()),
        set(row.running.split()),
    )
    assert found.names == {*row.lint.split(), *row.running.split()}


def test_without_the_half_that_sees_it_the_name_is_gone(
    case: tuple[Row, Examined], monkeypatch: pytest.MonkeyPatch
) -> None:
    row, found = case
    halves = {half: row.name in found.without(monkeypatch, half) for half in (LINT, DIAGNOSIS)}
    assert halves == {LINT: row.found_by != LINT, DIAGNOSIS: row.found_by != DIAGNOSIS}


def test_the_gate_blocks_by_that_name_and_for_no_other_reason(case: tuple[Row, Examined]) -> None:
    row, found = case
    gates = read_gates(DEFAULT_GATES)
    (profile,) = apply_gates(report_with(faults=found.faults), gates).profiles
    assert profile.verdict == "fail"
    assert {reason.partition(":")[0] for reason in profile.reasons} == {
        f"faults.{one}" for one in found.names
    }
    others = [fault for fault in found.faults if fault.name != row.name]
    (profile,) = apply_gates(report_with(faults=others), gates).profiles
    assert not any(reason.startswith(f"faults.{row.name}:") for reason in profile.reasons)


@pytest.mark.parametrize("artifact", sorted({row.artifact for row in ROWS}))
def test_the_same_artifact_without_the_fault_has_none(right: Path, artifact: str) -> None:
    faults = examined(right / artifact).faults
    assert faults == []
    assert apply_gates(report_with(faults=faults), read_gates(DEFAULT_GATES)).verdict == "pass"


def test_a_fault_that_costs_nothing_goes_through_bench_to_the_gate(
    right: Path, small_data: Path, tmp_path: Path
) -> None:
    """A window one too wide: no average sees it, and nothing else is wrong with the profile."""
    row = next(one for one in ROWS if one.name == "window-off-by-one" and one.found_by == BOTH)
    folder = mutated(row, right, tmp_path / row.artifact)
    out = tmp_path / "report"
    options = ["--data", str(small_data), "--out", str(out), "--lengths", "16"]
    gates = tmp_path / "gates.toml"
    gates.write_text('schema = "pocketvec.gates/2"\n[ram_mb]\npeak_above_baseline = 200\nanonymous = 200\n')
    assert main(["bench", str(folder), *options, "--gates", str(gates)]) == 1
    (profile,) = read_report(out / "report.json").profiles
    assert names(profile.faults) == {row.name}
    assert [reason.partition(":")[0] for reason in profile.reasons] == [f"faults.{row.name}"]
    assert main(["gate", str(out / "report.json"), "--gates", str(gates)]) == 1


def test_an_artifact_that_cannot_run_at_all_is_refused_by_name(right: Path, tmp_path: Path) -> None:
    folder = m.mutated(right / d.FP32, tmp_path / "wrong", m.graph_edit(d.two_axes_wrong))
    with pytest.raises(UserError, match="wrong: does-not-run: "):
        examined(folder)


def test_the_table_has_every_fault_that_was_asked_for() -> None:
    assert set(ASKED_FOR.split()) <= {row.name for row in ROWS}
    assert {row.found_by for row in ROWS} == {LINT, DIAGNOSIS, BOTH}
    assert len({(row.fault, row.where, row.artifact) for row in ROWS}) == len(ROWS) >= 24


def test_the_documentation_has_the_table_row_for_row() -> None:
    section = DOCS.read_text(encoding="utf-8").split("## The table\n")[1].split("\n## ")[0]
    assert [line for line in section.splitlines() if re.match(r"\|", line)] == markdown(ROWS)


if __name__ == "__main__":
    sys.stdout.write("\n".join(markdown(ROWS)) + "\n")
