"""ONNX Runtime's Java API on this machine, driving the very library that Python's onnxruntime does.

The classes ai.onnxruntime and their JNI glue (1.17, MIT) come out of the wheel of pyserini, which carries
them inside Anserini's jar. That release's own library cannot read today's graphs; a shim (ort_shim.c) stands
in for it and loads the installed one. Apps get classes and library from Maven Central instead, as an AAR.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import zipfile
from pathlib import Path

from android_harness.toolchain.fetch import Pin, downloads, install, pip_wheel, run, tools
from common.errors import UserError

WHEEL = Pin("pyserini", "0.40.0", "fbda53e84dbded1b120055a900976c37d6a53cc841d518f40e2a8b00e454377f")
FAT_JAR = "pyserini/resources/jars/anserini-0.38.0-fatjar.jar"
CLASSES = "ai/onnxruntime/"
NATIVE = f"{CLASSES}native/"
GLUE = "libonnxruntime4j_jni.so"
PLATFORMS = {"x86_64": "linux-x64", "aarch64": "linux-aarch64"}
JAR_NAME = "onnxruntime-java.jar"
SONAME = "libonnxruntime.so.1.17.0"
"""What the glue asks the dynamic linker for, by name and by symbol version (ort_shim.map)."""
SHIM = Path(__file__).with_name("ort_shim.c")
LIBRARY_VARIABLE = "ORT_LIBRARY"


def fetch(folder: Path) -> None:
    """Have classes, glue and shim in `folder`. Raises UserError when they do not come or do not compile."""
    source = SHIM.read_text(encoding="utf-8") + SHIM.with_suffix(".map").read_text(encoding="utf-8")
    install(folder, f"{WHEEL.sha256} 1 {platform.machine()}\n{source}", _fill)


def classes() -> Path:
    """The jar of ai.onnxruntime's classes, fetched at first use."""
    folder = tools() / "onnxruntime_java"
    fetch(folder)
    return folder / JAR_NAME


def flags() -> list[str]:
    """What `java` must be told to find the glue and the shim."""
    return [f"-Donnxruntime.native.path={classes().parent / 'native'}"]


def environment() -> dict[str, str]:
    """This process's environment with the installed library named and its telemetry off from the start."""
    return {**os.environ, LIBRARY_VARIABLE: str(installed_library()), "ORT_DISABLE_TELEMETRY": "1"}


def installed_library() -> Path:
    """The shared library of Python's onnxruntime, found without importing it."""
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        raise UserError("onnxruntime: not installed in this Python, so there is no library to drive")
    found = sorted((Path(spec.origin).parent / "capi").glob("libonnxruntime.so.*"))
    if not found:
        raise UserError(f"{Path(spec.origin).parent}: it has no libonnxruntime.so")
    return found[-1]


def _fill(folder: Path) -> None:
    native = folder / "native"
    native.mkdir()
    with (
        downloads() as packages,
        zipfile.ZipFile(pip_wheel(WHEEL, packages)) as wheel,
        wheel.open(FAT_JAR) as stream,
        zipfile.ZipFile(stream) as fat,
    ):
        _copy_classes(fat, folder / JAR_NAME)
        for system in PLATFORMS.values():
            target = folder / system / GLUE
            target.parent.mkdir()
            target.write_bytes(fat.read(f"{NATIVE}{system}/{GLUE}"))
    machine = platform.machine()
    if machine not in PLATFORMS:
        raise UserError(f"{machine}: the Java API's glue is there for {', '.join(PLATFORMS)} alone")
    (native / GLUE).write_bytes((folder / PLATFORMS[machine] / GLUE).read_bytes())
    _compile_shim(native / "libonnxruntime.so")


def _copy_classes(fat: zipfile.ZipFile, jar: Path) -> None:
    with zipfile.ZipFile(jar, "w") as out:
        for name in fat.namelist():
            if name.startswith(CLASSES) and name.endswith(".class"):
                out.writestr(name, fat.read(name))


def _compile_shim(target: Path) -> None:
    script = SHIM.with_suffix(".map")
    linked = [f"-Wl,-soname,{SONAME}", f"-Wl,--version-script={script}"]
    run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", *linked, SHIM, "-ldl", "-o", target])
