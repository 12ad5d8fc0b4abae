"""The app without Android Studio: it compiles, links, wants no permission, and calls what exists."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from android_harness.toolchain.aapt2 import aapt2
from android_harness.toolchain.android_api import platform, violations
from android_harness.toolchain.android_app import APP, Linked, build_file, compile_app, link
from common.errors import UserError

pytestmark = pytest.mark.android


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Linked:
    return link(tmp_path_factory.mktemp("linked"))


@pytest.fixture(scope="module")
def classes(linked: Linked) -> list[Path]:
    return sorted(compile_app(linked.ids).rglob("*.class"))


def test_no_android_from_min_sdk_on_lacks_what_the_app_calls(classes: list[Path]) -> None:
    assert violations(classes, platform(), build_file().min_sdk) == []


def test_a_lower_min_sdk_would_be_caught(classes: list[Path]) -> None:
    assert any("needs API 24" in line for line in violations(classes, platform(), 23))


def test_every_class_that_the_manifest_names_was_compiled(linked: Linked, classes: list[Path]) -> None:
    tree = aapt2("dump", "xmltree", "--file", "AndroidManifest.xml", linked.package)
    named = set(re.findall(r'android:name\(\w+\)="\.(\w+)"', tree))
    assert named == {"HarnessApplication", "MainActivity", "BenchInstrumentation"}
    assert named <= {path.stem for path in classes}


def test_the_package_is_what_the_driver_starts(linked: Linked) -> None:
    badging = aapt2("dump", "badging", linked.package)
    assert "package: name='dev.pocketvec.harness' " in badging
    assert "sdkVersion:'26'\ntargetSdkVersion:'36'\n" in badging
    assert "launchable-activity: name='dev.pocketvec.harness.MainActivity'" in badging
    tree = aapt2("dump", "xmltree", "--file", "AndroidManifest.xml", linked.package)
    assert re.search(r'instrumentation.*\n(.*\n)*?.*targetPackage\(\w+\)="dev\.pocketvec\.harness"', tree)
    assert re.search(r"extractNativeLibs\(\w+\)=false", tree)


def test_the_app_has_no_permission_and_lets_no_library_have_one(linked: Linked) -> None:
    assert "uses-permission" not in aapt2("dump", "badging", linked.package)
    manifest = (APP / "src" / "main" / "AndroidManifest.xml").read_text()
    removed = re.findall(
        r'uses-permission android:name="android\.permission\.(\w+)" tools:node="remove"', manifest
    )
    services = ["FOREGROUND_SERVICE", "FOREGROUND_SERVICE_DATA_SYNC"]
    assert removed == ["INTERNET", "ACCESS_NETWORK_STATE", *services]


def test_models_would_lie_uncompressed_in_the_package() -> None:
    assert build_file().no_compress == ("onnx", "ort", "tflite", "data", "bin")


def test_the_screen_has_a_dark_and_a_light_form_with_readable_system_bars(linked: Linked) -> None:
    dump = aapt2("dump", "resources", linked.package)
    theme = dump[dump.index("style/Harness") :]
    kinds = re.findall(r"^ +\((|night|v27|night-v27)\) \(style\)", theme, re.MULTILINE)
    assert sorted(kinds) == ["", "night", "night-v27", "v27"]


@pytest.mark.parametrize("bar", ["Status", "Navigation"])
def test_dark_icons_stand_on_the_light_background(bar: str) -> None:
    """Up to Android 14 a theme's navigation bar is black unless it says otherwise."""
    light = f'<item name="android:windowLight{bar}Bar">true</item>'
    colour = f'<item name="android:{bar.lower()}BarColor">?android:attr/colorBackground</item>'
    themes = [path.read_text() for path in (APP / "src" / "main" / "res").rglob("themes.xml")]
    assert any(light in text for text in themes)
    assert all(colour in text for text in themes if light in text)


def with_change(folder: Path, name: str, change: Callable[[str], str]) -> Path:
    app = shutil.copytree(APP, folder / "app")
    path = app / "src" / "main" / name
    path.write_text(change(path.read_text()))
    return app


@pytest.mark.parametrize(
    ("name", "found", "instead", "said"),
    [
        ("res/layout/main.xml", "@string/query_hint", "@string/query_hin", "string/query_hin"),
        ("AndroidManifest.xml", "@style/Harness", "@style/Harnes", "style/Harnes"),
        ("res/values/themes.xml", "windowLightStatusBar", "windowBrightStatusBar", "windowBrightStatusBar"),
    ],
)
def test_a_resource_that_does_not_exist_is_caught(
    name: str, found: str, instead: str, said: str, tmp_path: Path
) -> None:
    app = with_change(tmp_path, name, lambda text: text.replace(found, instead))
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=said):
        link(tmp_path / "out", app)


def test_the_screen_uses_every_string_and_no_text_stands_in_the_layout() -> None:
    source = APP / "src" / "main"
    texts = "".join(path.read_text() for path in [*source.rglob("*.kt"), *source.rglob("layout/*.xml")])
    texts += (source / "AndroidManifest.xml").read_text()
    strings = re.findall(r'<string name="(\w+)"', (source / "res" / "values" / "strings.xml").read_text())
    used = {*re.findall(r"@string/(\w+)", texts), *re.findall(r"R\.string\.(\w+)", texts)}
    assert used == set(strings)
    assert not re.findall(r'android:(?:text|hint|contentDescription)="[^@]', texts)


def test_a_value_that_the_build_file_leaves_open_is_named(tmp_path: Path) -> None:
    path = tmp_path / "build.gradle.kts"
    path.write_text((APP / "build.gradle.kts").read_text().replace("minSdk = 26", "minSdk = lowest"))
    with pytest.raises(UserError, match="'minSdk' stands there 0 times"):
        build_file(path)


def test_resources_are_stored_with_the_manifest(linked: Linked) -> None:
    with zipfile.ZipFile(linked.package) as package:
        assert {"AndroidManifest.xml", "resources.arsc", "res/layout/main.xml"} <= set(package.namelist())
