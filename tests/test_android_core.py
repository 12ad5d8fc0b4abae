"""The Kotlin core: it compiles for every Android that is supported, and its own tests pass on a JVM."""

from pathlib import Path

import pytest

from android_harness.toolchain.kotlin import compile_kotlin
from android_harness.toolchain.modules import EXPLICIT_API, MODULES, build, run_tests
from common.errors import UserError

pytestmark = pytest.mark.android


def test_the_unit_tests_of_the_core_pass() -> None:
    said = run_tests("core")
    assert "OK (" in said


def test_a_second_build_compiles_nothing() -> None:
    first = build("core")
    before = first.stat().st_mtime_ns
    assert build("core") == first
    assert first.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("code", "evidence"),
    [
        ("public fun pid(): Long = ProcessHandle.current().pid()", "ProcessHandle"),  # Java 9, not in Android
        ('public fun lines(): Long = "a".lines().count()', "return type mismatch"),
        ("fun open(): Int = 1", "explicit API mode"),
        ("public fun size(text: String): Int = text!!.length", "non-null assertion"),  # a mere warning
    ],
)
def test_code_that_no_phone_or_no_reader_should_meet_does_not_compile(
    code: str, evidence: str, tmp_path: Path
) -> None:
    source = tmp_path / "Wrong.kt"
    source.write_text(f"package wrong\n{code}\n")
    with pytest.raises(UserError) as refusal:
        compile_kotlin([source], [], tmp_path / "out", MODULES["core"].options)
    assert evidence.lower() in str(refusal.value).lower()
    assert "Wrong.kt:2" in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_public_names_of_the_core_are_told_apart_from_its_own(tmp_path: Path) -> None:
    source = tmp_path / "App.kt"
    source.write_text("package app\nfun steal(): Any = dev.pocketvec.Prompts\n")
    assert EXPLICIT_API in MODULES["core"].options
    with pytest.raises(UserError, match="unresolved reference"):
        compile_kotlin([source], [build("core")], tmp_path / "out")
