"""Q4_0 with searched scales: a lower weighted error within the format, and a file like any other."""

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from export.artifact import open_artifact
from export.embedder import Embedder
from export.golden import golden_parity
from quantize.blocks import Q4_0, Q4_0_PORTABLE, Codec, encode_rows
from quantize.quantize import quantize_artifact
from quantize.recipe_file import plain
from quantize.scale_search import CHUNK, Q4_0_SEARCHED, Q4_0_TABLE_SEARCHED


@pytest.mark.parametrize("seed", [0, 1])
def test_searched_scales_lower_the_weighted_error_and_stay_in_the_format(seed: int) -> None:
    generator = np.random.default_rng(seed)
    blocks = (generator.standard_t(4, size=(CHUNK + 7, 32)) * 0.05).astype(np.float32)
    for searched, usual in ((Q4_0_SEARCHED, Q4_0_PORTABLE), (Q4_0_TABLE_SEARCHED, Q4_0)):
        found, old = searched.encode(blocks), usual.encode(blocks)
        assert found.codes.dtype == np.int8
        assert found.codes.min() >= -8
        assert found.codes.max() <= 7
        np.testing.assert_array_equal(found.scales, found.scales.astype(np.float16))
        error = [((one.dequantize() - blocks) ** 2 * blocks**2).sum() for one in (found, old)]
        assert error[0] < 0.9 * error[1]
    portable = Q4_0_SEARCHED.encode(blocks).scales
    assert (portable > 0).all()
    assert not (portable.view(np.uint32) & 0xFFFF).any()


def test_searched_scales_survive_zeros_and_extremes() -> None:
    blocks = np.zeros((3, 32), dtype=np.float32)
    blocks[1, 3] = 1e-30
    blocks[2] = 3e4
    for codec in (Q4_0_SEARCHED, Q4_0_TABLE_SEARCHED):
        values = codec.encode(blocks).dequantize()
        assert not values[:2].any()
        np.testing.assert_allclose(values[2], 3e4, rtol=0.01)


@pytest.mark.parametrize("codec", [Q4_0_SEARCHED, Q4_0_TABLE_SEARCHED])
@pytest.mark.parametrize("value", [3e6, -3e6, 3e38])
def test_a_searched_scale_beyond_fp16_is_refused_with_the_weights_name(codec: Codec, value: float) -> None:
    with pytest.raises(UserError, match="tensor 'w': the scale of block 1 exceeds fp16"):
        encode_rows(np.array([[1.0] * 32, [value] * 32], dtype=np.float32), codec, "w")


def test_a_searched_q4_0_file_is_read_like_any_other(artifacts: Path, tmp_path: Path) -> None:
    parent = artifacts / "onnx-fp32-128d"
    out = quantize_artifact(parent, plain("q4_0", scale_search=True), tmp_path / "out")
    found, usual = open_artifact(out), open_artifact(artifacts / "onnx-q4_0-128d")
    assert found.manifest.precision == "q4_0"
    assert found.manifest.recipe is not None
    assert found.manifest.recipe.scale_search
    assert found.file_bytes == usual.file_bytes
    assert found.manifest.files["model.onnx.data"] != usual.manifest.files["model.onnx.data"]
    assert golden_parity(Embedder.open(out)).cosine_mean > 0.93
