"""The Gradle project's files agree with each other and with what the host measures with."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from android_harness.toolchain import kotlin
from android_harness.toolchain.java import command

HARNESS = Path(__file__).parents[1] / "android_harness"
CATALOG = tomllib.loads((HARNESS / "gradle" / "libs.versions.toml").read_text())
BUILD_FILES = sorted(HARNESS.glob("*.gradle.kts")) + sorted(HARNESS.glob("*/build.gradle.kts"))
MODULES = re.findall(r'":([\w-]+)"', (HARNESS / "settings.gradle.kts").read_text())
ANDROID_MODULES = ["app", "runtime-ort", "runtime-litert"]


def build_text(module: str) -> str:
    return (HARNESS / module / "build.gradle.kts").read_text()


def accessors(table: str) -> set[str]:
    """The catalog's aliases as build files write them."""
    return {re.sub(r"[-_]", ".", alias) for alias in CATALOG[table]}


def test_every_alias_that_a_build_file_uses_is_in_the_catalog_and_none_is_idle() -> None:
    text = "\n".join(path.read_text() for path in BUILD_FILES)
    used = set(re.findall(r"\blibs\.([\w.]+)\)", text))
    plugins = {name.removeprefix("plugins.") for name in used if name.startswith("plugins.")}
    assert plugins == accessors("plugins")
    assert used - {f"plugins.{name}" for name in plugins} == accessors("libraries")


def test_every_version_that_the_catalog_refers_to_is_in_it_and_none_is_idle() -> None:
    entries = [*CATALOG["libraries"].values(), *CATALOG["plugins"].values()]
    assert {entry["version"]["ref"] for entry in entries} == set(CATALOG["versions"])


@pytest.mark.parametrize(("alias", "package"), [("onnxruntime", "onnxruntime"), ("litert", "ai-edge-litert")])
def test_the_phone_runs_the_kernels_that_the_host_measures(alias: str, package: str) -> None:
    assert CATALOG["versions"][alias].split(".")[:2] == version(package).split(".")[:2]


def test_litert_reports_the_version_that_it_is_pinned_to() -> None:
    source = HARNESS / "runtime-litert/src/main/kotlin/dev/pocketvec/litert/LitertFactory.kt"
    assert f'LITERT_VERSION: String = "{CATALOG["versions"]["litert"]}"' in source.read_text()


def test_gradle_compiles_the_language_that_the_tests_compile() -> None:
    assert CATALOG["versions"]["kotlin"].startswith(f"{kotlin.LANGUAGE}.")


def test_gradle_compiles_core_against_the_library_that_the_tests_give_it() -> None:
    assert {"-jvm-target", "1.8", "-Xjdk-release=1.8"} <= set(kotlin.OPTIONS)
    assert "JvmTarget.JVM_1_8" in build_text("core")
    assert 'freeCompilerArgs.add("-Xjdk-release=1.8")' in build_text("core")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_whose_sources_read_json_says_that_it_needs_the_library(module: str) -> None:
    """What core needs for itself is not handed on to the modules that use core."""
    for kind, configuration in (("main", "implementation"), ("test", r"(?:testI|i)mplementation")):
        texts = "".join(path.read_text() for path in (HARNESS / module / "src" / kind).rglob("*.kt"))
        if "import kotlinx.serialization" in texts:
            assert re.search(rf"\b{configuration}\(libs\.kotlinx\.serialization\.json\)", build_text(module))


def test_every_module_has_a_build_file_and_sources() -> None:
    assert MODULES == ["core", "runtime-ort", "runtime-litert", "app"]
    assert {path.parent.name for path in BUILD_FILES} == {"android_harness", *MODULES}
    for module in MODULES:
        assert list((HARNESS / module / "src" / "main").rglob("*.kt")), module


def test_android_modules_agree_on_the_oldest_android_and_the_sdk() -> None:
    for name in ("minSdk", "compileSdk"):
        assert (
            len({re.findall(rf"\b{name} = (\d+)", build_text(module))[0] for module in ANDROID_MODULES}) == 1
        )


def test_phones_get_arm64_alone_unless_an_emulator_is_asked_for() -> None:
    assert re.findall(r'(if .*)?abiFilters \+= "([\w-]+)"', build_text("app")) == [
        ("", "arm64-v8a"),
        ('if (providers.gradleProperty("pocketvec.emulator").isPresent) ', "x86_64"),
    ]


@pytest.mark.parametrize(
    ("module", "package"),
    [("runtime-ort", "ai.onnxruntime"), ("runtime-litert", "com.google.ai.edge.litert")],
)
def test_shrinking_keeps_what_native_code_and_the_service_loader_look_up(module: str, package: str) -> None:
    rules = (HARNESS / module / "consumer-rules.pro").read_text()
    assert f"-keep class {package}.** {{ *; }}" in rules
    assert "-keep class * implements dev.pocketvec.RuntimeFactory { <init>(); }" in rules
    assert "-keepnames interface dev.pocketvec.RuntimeFactory" in rules
    assert 'consumerProguardFiles("consumer-rules.pro")' in build_text(module)
    services = HARNESS / module / "src" / "main" / "resources" / "META-INF" / "services"
    assert (services / "dev.pocketvec.RuntimeFactory").read_text().startswith("dev.pocketvec.")


def test_what_am_instrument_names_is_kept_by_that_name() -> None:
    assert (
        "-keep class dev.pocketvec.harness.BenchInstrumentation"
        in (HARNESS / "app/proguard-rules.pro").read_text()
    )


def test_measurements_are_taken_with_a_build_that_cannot_be_debugged() -> None:
    assert "isDebuggable" not in build_text("app")
    assert 'signingConfig = signingConfigs.getByName("debug")' in build_text("app")


def test_no_wrapper_is_in_git() -> None:
    assert not list(HARNESS.rglob("gradle-wrapper.jar"))


@pytest.mark.android
def test_libraries_are_those_that_the_tests_run_with() -> None:
    jars = [path.name for path in kotlin.libraries()]
    versions = CATALOG["versions"]
    assert any(name.startswith(f"kotlin-stdlib-{versions['kotlin']}") for name in jars)
    assert f"kotlinx-serialization-json-jvm-{versions['kotlinx-serialization']}.jar" in jars


@pytest.mark.android
def test_build_files_are_kotlin(tmp_path: Path) -> None:
    """Names come from Gradle, which is not here: whatever else the compiler says is a mistake."""
    sources = []
    for number, path in enumerate(BUILD_FILES):
        sources.append(tmp_path / f"Build{number}.kt")
        sources[-1].write_text(f"fun build{number}() {{\n{path.read_text()}\n}}\n")
    compiler = command(sorted(kotlin.jars().glob("*.jar")), kotlin.MAIN)
    said = subprocess.run(
        [*compiler, *kotlin.OPTIONS[:2], "-d", tmp_path, *sources], capture_output=True, text=True
    ).stderr
    assert "unresolved reference 'android'" in said
    assert "syntax error" not in said.lower()
