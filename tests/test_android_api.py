"""What compiled classes may call on every Android from minSdk on, and what is caught when they call more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from android_harness.toolchain import modules
from android_harness.toolchain.android_api import platform, violations
from android_harness.toolchain.android_app import STUBS, build_file
from android_harness.toolchain.api_levels import ApiLevels, read_levels
from android_harness.toolchain.class_file import Member, read_class
from android_harness.toolchain.kotlin import compile_kotlin
from common.errors import UserError

pytestmark = pytest.mark.android

MIN_SDK = build_file().min_sdk


@pytest.fixture(scope="module")
def levels() -> ApiLevels:
    return platform()


CALL = "return power.currentThermalStatus"
GUARDED = (
    f"if (Build.VERSION.SDK_INT >= 29) {CALL}\n return 0",
    f"if (Build.VERSION.SDK_INT > 28) {CALL}\n return 0",
    f"if (Build.VERSION.SDK_INT < Build.VERSION_CODES.R) return 0\n {CALL}",
    "return if (Build.VERSION.SDK_INT <= 28) 0 else power.currentThermalStatus",
    f"if (Build.VERSION.SDK_INT >= 29 && power.hashCode() == 0) {CALL}\n return 0",
    f"when (power.hashCode()) {{ 1 -> if (Build.VERSION.SDK_INT >= 29) {CALL} }}\n return 0",
)
REACHED = {
    CALL: 26,
    f"if (Build.VERSION.SDK_INT >= 28) {CALL}\n return 0": 28,
    f"if (Build.VERSION.SDK_INT < 29) {CALL}\n return 0": 26,
    f"if (Build.VERSION.SDK_INT < 29) println(0)\n {CALL}": 26,
    f"if (Build.VERSION.SDK_INT >= 29 || power.hashCode() == 0) {CALL}\n return 0": 26,
}
"""Function bodies that call what came with API 29, and the oldest Android that gets to the call."""


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Path]]:
    """Function bodies, compiled in one go; gives the class file of one."""
    folder, bodies = tmp_path_factory.mktemp("samples"), [*GUARDED, *REACHED]
    classes = [
        f"class Sample{number} {{\n    fun read(power: PowerManager): Int {{\n        {body}\n    }}\n}}\n"
        for number, body in enumerate(bodies)
    ]
    source = folder / "Samples.kt"
    source.write_text("import android.os.Build\nimport android.os.PowerManager\n\n" + "\n".join(classes))
    compile_kotlin([source, *sorted(STUBS.rglob("*.java"))], [], folder / "classes")
    return lambda body: [folder / "classes" / f"Sample{bodies.index(body)}.class"]


@pytest.mark.parametrize("body", REACHED)
def test_a_call_that_an_older_android_reaches_is_caught(
    body: str, samples: Callable[[str], list[Path]], levels: ApiLevels
) -> None:
    (line,) = violations(samples(body), levels, MIN_SDK)
    assert "android.os.PowerManager.getCurrentThermalStatus with 0 parameters needs API 29, " in line
    assert line.endswith(f"and API {REACHED[body]} can get there")


@pytest.mark.parametrize("body", GUARDED)
def test_a_call_behind_a_version_check_is_in_order(
    body: str, samples: Callable[[str], list[Path]], levels: ApiLevels
) -> None:
    assert violations(samples(body), levels, MIN_SDK) == []


def test_a_member_that_android_does_not_have_is_caught(levels: ApiLevels, tmp_path: Path) -> None:
    signature = tmp_path / "Radio.java"
    signature.write_text("package android.os;\npublic class Radio { public static void tune() { } }\n")
    source = tmp_path / "Use.kt"
    source.write_text("fun use() = android.os.Radio.tune()\n")
    compile_kotlin([source, signature], [], tmp_path / "classes")
    found = violations(sorted((tmp_path / "classes").rglob("*.class")), levels, MIN_SDK)
    assert found == ["UseKt.use: android.os.Radio.tune with 0 parameters is not in Android's API"]


@pytest.mark.parametrize(
    ("owner", "name", "descriptor", "level"),
    [
        ("android.os.PowerManager", "getThermalHeadroom", "(I)F", 30),
        ("android.os.Build", "SOC_MODEL", "Ljava/lang/String;", 31),
        ("android.os.Debug$MemoryInfo", "getTotalPss", "()I", 21),
        ("android.widget.Button", "setVisibility", "(I)V", 21),
        ("android.widget.Button", "setVisibility", "(II)V", None),
        ("java.io.InputStream", "readAllBytes", "()[B", 33),
    ],
)
def test_levels_are_those_of_androids_reference(
    owner: str, name: str, descriptor: str, level: int | None, levels: ApiLevels
) -> None:
    assert levels.of_member(Member(owner, name, descriptor)) == level


@pytest.mark.parametrize("module", ["core", "runtime-ort", "runtime-litert"])
def test_library_modules_keep_to_what_min_sdk_has(module: str, levels: ApiLevels) -> None:
    classes = sorted(modules.build(module).rglob("*.class"))
    assert classes
    assert violations(classes, levels, MIN_SDK) == []


def test_a_file_that_is_no_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Broken.class").write_bytes(b"not a class at all")
    with pytest.raises(UserError, match=r"Broken\.class: not a Java class file"):
        read_class(tmp_path / "Broken.class")


def test_typings_with_hardly_a_class_are_refused(tmp_path: Path) -> None:
    (tmp_path / "short.d.ts").write_text("declare module android {\n\texport class One {\n\t}\n}\n")
    with pytest.raises(UserError, match="1 classes are too few"):
        read_levels(tmp_path / "short.d.ts")
