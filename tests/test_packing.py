"""pack for an app's project on the command line: what is printed, exit codes, what is refused."""

import os
from pathlib import Path

import pytest
from delivery_samples import apk, sample

from pocketvec.cli import main

SMALL, LARGE = "litert-q4_0-128d", "litert-int8-128d"


@pytest.fixture
def two(tmp_path: Path) -> list[str]:
    return [
        str(sample(tmp_path / "in", name, megabytes=size).path) for name, size in [(SMALL, 1), (LARGE, 2)]
    ]


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of a command that ends with exit code 2."""
    capsys.readouterr()
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_assets_are_written_checked_and_not_overwritten(
    two: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["pack", two[0], "--for", "android-assets", "--out", str(out)]
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(out)
    assert main(["pack", str(out), "--check", "android-assets"]) == 0
    assert "already exists" in refused(command, capsys)
    built = apk(tmp_path / "app.apk", out / "src" / "main" / "assets", alignment=16384)
    assert main(["pack", str(built), "--check", "android-assets"]) == 0
    assert capsys.readouterr().out == "the contract holds\n"


def test_a_broken_apk_exits_with_1_and_says_why(
    two: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["pack", two[0], "--for", "android-assets", "--out", str(tmp_path / "out")])
    assets = tmp_path / "out" / "src" / "main" / "assets"
    built = apk(tmp_path / "app.apk", assets, compressed=[".tflite"])
    capsys.readouterr()
    assert main(["pack", str(built), "--check", "android-assets"]) == 1
    assert capsys.readouterr().out.startswith(f"fault: assets/pocketvec/{SMALL}/model.tflite: compressed")


def test_a_pack_takes_its_options_and_says_which_phones_get_what(
    two: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    options = ["--pack-name", "models", "--delivery", "install-time", "--ram", f"6000={LARGE}"]
    assert main(["pack", *two, "--for", "play-asset-pack", "--out", out, *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{LARGE}: phones with 6000 MB of RAM or more" in lines
    assert 'deliveryType.set("install-time")' in Path(out, "build.gradle.kts").read_text()
    assert main(["pack", out, "--check", "play-asset-pack"]) == 0
    Path(out, "src/main/assets/pocketvec#group_other/model.tflite").unlink()
    assert main(["pack", out, "--check", "play-asset-pack"]) == 1


def test_what_does_not_go_together_is_one_line_and_leaves_nothing(
    two: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    for arguments, message in [
        ([*two, "--for", "android-assets", *out], "android-assets takes one path"),
        ([*two, "--for", "mediapipe-task", *out], "mediapipe-task takes one path"),
        ([*two, "--check", "play-asset-pack"], "play-asset-pack takes one path"),
        ([two[0], "--for", "android-assets", *out, "--ram", "1=x"], "--ram: only with --for play-asset-pack"),
        ([two[0], "--for", "rag-sdk", *out, "--delivery", "on-demand"], "--delivery: only with --for"),
        ([two[0], "--check", "play-asset-pack", "--pack-name", "x"], "--pack-name: only with --for"),
        ([two[0], "--check", "android-assets", *out], "--check writes nothing"),
        ([two[0], "--for", "play-asset-pack"], "--for play-asset-pack: say where to with --out"),
        ([*two, "--for", "play-asset-pack", *out, "--ram", "many"], "--ram many: expected MB=PROFILE"),
        ([*two, "--for", "play-asset-pack", *out, "--delivery", "soon"], "delivery 'soon': one of"),
        ([*two, "--for", "play-asset-pack", *out, "--pack-name", "1"], "pack name '1'"),
        ([str(tmp_path / "no"), "--for", "android-assets", *out], "no such artifact folder"),
        ([str(tmp_path / "no.apk"), "--check", "android-assets"], "no such file or folder"),
    ]:
        assert message in refused(["pack", *arguments], capsys)
        assert os.listdir(tmp_path) == ["in"]  # noqa: PTH208
