"""Bad reports and gates: whichever command reads them says why in one line, exits with 2, writes nothing."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_samples import both_runtimes, cached, profile, report

from bench.report import Check
from pocketvec.cli import main

Raw = dict[str, Any]
COMMANDS = {
    "gate": ["gate", "bad.json", "--out", "out"],
    "compare, old": ["compare", "bad.json", "good.json", "--out", "out"],
    "compare, new": ["compare", "good.json", "bad.json", "--out", "out"],
    "recommend": ["recommend", "bad.json", "--ram", "200", "--max-drop", "1%"],
}
CHECK = dataclasses.asdict(Check("m", "perhaps", True, 1.0, None, 1.0, "text"))
BLOCKING = dataclasses.asdict(Check("m", "fail", True, 1.0, None, 1.0, "m is above"))
GATES = 'schema = "pocketvec.gates/2"\n'


def put(path: str, value: object) -> Callable[[Raw], object]:
    """Set what a dotted path leads to; whole numbers are positions in lists."""

    def change(raw: Raw) -> None:
        *parents, last = path.split(".")
        found: Any = raw
        for part in parents:
            found = found[int(part)] if isinstance(found, list) else found[part]
        found[int(last) if isinstance(found, list) else last] = value

    return change


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a report that is as it should be."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.json").write_text(json.dumps(dataclasses.asdict(both_runtimes())))
    return tmp_path


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The single line of a command that must exit with 2, write nothing, and print nothing else."""
    before = set(Path().iterdir())
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert set(Path().iterdir()) == before
    (line,) = printed.err.splitlines()
    assert line.startswith("pocketvec: error: ")
    return line


@pytest.mark.parametrize("command", ["gate", "compare, new", "recommend"])
def test_the_good_report_is_read(folder: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.json").write_text((folder / "good.json").read_text())
    assert main(COMMANDS[command]) in (0, 1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("schema", "pocketvec.report/1"), "schema 'pocketvec.report/1' is not 'pocketvec.report/2'"),
        (put("profiles", []), "it holds no profiles"),
        (put("profiles.1.name", "q4_0-256d"), "it holds the profile 'q4_0-256d' twice"),
        (put("profiles.0.ndcg_at_10", float("nan")), "profiles[0].ndcg_at_10 is nan, which is no"),
        (put("profiles.0.ram_mb.rest.shared", float("inf")), "profiles[0].ram_mb.rest.shared is inf"),
        (put("profiles.0.file_bytes", 10**400), "profiles[0].file_bytes is 1000"),
        (put("profiles.0.file_bytes", -1), "profiles[0].file_bytes is -1, which cannot be negative"),
        (put("profiles.0.dim", 0), "profiles[0].dim is 0, which cannot be nothing"),
        (put("profiles.1.latency_ms.256.p90", -4.5), "profiles[1].latency_ms.256.p90 is -4.5, which cannot"),
        (put("profiles.0.ram_mb.load_peak.anonymous", -1.0), "load_peak.anonymous is -1.0, which cannot"),
        (put("profiles.0.latency_ratio.16.reference_ms.3", 0.0), "reference_ms[3] is 0.0, which cannot be"),
        (put("profiles.0.latency_ratio.16.reference_ms", [1.0]), "has 30 timings beside 1 of"),
        (put("profiles.0.ndcg_by_query.2", 1.5), "profiles[0].ndcg_by_query[2] is 1.5, which cannot be"),
        (put("profiles.0.ndcg_by_query", [0.5]), "q4_0-256d has scores of 1 queries, the report has 16"),
        (put("profiles.1.asymmetric_by_query", [0.5]), "litert-q4_0-256d with the server's documents"),
        (put("reference.by_query.128", [0.5] * 15), "the reference at 128 dimensions has scores of 15"),
        (put("queries", []), "it names no queries"),
        (put("profiles.0.ndcg_at_10", 0.6), "ndcg_at_10 is 0.6, but the mean of ndcg_by_query is 0.512100"),
        (put("profiles.0.ndcg_drop_full_dim.queries", 9), "ndcg_drop_full_dim is of 9 queries, not 16"),
        (put("queries.1", "q0"), "it holds the query 'q0' twice"),
        (put("profiles.0.ndcg_drop_same_dim.interval", [0.1]), "is [0.1], not an interval [low, high]"),
        (put("profiles.0.ndcg_drop_same_dim.interval", [0.2, 0.1]), "is [0.2, 0.1], not an interval"),
        (put("profiles.0.latency_ms.fast", {}), "the field 'p50' is missing"),
        (put("profiles.1.latency_ratio", {"x": {}}), "the field 'reference' is missing"),
        (put("profiles.0.verdict", "maybe"), "verdict 'maybe' is none of pass, fail, ungated"),
        (put("verdict", ""), "verdict '' is none of"),
        (put("context.target.kind", "phone"), "target kind 'phone' is none of host, emulated, device"),
        (put("comparisons.0.onnx", "gone"), "'gone' is compared, but the report holds no such profile"),
        (put("context.reproduce", "\ud83e"), "context.reproduce is '\\ud83e', which is half a character"),
        (put("profiles.0.surprise", 1), "unknown field 'surprise'"),
        (put("profiles.0.dim", "256"), "dim: expected int, found '256'"),
        (put("profiles.0.checks", [{"metric": "m", "outcome": "pass"}]), "the field 'blocks' is missing"),
        (put("profiles.0.checks", [BLOCKING]), "q4_0-256d: its verdict is pass, but a check blocks: m is"),
        (put("profiles.0.verdict", "fail"), "its verdict is pass, but that of q4_0-256d is fail"),
        (put("profiles.0.checks", [BLOCKING | {"blocks": False}]), "q4_0-256d: m fails and does not block"),
        (put("profiles.0.ndcg_drop_full_dim.value", 0.001), "ndcg_drop_full_dim.value is 0.001, but its"),
        (put("profiles.0.ndcg_drop_full_dim.reference", 0.9), "ndcg_drop_full_dim.reference is 0.9, but"),
        (put("profiles.0.ndcg_drop_full_dim.interval", [0.0, 0.01]), "is [0.0, 0.01], not around 0.0411"),
        (put("profiles.0.latency_ratio.16.ratio", 0.2), "latency_ratio.16.ratio is 0.2, but the median of"),
        (put("profiles.0.latency_ratio.16.interval", [0.1, 0.2]), "is [0.1, 0.2], not around 0.7"),
        (put("profiles.0.latency_ratio.16.ms.3", 0.0), "latency_ratio.16.ms[3] is 0.0, which cannot be"),
        (put("profiles.0.golden.texts", 0), "profiles[0].golden.texts is 0, which cannot be nothing"),
        (put("profiles.0.golden.cosine_min", 1.5), "golden.cosine_min is 1.5, which cannot be above 1"),
        (put("profiles.0.checks", [CHECK]), "outcome 'perhaps' is none of pass, fail, inconclusive"),
    ],
)
def test_a_report_that_cannot_be_one_is_refused(
    folder: Path,
    command: str,
    change: Callable[[Raw], object],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    raw = dataclasses.asdict(both_runtimes())
    change(raw)
    (folder / "bad.json").write_text(json.dumps(raw))
    line = refused(COMMANDS[command], capsys)
    assert message in line
    assert "bad.json" in line


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"schema": "pocketvec.report/2", "context": {', "not valid JSON"),
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[1, 2]", "schema 'None' is not"),
        (b'"text"', "schema 'None' is not"),
        (b'{"$schema": "other", "results": []}', "schema 'None' is not"),
        (b"[" * 100_000, "not valid JSON"),
        (None, "no such file"),
    ],
)
def test_a_file_that_is_no_report_is_refused(
    folder: Path, command: str, content: bytes | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (folder / "bad.json").write_bytes(content)
    line = refused(COMMANDS[command], capsys)
    assert message in line
    assert "bad.json" in line


@pytest.mark.parametrize("command", ["gate", "compare"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("confidence = 1.0", "confidence 1: from 0.5 up to, but not, 1"),
        ("confidence = 0.2", "confidence 0.2: from 0.5 up to"),
        ('inconclusive = "ignore"', "inconclusive 'ignore': either fail or warn"),
        ("[ndcg_at_5]\nq4_0 = 0.1", "unknown field 'ndcg_at_5'"),
        ("[regression]\nrecall = 0.1", "unknown field 'recall'"),
        ("[regression]\nndcg = { relative = 0.1, absolute = 0.1 }", "a budget is either absolute or"),
        ("[regression]\nndcg = {}", "a budget is either absolute or relative"),
        ("[regression]\nndcg = 0.01", "regression: ndcg: expected a table of fields"),
        ("[regression]\nram = nan", "regression.ram is nan, which is no limit"),
        ("[regression]\nram = inf", "regression.ram is inf, which is no limit"),
        ("[regression]\nram = -0.1", "regression.ram is -0.1, which is no limit"),
        ("[ndcg_drop_same_dim.q4_0]\n256d = { relative = 0.1 }", "'256d' is neither a dimension nor"),
        ("[latency_p90_ms]\nlong = 5", "latency_p90_ms.long: 'long' is neither a dimension nor a length"),
        ("[latency_ratio.q4_0]\nlong = 5", "latency_ratio.q4_0.long: 'long' is neither"),
        ("[ram_mb]\npeak_above_baseline = 1\nanonymous = true", "anonymous: expected int or float"),
        (
            "[regression]\nndcg = { relative = 1 }",
            "regression.ndcg.relative is 1: all of a",
        ),
        (
            "[ndcg_drop_same_dim.q4_0]\n256 = { relative = 2 }",
            "256.relative is 2: all of a",
        ),
        ("[ndcg_drop_full_dim.q4_0]\n256 = { absolute = 1.5 }", "256.absolute is 1.5: all of a score"),
        ("", "sets no limit"),
        ("[golden_cosine", "not valid TOML"),
    ],
)
def test_gates_that_make_no_sense_are_refused(
    folder: Path, command: str, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "my.toml").write_text(f"{GATES}{text}\n")
    reports = ["good.json"] if command == "gate" else ["good.json", "good.json"]
    line = refused([command, *reports, "--gates", "my.toml", "--out", "out"], capsys)
    assert message in line
    assert "my.toml" in line


@pytest.mark.parametrize(
    "text", ['require = ["onnx-q8_0-64d"]\ngolden_norm_error = 1', "[file_mb.onnx-q8_0-64d]\ndefault = 3"]
)
def test_gates_that_name_a_profile_that_is_not_there_are_refused(
    folder: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "my.toml").write_text(f"{GATES}{text}\n")
    line = refused(["gate", "good.json", "--gates", "my.toml", "--out", "out"], capsys)
    assert "names the profile 'onnx-q8_0-64d', which the report does not hold; it holds litert" in line


def test_gates_that_only_limit_changes_let_no_report_pass(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "my.toml").write_text(f"{GATES}[regression]\nfile = 0.1\n")
    assert "sets no limit" in refused(["gate", "good.json", "--gates", "my.toml"], capsys)
    assert main(["compare", "good.json", "good.json", "--gates", "my.toml"]) == 0
    (folder / "my.toml").write_text(f"{GATES}golden_norm_error = 1\n[regression]\n")
    capsys.readouterr()
    line = refused(["compare", "good.json", "good.json", "--gates", "my.toml"], capsys)
    assert "its [regression] table sets no limit" in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("context.data.sha256", "cd" * 32), "context.data.sha256 is 'abab"),
        (put("context.data.split", "dev"), "context.data.split is 'test' in the old report and 'dev' in"),
        (put("context.data", {"split": "test"}), "and 'None' in the new one"),
        (put("queries.3", "other"), "queries differ between the old report and the new one: 'q3'"),
    ],
)
def test_reports_on_different_data_are_not_compared(
    folder: Path, change: Callable[[Raw], object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = dataclasses.asdict(both_runtimes())
    change(raw)
    (folder / "bad.json").write_text(json.dumps(raw))
    assert message in refused(COMMANDS["compare, new"], capsys)


def test_two_reports_that_do_not_say_what_they_were_scored_on_are_not_compared(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = dataclasses.asdict(report())
    raw["context"]["data"] = {}
    (folder / "bad.json").write_text(json.dumps(raw))
    assert "is 'None' in the old" in refused(["compare", "bad.json", "bad.json"], capsys)


def test_what_an_error_quotes_cannot_steer_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = dataclasses.asdict(both_runtimes())
    raw["comparisons"][0]["onnx"] = "\x1b[2Jall is well\n\x07"
    (folder / "bad.json").write_text(json.dumps(raw))
    assert "bad.json: '?[2Jall is well ?' is compared" in refused(COMMANDS["gate"], capsys)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ram", "much"], "--ram 'much': expected a number"),
        (["--ram", "-1"], "--ram '-1': expected a number"),
        (["--ram", "nan"], "--ram 'nan': expected a number"),
        (["--ram", "5%"], "--ram 5%: only --max-drop takes a share"),
        (["--max-drop", "0.01@64"], "--max-drop 0.01@64: does not depend on the length"),
        (["--max-p90", "50"], "--max-p90 50: say at which length"),
        (["--max-p90", "50@256"], "absolute times count on a device, and this report's target is 'host'"),
        (["--max-latency-ratio", "0.9@99"], "--max-latency-ratio @99: measured at 16, 256 tokens"),
        (["--runtime", "gguf"], "runtime 'gguf': the report holds none; it holds litert, onnx"),
    ],
)
def test_a_condition_that_cannot_be_decided_is_refused(
    folder: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--ram=200", "--max-drop=1%"]
    name, value = options
    given = [one for one in given if not one.startswith(name)] + [f"{name}={value}"]
    assert message in refused(["recommend", "good.json", *given], capsys)


def test_a_folder_that_is_taken_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "kept").write_text("")
    for command in ("gate", "compare, old"):
        (folder / "bad.json").write_text((folder / "good.json").read_text())
        assert "out: already exists" in refused(COMMANDS[command], capsys)
    assert [path.name for path in (folder / "out").iterdir()] == ["kept"]


def test_profiles_without_a_cache_and_with_one_are_both_read(folder: Path) -> None:
    (folder / "good.json").write_text(json.dumps(dataclasses.asdict(report(profile(), cached()))))
    assert main(["gate", "good.json"]) in (0, 1)
