"""Recipes: exceptions by pattern, recipe files, what a container refuses."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from gate_samples import drop, golden
from onnx import numpy_helper
from report_samples import profile, report

from bench.compare import counterparts
from bench.gate import apply_gates
from bench.limits import read_gates
from common.errors import UserError
from export.artifact import open_artifact
from export.embedder import Embedder
from export.golden import golden_parity
from pocketvec import DEFAULT_GATES
from pocketvec.cli import main
from quantize.blocks import Q4_0, Q4_0_PORTABLE, Codec
from quantize.listing import WeightShape, check_recipe, list_weights, name_summary
from quantize.quantize import quantize_artifact, write_model
from quantize.recipe_file import RECIPE_SCHEMA, RecipeFile, read_recipe
from quantize.recipes import RECIPES, Override, Recipe, plain_name

QKV = "layers.{}.self_attn.q_proj.weight"


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The single line on stderr of a command that must exit with 2."""
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("pocketvec: error: ")
    return lines[0]


def recipe(runtime: str, base: str, **keep: str) -> Recipe:
    rules = {pattern.replace("__", ":").replace("_STAR", "*"): p for pattern, p in keep.items()}
    overrides = tuple(Override(pattern, precision, runtime) for pattern, precision in rules.items())
    return dataclasses.replace(RECIPES[runtime][base], overrides=overrides)


class Asked(Recipe):
    """A recipe that notes what it is asked for."""

    asked: list[tuple[str, bool]]

    def codec(self, weight: str, is_table: bool) -> Codec:
        self.asked.append((weight, is_table))
        return super().codec(weight, is_table)


@pytest.mark.parametrize("runtime", ["onnx", "litert"])
def test_the_list_holds_exactly_the_weights_that_the_rewriter_asks_for(
    artifacts: Path, litert_artifacts: Path, tmp_path: Path, runtime: str
) -> None:
    folder = artifacts if runtime == "onnx" else litert_artifacts
    source = open_artifact(folder / f"{runtime}-fp32-128d")
    asking = Asked(*(getattr(RECIPES[runtime]["q4_0"], n) for n in ("table", "attention", "rest", "head")))
    object.__setattr__(asking, "asked", [])
    write_model(source, asking, tmp_path)
    listed = list_weights(runtime, source.model_path)
    assert sorted({(w.name, w.is_table) for w in listed}) == sorted(set(asking.asked))
    assert {w.group for w in listed} == {"table", "attention", "feed_forward", "head"}
    assert (16384, 256) in {(w.rows, w.columns) for w in listed if w.is_table}
    assert (128, 256) in {(w.rows, w.columns) for w in listed if w.group == "head"}


@pytest.mark.parametrize(
    ("pattern", "weight", "is_table", "matched"),
    [
        ("table", "embed_tokens.weight", True, True),
        ("table", "tables.weight", False, False),
        ("head", "head.0.weight", False, True),
        ("attention", QKV.format(3), False, True),
        ("attention", "encoder.layer.1.attention.output.dense.weight", False, True),
        ("feed_forward", "layers.3.mlp.up_proj.weight", False, True),
        ("feed_forward", QKV.format(3), False, False),
        ("layers.1.*", QKV.format(1), False, True),
        ("layers.1.*", QKV.format(10), False, False),
        ("layers.[0-2].*", QKV.format(2), False, True),
        ("*.q_proj.weight", "backbone." + QKV.format(0) + "_t", False, True),
        ("q_proj", QKV.format(0), False, False),
        ("attention:layers.1.*", QKV.format(1), False, True),
        ("feed_forward:layers.1.*", QKV.format(1), False, False),
        ("onnx::MatMul_7", "onnx::MatMul_7", False, True),
    ],
)
def test_a_pattern_is_a_group_a_glob_over_whole_names_or_both(
    pattern: str, weight: str, is_table: bool, matched: bool
) -> None:
    assert Override(pattern, "q8_0", "onnx").matches(weight, is_table) is matched


def test_the_first_pattern_that_matches_decides() -> None:
    rules = {"layers.0.*": "fp32", "attention": "q8_0", "layers.1.*": "fp32"}
    chosen = RecipeFile(RECIPE_SCHEMA, "q4_0", rules)
    overrides = tuple(Override(*rule, "onnx") for rule in chosen.keep.items())
    made = dataclasses.replace(RECIPES["onnx"]["q4_0"], overrides=overrides)
    names = {layer: made.codec(QKV.format(layer), False).name for layer in (0, 1, 2)}
    assert names == {0: "fp32", 1: "q8_0", 2: "q8_0"}
    assert made.codec("layers.1.mlp.up_proj.weight", False).name == "fp32"
    assert made.codec("layers.2.mlp.up_proj.weight", False) == Q4_0_PORTABLE
    assert made.codec("embed_tokens.weight", True) == Q4_0


@pytest.mark.parametrize("runtime", ["onnx", "litert"])
def test_mixed_is_a_4_bit_table_8_bit_attention_and_a_4_bit_rest(runtime: str) -> None:
    mixed = RECIPES[runtime]["mixed"]
    bits = [mixed.of_group(g).bits for g in ("table", "attention", "feed_forward", "head")]
    assert bits == [4, 8, 4, 4]


@pytest.mark.parametrize(
    ("runtime", "pattern", "precision", "message"),
    [
        ("litert", "table", "int8", "weight 'embed_tokens.weight': litert cannot hold it as int8"),
        ("litert", "head", "q8_0", "weight 'head.0.weight': litert cannot hold it as q8_0"),
        ("litert", "attention", "fp32", "precision 'fp32' for 'attention': litert takes"),
        ("onnx", "head", "f16", "65504"),
        ("onnx", "head", "q5_1", "precision 'q5_1' for 'head': onnx takes fp32"),
        ("onnx", "layers.6.*", "q8_0", r"matches no weight; .* feed_forward, head .*layers.\{0-5\}.mlp.up"),
    ],
)
def test_what_a_container_cannot_hold_is_refused_by_weight_precision_and_runtime(
    artifacts: Path,
    litert_artifacts: Path,
    tmp_path: Path,
    runtime: str,
    pattern: str,
    precision: str,
    message: str,
) -> None:
    parent = (artifacts if runtime == "onnx" else litert_artifacts) / f"{runtime}-fp32-128d"
    asked = RecipeFile(RECIPE_SCHEMA, "q4_0", {pattern: precision})
    with pytest.raises(UserError, match=message):
        quantize_artifact(parent, asked, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_kept_weights_are_in_the_file_as_they_were_and_the_manifest_counts_all(
    artifacts: Path, tmp_path: Path
) -> None:
    parent = artifacts / "onnx-fp32-128d"
    keep = {"layers.0.mlp.*": "fp32", "attention": "q8_0", "table": "q8_0"}
    out = quantize_artifact(parent, RecipeFile(RECIPE_SCHEMA, "q4_0", keep), tmp_path / "out")
    before, after = (onnx.load(str(folder / "model.onnx")) for folder in (parent, out))
    old, new = ({t.name: t for t in model.graph.initializer} for model in (before, after))
    untouched = [name for name in old if plain_name(name).startswith("layers.0.mlp.")]
    assert len(untouched) == 3
    for name in untouched:
        np.testing.assert_array_equal(numpy_helper.to_array(new[name]), numpy_helper.to_array(old[name]))
    manifest = open_artifact(out).manifest
    assert (manifest.name, manifest.precision) == ("onnx-custom-128d", "custom")
    assert manifest.recipe is not None
    counts = {name: tally.weights for name, tally in manifest.recipe.codecs.items()}
    listed = list_weights("onnx", parent / "model.onnx")
    attention = sum(weight.group == "attention" for weight in listed)
    assert counts == {"fp32": 3, "q8_0": attention + 1, "q4_0": len(listed) - attention - 4}
    parity = [
        golden_parity(Embedder.open(folder)).cosine_mean for folder in (out, artifacts / "onnx-q4_0-128d")
    ]
    assert parity[0] > parity[1]


def test_the_recipe_of_an_artifact_makes_the_same_file_again(artifacts: Path, tmp_path: Path) -> None:
    parent = artifacts / "onnx-fp32-128d"
    keep = {"attention:layers.[0-2].*": "q8_0", "head": "q8_0"}
    first = quantize_artifact(parent, RecipeFile(RECIPE_SCHEMA, "mixed", keep, label="mine"), tmp_path / "a")
    again = quantize_artifact(parent, read_recipe(first / "recipe.json"), tmp_path / "b")
    hashes = [open_artifact(folder).manifest.files for folder in (first, again)]
    assert hashes[0] == hashes[1]
    assert open_artifact(again).manifest.name == "onnx-mine-128d"


def test_a_litert_file_takes_exceptions_too(litert_artifacts: Path, tmp_path: Path) -> None:
    keep = {"attention:layers.0.*": "f16", "table": "q8_0", "head": "int8"}
    out = quantize_artifact(
        litert_artifacts / "litert-fp32-128d", RecipeFile(RECIPE_SCHEMA, "q4_0", keep), tmp_path / "out"
    )
    recorded = open_artifact(out).manifest.recipe
    assert recorded is not None
    assert {name: tally.weights for name, tally in recorded.codecs.items()} == {
        "f16": 2,
        "int8": 1,
        "q8_0": 1,
        "q4_0": 6 * 5 - 2,
    }
    worse = Embedder.open(litert_artifacts / "litert-q4_0-128d")
    assert golden_parity(Embedder.open(out)).cosine_mean > golden_parity(worse).cosine_mean


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "mixed", "--keep", "layer.0.*=q8_0"], "'layer.0.*': matches no weight; there are"),
        (["--precision", "mixed", "--keep", "head=q9_0"], "precision 'q9_0' for 'head': onnx takes"),
        (["--precision", "mixed", "--keep", "head"], "--keep head: must be PATTERN=PRECISION"),
        (["--precision", "mixed", "--keep", "=q8_0"], "--keep =q8_0: must be PATTERN=PRECISION"),
        (["--precision", "mixed", "--keep", "head=fp16"], "65504"),
        (["--precision", "q4_0", "--keep", "head=q8_0", "--keep", "head=q4_0"], "is given twice"),
        (["--keep", "head=q8_0"], "--keep: makes exceptions from one precision"),
        (["--precision", "q8_0,q4_0", "--keep", "head=q8_0"], "--keep: makes exceptions from one precision"),
        (["--precision", "q4_0", "--keep", "head=q8_0", "--name", "q8_0"], "name 'q8_0': is a precision"),
        (["--precision", "q4_0", "--keep", "head=q8_0", "--name", "../x"], "name '../x': small letters"),
        (["--precision", "q4_0", "--name", "mine"], "a known precision has its own name"),
        (["--recipe", "nowhere.json"], "nowhere.json: no such file"),
        (["--recipe", "nowhere.json", "--precision", "q4_0"], "--recipe and --precision: each says"),
    ],
)
def test_bad_exceptions_are_one_line(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    parent = str(artifacts / "onnx-fp32-128d")
    out = ["--out", str(tmp_path / "out")]
    assert message in refused(["quantize", parent, *options, *out], capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": "pocketvec.recipe/9"}, "schema 'pocketvec.recipe/9' is not"),
        ({"checkpoint_sha256": "0" * 64}, "recipe of another model: onnx-fp32-128d"),
        ({"runtime": "litert"}, "recipe for litert: onnx-fp32-128d is for onnx"),
        ({"kept": {}}, "unknown field 'kept'"),
        ({"keep": ["head"]}, "keep: expected dict"),
        ({"keep": {"head": 8}}, "keep.head: expected str"),
        ({"base": "fp16"}, "65504"),
        ({"base": "q5_1"}, "precision 'q5_1': unknown"),
        ({"label": "q8_0"}, "name 'q8_0': is a precision"),
        ({"label": "q8_0", "keep": {}}, "name 'q8_0': is a precision"),
    ],
)
def test_a_recipe_file_is_read_strictly(
    artifacts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    message: str,
) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({"schema": RECIPE_SCHEMA, "base": "q4_0", "keep": {"head": "q8_0"}} | changes))
    command = ["quantize", str(artifacts / "onnx-fp32-128d"), "--recipe", str(path)]
    assert message in refused([*command, "--out", str(tmp_path / "out")], capsys)
    assert not (tmp_path / "out").exists()


def test_names_are_listed_in_few_words() -> None:
    names = [*(QKV.format(n) for n in range(24)), "head.0.weight", "layers.7.x", "layers.9.x"]
    shapes = [WeightShape(name, 64, 64, False) for name in names]
    expected = "layers.{0-23}.self_attn.q_proj.weight, head.0.weight, layers.{7,9}.x"
    assert name_summary(shapes) == expected
    with pytest.raises(UserError, match="matches no weight"):
        check_recipe(recipe("onnx", "q4_0", nothing="q8_0"), shapes)


def test_a_precision_without_limits_of_its_own_is_held_to_the_general_ones() -> None:
    gates = read_gates(DEFAULT_GATES)
    limit = gates.ndcg_drop_same_dim["default"]["default"].limit(0.5)
    for label in ("custom", "auto"):
        none = drop(0.0, 0.0, 0.5)
        good = profile(f"{label}-256d", precision=label, ndcg_drop_same_dim=drop(limit, 0.0, 0.5))
        good = dataclasses.replace(good, ndcg_drop_full_dim=none, ndcg_drop_asymmetric=none)
        lost = drop(limit + 0.001, 0.0, 0.5)
        bad = dataclasses.replace(good, ndcg_drop_same_dim=lost, golden=golden(cosine_min=0.1))
        verdicts = [apply_gates(report(one), gates).profiles[0].reasons for one in (good, bad)]
        assert not [reason for reason in verdicts[0] if "ndcg" in reason or "golden" in reason]
        assert [reason.split()[0] for reason in verdicts[1]][:2] == [
            "golden.cosine_min",
            "ndcg_drop_same_dim",
        ]


def test_recipes_of_ones_own_have_no_counterpart_in_the_other_runtime() -> None:
    both = [profile(runtime=runtime, precision="custom") for runtime in ("onnx", "litert")]
    assert counterparts(both) == []


def test_inspect_shows_the_recipe_and_what_came_of_it(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["quantize", str(artifacts / "onnx-fp32-128d"), "--precision", "mixed", "--keep", "head=fp32"]
    assert main([*command, "--name", "mine", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "onnx-mine-128d")]) == 0
    shown = capsys.readouterr().out
    assert "recipe     mixed, head=fp32\n" in shown
    assert "weights    fp32: 1 (0.03 M values, 0.13 MB)\n" in shown
