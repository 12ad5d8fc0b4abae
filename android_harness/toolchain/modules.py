"""The Kotlin modules that a JVM can run: what each is made of, compiled in order, and their unit tests."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from android_harness.toolchain import junit, onnxruntime_java
from android_harness.toolchain.fetch import ROOT, install, tools
from android_harness.toolchain.java import FLAGS, command
from android_harness.toolchain.kotlin import compile_kotlin, fingerprint, libraries
from common.errors import UserError

HARNESS = ROOT / "android_harness"
EXPLICIT_API = "-Xexplicit-api=strict"
RUNNER = "org.junit.runner.JUnitCore"
FAILURE = re.compile(r"^\d+\) (.+)", re.MULTILINE)


@dataclass(frozen=True)
class Module:
    """A folder of android_harness: the modules and jars it links to, and compiler options of its own."""

    needs: tuple[str, ...] = ()
    jars: Callable[[], list[Path]] = list
    options: tuple[str, ...] = ()


MODULES = {
    "core": Module(options=(EXPLICIT_API,)),
    "runtime-ort": Module(("core",), lambda: [onnxruntime_java.classes()], (EXPLICIT_API,)),
    "stubs/litert": Module(),
    "runtime-litert": Module(("core", "stubs/litert"), options=(EXPLICIT_API,)),
}


def sources(module: str, kind: str = "main") -> list[Path]:
    """A module's Kotlin files, in order. Kind: main or test."""
    return sorted((HARNESS / module / "src" / kind / "kotlin").rglob("*.kt"))


def build(module: str) -> Path:
    """The folder of a module's classes and resources, compiled unless its sources are those of last time."""
    resources = HARNESS / module / "src" / "main" / "resources"
    classes = _compile(module, sources(module), _linked(module), MODULES[module].options)
    if not resources.is_dir():
        return classes
    out = classes.with_name(f"{classes.name}-with-resources")

    def fill(folder: Path) -> None:
        for part in (classes, resources):
            shutil.copytree(part, folder, dirs_exist_ok=True)

    files = sorted(filter(Path.is_file, resources.rglob("*")))
    install(out, fingerprint(files, [classes], ()), fill)
    return out


def classpath(*modules: str) -> list[Path]:
    """All that a JVM needs to run the modules: their classes, those they need, and libraries."""
    paths = [path for module in modules for path in (build(module), *_linked(module))]
    return list(dict.fromkeys([*paths, *libraries()]))


def run_tests(module: str, properties: Mapping[str, str] | None = None) -> str:
    """Compile and run a module's JUnit tests, in a JVM with `properties`; gives the runner's words.

    Raises UserError naming those that fail, after the runner's words on stderr.
    """
    main, files = build(module), sources(module, "test")
    linked = [*classpath(module), *junit.jars()]
    tests = _compile(f"{module}-test", files, linked, (f"-Xfriend-paths={main}",))
    names = [".".join(file.relative_to(_test_root(module)).with_suffix("").parts) for file in files]
    classes = [name for name in names if name.endswith("Test")]
    told = [f"-D{name}={value}" for name, value in (properties or {}).items()]
    runner = [*command([tests, *linked], RUNNER, [*flags(), *told]), *classes]
    done = subprocess.run(runner, capture_output=True, text=True, env=onnxruntime_java.environment())
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        failed = FAILURE.findall(done.stdout) or [f"the runner ended with {done.returncode}"]
        raise UserError(f"{module}: {'; '.join(failed)}")
    return done.stdout


def flags() -> list[str]:
    """The flags of a JVM that runs the modules."""
    return [*FLAGS, *onnxruntime_java.flags()]


def _test_root(module: str) -> Path:
    return HARNESS / module / "src" / "test" / "kotlin"


def _linked(module: str) -> list[Path]:
    needed = MODULES[module]
    paths = [path for one in needed.needs for path in (build(one), *_linked(one))]
    return list(dict.fromkeys([*paths, *needed.jars()]))


def _compile(name: str, files: list[Path], linked: list[Path], options: tuple[str, ...]) -> Path:
    key = fingerprint(files, [*libraries(), *linked], options)[:16]
    out = tools() / "classes" / f"{name}-{key}"
    compile_kotlin(files, linked, out, options)
    return out
