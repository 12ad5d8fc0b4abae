"""House rules for Kotlin that no compiler holds: width, length, and no abbreviation of a null check."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
WIDTH, LINES = 110, 300


def kotlin_files() -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.kt", "*.kts"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.splitlines() if (ROOT / name).exists()]


def found(pattern: str) -> list[str]:
    """Places whose line matches."""
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for path in kotlin_files()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(pattern, line)
    ]


def test_there_are_kotlin_files() -> None:
    assert len(kotlin_files()) > 20


def test_no_line_of_kotlin_is_wider_than_the_house_allows() -> None:
    assert found(rf"^.{{{WIDTH + 1},}}$") == []


def test_no_kotlin_file_is_longer_than_the_house_allows() -> None:
    assert [path.name for path in kotlin_files() if len(path.read_text("utf-8").splitlines()) > LINES] == []


def test_null_checks_say_what_is_missing() -> None:
    assert found(r"\w!!") == []


def test_no_android_import_reaches_the_modules_that_a_jvm_runs() -> None:
    mixed = [place for place in found(r"^import android") if "/core/" in place or "/runtime-ort/" in place]
    assert mixed == []
