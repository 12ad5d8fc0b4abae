"""The search for the smallest recipe: on the starter's real graph, and its steps on made-up costs."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import UserError
from common.retrieval import read_retrieval_set
from export.artifact import open_artifact
from pocketvec.cli import main
from quantize.auto import LEAST_EVALUATIONS, Search, keep_of
from quantize.judge import Drop, Goal, Judge, mean_and_upper, student_t
from quantize.listing import WeightShape, check_recipe, list_weights
from quantize.quantize import quantize_artifact
from quantize.recipe_file import RECIPE_SCHEMA, RecipeFile, read_recipe
from quantize.recipes import RECIPES

LAYERS = 6
WEIGHTS = [
    WeightShape("embed_tokens.weight", 4096, 64, True),
    *(WeightShape(f"layers.{n}.self_attn.qkv_proj.weight", 128, 64, False) for n in range(LAYERS)),
    *(WeightShape(f"layers.{n}.mlp.up_proj.weight", 256, 64, False) for n in range(LAYERS)),
    WeightShape("head.0.weight", 64, 64, False),
]
Cost = Callable[[WeightShape], float]


def made_up(cost: Cost, runtime: str = "onnx", limit: int = 60) -> Search:
    """A search where each weight at 4 bits costs `cost` and the costs add up to at most 1."""

    def measure(keep: dict[str, str]) -> Drop:
        recipe = RecipeFile(RECIPE_SCHEMA, "q4_0", keep).resolve(runtime)
        check_recipe(recipe, WEIGHTS)
        chosen = {weight: recipe.codec(weight.name, weight.is_table) for weight in WEIGHTS}
        size = sum(weight.stored_bytes(codec) for weight, codec in chosen.items())
        drop = sum(cost(weight) for weight, codec in chosen.items() if codec.bits == 4)
        return Drop(size, 1 - drop, drop, drop, drop <= 1)

    return Search(measure, WEIGHTS, runtime, limit, lambda drop: drop.drop)


def smallest(search: Search) -> dict[str, str]:
    found = search.run()
    assert found is not None
    return keep_of(found)


def test_4_bits_everywhere_are_the_answer_when_they_hold() -> None:
    search = made_up(lambda weight: 0.01)
    assert smallest(search) == {}
    assert len(search.trials) == 2


def test_the_one_group_that_costs_too_much_is_kept() -> None:
    assert smallest(made_up(lambda w: 2.0 if w.group == "head" else 0.01)) == {"head": "q8_0"}
    assert smallest(made_up(lambda w: 2.0 if w.group == "table" else 0.01)) == {"table": "q8_0"}


def test_a_single_dear_layer_is_found_and_the_others_go_down() -> None:
    search = made_up(lambda w: 2.0 if w.name.startswith("layers.4.mlp") else 0.01)
    assert smallest(search) == {"feed_forward:layers.4.*": "q8_0"}
    assert len(search.trials) < 20


def test_what_costs_most_for_its_bytes_goes_up_first() -> None:
    """The table costs more than the head but is dearer to keep, and the head alone is enough."""
    cost = {"table": 0.5, "head": 0.45, "attention": 0.03, "feed_forward": 0.02}
    search = made_up(lambda w: cost[w.group])
    assert smallest(search) == {"head": "q8_0"}
    assert len(search.trials) == 2 + 4 + 1  # both ends, each group alone, one step


def test_nothing_is_found_when_not_even_8_bits_hold() -> None:
    search = made_up(lambda w: 0.0)
    search.measure = lambda keep: Drop(1, 0.5, 0.5, 0.5, False)
    assert search.run() is None
    assert len(search.trials) == 1


def test_the_evaluations_are_bounded_and_the_answer_holds_all_the_same() -> None:
    hard = made_up(lambda w: 0.3 if w.group == "feed_forward" else 0.2, limit=LEAST_EVALUATIONS)
    keep = smallest(hard)
    assert len(hard.trials) <= LEAST_EVALUATIONS
    assert hard.measure(keep).within
    more = made_up(lambda w: 0.3 if w.group == "feed_forward" else 0.2)
    assert more.measure(smallest(more)).bytes < hard.measure(keep).bytes


def test_litert_tries_8_bits_for_the_head_before_16() -> None:
    def cost(weight: WeightShape) -> float:
        return 2.0 if weight.group == "head" else 0.0

    assert smallest(made_up(cost, "litert")) == {"head": "int8"}
    assert RECIPES["litert"]["int8"].head.name == "f16"


def test_a_group_whose_weights_lie_in_no_layer_is_not_divided() -> None:
    search = made_up(lambda w: 2.0 if w.group == "feed_forward" else 0.01)
    search.weights = [*WEIGHTS, WeightShape("projection.weight", 64, 64, False)]
    assert smallest(search) == {"feed_forward": "q8_0"}


def test_the_interval_is_students_t() -> None:
    assert student_t(0.9, 4) == pytest.approx(1.5332, abs=2e-3)
    assert student_t(0.9, 23) == pytest.approx(1.3195, abs=1e-4)
    mean, upper = mean_and_upper([0.0, 0.1, 0.2, 0.1, 0.1])
    assert mean == pytest.approx(0.1)
    assert upper == pytest.approx(0.1 + 1.5332 * math.sqrt(0.005 / 5), abs=1e-3)
    assert mean_and_upper([0.3]) == (0.3, 0.3)


def test_a_search_writes_the_smallest_artifact_that_holds_and_how_it_was_found(
    artifacts: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = artifacts / "onnx-fp32-128d"
    command = ["quantize", str(parent), "--auto", "--budget", "0.1", "--max-evaluations", "8"]
    assert main([*command, "--data", str(small_data), "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out.splitlines()
    out = tmp_path / "onnx-auto-128d"
    assert shown[-1] == str(out)
    artifact, recipe = open_artifact(out), read_recipe(out / "recipe.json")
    assert recipe.search is not None
    held = [trial for trial in recipe.search.trials if trial.within]
    best = min(held, key=lambda trial: trial.bytes)
    assert (recipe.keep, artifact.file_bytes) == (best.keep, best.bytes)
    assert all(trial.drop_upper <= 0.1 for trial in held)
    assert sum(line.startswith(("+ ", "* ")) for line in shown) == len(held) + 1  # and the legend
    judge = Judge(open_artifact(parent), read_retrieval_set(small_data, "dev"), Goal(0.1))
    assert recipe.search.fp32_score == pytest.approx(judge.fp32_score)
    again = quantize_artifact(parent, recipe, tmp_path / "again")
    assert (
        open_artifact(again).manifest.files["model.onnx.data"] == artifact.manifest.files["model.onnx.data"]
    )
    assert {weight.group for weight in list_weights("onnx", parent / "model.onnx")} >= {
        pattern.partition(":")[0] for pattern in recipe.keep
    }


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The single line of pocketvec's on stderr of a command that must exit with 2."""
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("search ")]
    assert len(lines) == 1
    assert lines[0].startswith("pocketvec: error: ")
    return lines[0]


def test_a_budget_that_nothing_holds_is_one_line_and_nothing_is_written(
    artifacts: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """24 queries cannot show a drop below a millionth, unless no ranking moved at all."""
    command = ["quantize", str(artifacts / "onnx-fp32-768d"), "--auto", "--budget", "1e-6"]
    line = refused([*command, "--data", str(small_data), "--out", str(tmp_path / "out")], capsys)
    assert "budget 1e-06: even q8_0 everywhere lost" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--auto", "--precision", "q4_0"], "--auto and --precision: each says"),
        (["--auto", "--recipe", "recipe.json"], "--auto and --recipe: each says"),
        (["--auto", "--keep", "head=q8_0"], "--keep and --auto: the recipe says"),
        (["--auto", "--budget", "0"], "budget 0: a share of the fp32 score above 0 and below 1"),
        (["--auto", "--budget", "1"], "budget 1: a share"),
        (["--auto", "--budget", "nan"], "budget nan: a share"),
        (["--auto", "--metric", "map"], "metric 'map': unknown; choose from ndcg_at_10"),
        (["--auto", "--max-evaluations", "3"], "max-evaluations 3: at least 8"),
        (["--auto", "--data", "nowhere"], "nowhere"),
        (["--auto", "--split", "train"], "train.tsv"),
        (["--auto", "--prompt", "nope"], "prompt 'nope': the model has no such prompt"),
        (["--auto", "--name", "q4_0"], "name 'q4_0': is a precision"),
        (["--budget", "0.01"], "--budget: is only for --auto"),
        (["--point-estimate"], "--point-estimate: is only for --auto"),
    ],
)
def test_a_search_asked_for_wrongly_is_one_line(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    parent = str(artifacts / "onnx-fp32-128d")
    assert message in refused(["quantize", parent, *options, "--out", str(tmp_path / "out")], capsys)
    assert not list(tmp_path.iterdir())


def test_too_few_queries_for_an_interval_are_refused(
    artifacts: Path, small_data: Path, tmp_path: Path
) -> None:
    data = read_retrieval_set(small_data, "dev")
    few = dict(list(data.queries.items())[:3])
    fewer = type(data)(**{**vars(data), "queries": few, "qrels": {q: data.qrels[q] for q in few}})
    source = open_artifact(artifacts / "onnx-fp32-128d")
    with pytest.raises(UserError, match="3 queries in small/dev: an interval needs 8"):
        Judge(source, fewer, Goal(0.1))
    assert Judge(source, fewer, Goal(0.1, point_estimate=True)).fp32_score > 0
