"""onnxruntime reports usage unless told not to before it loads; here it is told, everywhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OPEN_BARE = "import onnxruntime; onnxruntime.InferenceSession({model!r})"
OPEN_OURS = "from export.embedder import Embedder; Embedder.open({artifact!r})"


def traces(home: Path, code: str) -> list[str]:
    """Files that a fresh interpreter leaves in an empty home while it runs `code`."""
    home.mkdir()
    clean = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "CI")}
    clean |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    subprocess.run([sys.executable, "-c", code], env=clean, check=True, capture_output=True)
    return sorted(path.name for path in home.rglob("*") if path.is_file())


@pytest.fixture
def code(artifacts: Path) -> dict[str, str]:
    artifact = artifacts / "onnx-q8_0-128d"
    names = {"model": str(artifact / "model.onnx"), "artifact": str(artifact)}
    return {"bare": OPEN_BARE.format(**names), "ours": OPEN_OURS.format(**names)}


def test_bare_onnxruntime_leaves_a_device_id_and_ours_leaves_nothing(
    tmp_path: Path, code: dict[str, str]
) -> None:
    assert "deviceid" in traces(tmp_path / "bare", code["bare"]), "the control: telemetry is on by default"
    assert traces(tmp_path / "ours", code["ours"]) == []


def test_onnxruntime_is_imported_in_one_module_only() -> None:
    sources = [path for folder in ("common", "train", "export", "quantize", "bench", "pocketvec") for path in
               (ROOT / folder).rglob("*.py")]  # fmt: skip
    pattern = re.compile(r"^\s*(import onnxruntime|from onnxruntime)", re.MULTILINE)
    importing = [path.relative_to(ROOT) for path in sources if pattern.search(path.read_text())]
    typed_only = re.compile(r"if TYPE_CHECKING:\n    import onnxruntime")
    assert importing == [Path("export/session.py")]
    assert typed_only.search((ROOT / "export/session.py").read_text())
