"""BundledModel.kt as pack writes it, compiled against the core and run over stubs of two Android classes."""

import shutil
import subprocess
from pathlib import Path

import pytest
from delivery_samples import sample

from android_harness.toolchain.java import command
from android_harness.toolchain.kotlin import compile_kotlin
from android_harness.toolchain.modules import EXPLICIT_API, classpath, flags
from android_harness.toolchain.onnxruntime_java import environment
from export.artifact import open_artifact
from export.delivery.android_assets import write_android_assets
from export.source import Source
from export.to_onnx import export_onnx

pytestmark = pytest.mark.android

NAME = "onnx-q8_0-128d"
CONTEXT = """
package android.content

import java.io.File

public abstract class Context {
    public abstract val assets: android.content.res.AssetManager
    public abstract val noBackupFilesDir: File
}
"""
ASSET_MANAGER = """
package android.content.res

import java.io.File
import java.io.InputStream

public class AssetManager(private val folder: File) {
    public fun open(name: String): InputStream = File(folder, name).inputStream()
}
"""
MAIN = """
import android.content.Context
import android.content.res.AssetManager
import dev.pocketvec.Embedder
import dev.pocketvec.assets.BundledModel
import java.io.File

private class App(folder: File, override val noBackupFilesDir: File) : Context() {
    override val assets: AssetManager = AssetManager(folder)
}

public fun main(arguments: Array<String>) {
    val folder = BundledModel.install(App(File(arguments[0]), File(arguments[1])))
    println(folder)
    if (arguments.size > 2) Embedder.open(folder).use { it.selfTest() }
}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the classes of an app, in `classes`, and the assets that it came with, in `assets`."""
    folder = tmp_path_factory.mktemp("project")
    write_android_assets(sample(folder, NAME), folder / "out")
    (source,) = (folder / "out").rglob("BundledModel.kt")
    sources = [source]
    for name, content in {"Context": CONTEXT, "AssetManager": ASSET_MANAGER, "Main": MAIN}.items():
        sources.append(folder / f"{name}.kt")
        sources[-1].write_text(content)
    compile_kotlin(sources, classpath("core"), folder / "classes", (EXPLICIT_API,))
    shutil.copytree(folder / "out" / "src" / "main" / "assets", folder / "assets")
    return folder


def start(project: Path, assets: Path, files: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """One start of the app: it installs its model and prints where; with `more` it tests itself, too."""
    linked = [project / "classes", *classpath("core", *(("runtime-ort",) if more else ()))]
    words = [*command(linked, "MainKt", flags()), str(assets), str(files), *more]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_model_is_copied_out_whole_once_and_replaced_by_its_next_version(
    project: Path, tmp_path: Path
) -> None:
    first = start(project, project / "assets", tmp_path / "files")
    folder = Path(first.stdout.strip())
    assert contents(folder) == contents(project / "assets" / "pocketvec" / NAME), first.stderr
    made = (folder / "model.onnx").stat()
    again = start(project, project / "assets", tmp_path / "files")
    assert again.stdout == first.stdout
    assert (folder / "model.onnx").stat().st_mtime_ns == made.st_mtime_ns
    write_android_assets(sample(tmp_path, NAME), tmp_path / "out")
    later = start(project, tmp_path / "out" / "src" / "main" / "assets", tmp_path / "files")
    assert Path(later.stdout.strip()) != folder
    assert [path.name for path in folder.parent.iterdir()] == [Path(later.stdout.strip()).name]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda path: path.write_bytes(bytes(path.stat().st_size)),
            "its SHA-256 differs from",
        ),
        (lambda path: path.unlink(), "model.onnx.data"),
        (lambda path: path.write_bytes(path.read_bytes()[1:]), "bytes, but the manifest says"),
    ],
)
def test_an_altered_asset_is_named_and_leaves_nothing(
    project: Path, tmp_path: Path, damage: object, message: str
) -> None:
    shutil.copytree(project / "assets", tmp_path / "assets")
    damage(tmp_path / "assets" / "pocketvec" / NAME / "model.onnx.data")  # type: ignore[operator]
    failed = start(project, tmp_path / "assets", tmp_path / "files")
    assert failed.returncode != 0
    assert message in failed.stderr
    assert not any((tmp_path / "files" / "pocketvec-bundled").iterdir())


def test_what_an_interrupted_start_left_is_cleared_away(project: Path, tmp_path: Path) -> None:
    left = tmp_path / "files" / "pocketvec-bundled" / "new"
    left.mkdir(parents=True)
    (left / "manifest.json").write_text("{")
    done = start(project, project / "assets", tmp_path / "files")
    assert contents(Path(done.stdout.strip())) == contents(project / "assets" / "pocketvec" / NAME)
    assert not left.exists()


def test_a_model_from_the_assets_passes_the_kotlin_librarys_self_test(
    project: Path, starter: Source, tmp_path: Path
) -> None:
    """The fixture's class names its own profile, so this one goes by that name."""
    (folder,) = export_onnx(starter, [128], tmp_path / "in")
    write_android_assets(open_artifact(folder), tmp_path / "out")
    assets = tmp_path / "out" / "src" / "main" / "assets"
    (assets / "pocketvec" / folder.name).rename(assets / "pocketvec" / NAME)
    done = start(project, assets, tmp_path / "files", "and test yourself")
    assert done.returncode == 0, done.stderr
