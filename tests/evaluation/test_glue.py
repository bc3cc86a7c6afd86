"""The battery: sets found and read, results kept as they come, medians and spreads, a mean that says of what."""
from __future__ import annotations

import json
import signal
import statistics
from pathlib import Path
from typing import Any

import pytest

from polysemy.artifact import finish, new_folder
from polysemy.errors import InputError
from polysemy.evaluation.glue import GlueConfig, mean_of, run_glue, summary_of, table_of
from polysemy.evaluation.glue_sets import OpenSet, find_sets, read_set
from polysemy.training.outcome import InterruptError

ONE = "sentence\tlabel\nwhat a fine day it was\t1\nnot a good one at all\t0\nfine and good indeed\t1\n"
TWO = "index\tsentence1\tsentence2\tlabel\n0\tIt rains a lot.\tIt is wet here.\tyes\n1\tIt is dry now.\tIt rains.\tno\n"
NEAR = "sentence1\tsentence2\tscore\nA man sits down.\tA man is sitting.\t4.5\nA dog runs off.\tA cat sleeps.\t0.5\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """SST-2 and RTE by other spellings of their names, and an own set of scores."""
    for name, text in (("sst2", ONE), ("RTE", TWO), ("nearness", NEAR), ("no-set", "")):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for part in ("train", "dev") if text else ():
            (folder / f"{part}.tsv").write_text(text)
    return tmp_path / "data"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that passes for a run; what the battery asks of it is its fingerprint."""
    with new_folder(tmp_path / "run") as folder:
        (folder / "model.safetensors").write_bytes(b"weights")
        finish(folder, {"recipe": "bert", "config": {}})
    return tmp_path / "run"


class Tuner:
    """Stands for fine-tuning: scores by seed, a list of what was asked."""

    def __init__(self, scores: list[float]) -> None:
        self.scores, self.asked = scores, []

    def __call__(self, folder: Path, one: OpenSet, out: Path, seed: int, config: GlueConfig) -> dict[str, Any]:
        self.asked.append((one.name, seed))
        if self.scores[seed] < 0:
            raise RuntimeError("the loss was\nno number")
        return {"metrics": dict.fromkeys(one.metrics, self.scores[seed]), "seconds": 2.0}


def test_sets_are_found_by_any_spelling_and_missing_ones_are_told(data: Path) -> None:
    sets, missing = find_sets(data)
    assert [one.name for one in sets] == ["SST-2", "RTE", "nearness"]
    assert "CoLA" in missing
    assert "RTE" not in missing
    assert [one.name for one in find_sets(data, ["rte"])[0]] == ["RTE"]


def test_a_set_that_was_asked_for_must_be_there(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got 'cola'.*there are SST-2, RTE, nearness"):
        find_sets(data, ["cola"])
    with pytest.raises(InputError, match="folder a set"):
        find_sets(tmp_path / "nowhere")


def test_kinds_and_labels_are_read_from_the_files(data: Path) -> None:
    one, two, near = (read_set(found) for found in find_sets(data)[0])
    assert (one.kind, one.metrics, one.task.to_dict()["labels"]) == ("classify", ("accuracy",), ["0", "1"])
    assert (two.kind, two.task.to_dict()["pair"]) == ("pair", True)
    assert (near.kind, near.task.to_dict()["low"], near.metrics) == ("regress", 0.5, ("pearson", "spearman"))


def test_the_sets_of_the_benchmark_are_read_as_it_means_them(shared_data: Path) -> None:
    sets = {one.name: read_set(one) for one in find_sets(shared_data / "glue")[0]}
    assert list(sets) == ["CoLA", "SST-2", "MRPC", "STS-B", "RTE"]
    assert [len(one.dev) for one in sets.values()] == [1043, 872, 408, 1500, 277]
    assert "WNLI" in [one.name for one in find_sets(shared_data / "glue", ["wnli", "RTE"])[0]]
    assert sets["CoLA"].train[0].text.startswith("Our friends won't buy")
    own = [read_set(one) for one in find_sets(shared_data / "chinese")[0]]
    assert [(one.name, one.kind) for one in own] == [("ChnSentiCorp", "classify"), ("tnews", "classify")]


def test_a_battery_that_was_stopped_goes_on(data: Path, model: Path, tmp_path: Path) -> None:
    out, tuner = tmp_path / "glue.json", Tuner([0.5, 0.9, 0.6])
    run_glue([model], data, out, GlueConfig(seeds=2, tasks=("sst2", "rte")), fine_tune=tuner)
    assert tuner.asked == [("SST-2", 0), ("SST-2", 1), ("RTE", 0), ("RTE", 1)]
    found = run_glue([model], data, out, GlueConfig(seeds=3), fine_tune=tuner)
    assert tuner.asked[4:] == [("SST-2", 2), ("RTE", 2), ("nearness", 0), ("nearness", 1), ("nearness", 2)]
    assert found == json.loads(out.read_text())
    assert found["scores"]["run"]["SST-2"]["score"] == 0.6
    assert found["mean"]["run"] == pytest.approx(0.6)
    run_glue([model], data, out, GlueConfig(seeds=1, epochs=9.0, tasks=("rte",)), fine_tune=tuner)
    assert tuner.asked[9:] == [("RTE", 0)]


def test_other_weights_are_another_model(data: Path, model: Path, tmp_path: Path) -> None:
    out, tuner, config = tmp_path / "glue.json", Tuner([0.5]), GlueConfig(seeds=1, tasks=("rte",))
    run_glue([model], data, out, config, fine_tune=tuner)
    with new_folder(model, overwrite=True) as folder:
        (folder / "model.safetensors").write_bytes(b"other weights")
        finish(folder, {"recipe": "bert", "config": {}})
    better = Tuner([0.9])
    found = run_glue([model], data, out, config, fine_tune=better)
    assert better.asked == [("RTE", 0)]
    assert len(found["runs"]) == 2
    assert (found["scores"]["run"]["RTE"]["score"], found["scores"]["run"]["RTE"]["seeds"]) == (0.9, 1)


def test_a_seed_that_failed_costs_nothing_else_and_is_tried_again(data: Path, model: Path, tmp_path: Path) -> None:
    out, config = tmp_path / "glue.json", GlueConfig(seeds=2, tasks=("rte",))
    found = run_glue([model], data, out, config, fine_tune=Tuner([-1.0, 0.8]))
    assert found["scores"]["run"]["RTE"]["seeds"] == 1
    assert found["runs"][0]["error"] == "the loss was no number"
    again = Tuner([0.7, 0.8])
    assert run_glue([model], data, out, config, fine_tune=again)["scores"]["run"]["RTE"]["score"] == 0.75
    assert again.asked == [("RTE", 0)]


def test_the_score_of_a_set_is_the_median_seed_of_the_mean_of_its_metrics() -> None:
    runs = [{"metrics": {"f1": f1, "accuracy": f1 - 0.1}, "seconds": 1.0} for f1 in (0.9, 0.5, 0.8)]
    found = summary_of(runs, ("f1", "accuracy"))
    assert (found["score"], found["low"], found["high"]) == pytest.approx((0.75, 0.45, 0.85))
    assert found["metrics"] == {"f1": 0.8, "accuracy": pytest.approx(0.7)}
    assert found["deviation"]["f1"] == statistics.stdev([0.9, 0.5, 0.8])  # of a sample, as `finetune` tells it
    assert summary_of(runs[:1], ("f1",))["deviation"] == {"f1": None}
    assert summary_of([{"error": "no"}], ("f1",)) == {"error": "no"}


def test_there_is_no_mean_over_a_part_of_the_sets() -> None:
    assert mean_of({"a": {"score": 0.5}, "b": {"error": "no"}}) is None


def test_the_table_has_the_majority_under_the_models(data: Path, model: Path, tmp_path: Path) -> None:
    found = run_glue([model], data, tmp_path / "glue.json", GlueConfig(seeds=2), fine_tune=Tuner([0.5, 0.7]))
    header, rows = table_of(found)
    assert header[:3] == ("model", "SST-2 accuracy", "RTE accuracy")
    assert rows[0][:3] == ("run", "60.0 ±10.0", "60.0 ±10.0")
    assert rows[1][:2] == ("majority", "66.7")
    assert "WNLI" not in found["note"]
    (data / "RTE").rename(data / "WNLI")
    found = run_glue([model], data, tmp_path / "glue.json", GlueConfig(seeds=2), fine_tune=Tuner([0.5, 0.7]))
    assert "WNLI is left out" in found["note"]


@pytest.mark.parametrize("stop", [InterruptError(signal.SIGTERM, "saved in a folder that is gone", saved=True),
                                  KeyboardInterrupt()])
def test_a_stop_says_what_is_kept_and_how_it_goes_on(data: Path, model: Path, tmp_path: Path,
                                                     stop: BaseException) -> None:
    tuner = Tuner([0.5])

    def stopped(folder: Path, one: OpenSet, out: Path, seed: int, config: GlueConfig) -> dict[str, Any]:
        if one.name == "RTE":
            raise stop
        return tuner(folder, one, out, seed, config)

    with pytest.raises(InterruptError, match=r"in run on RTE, seed 0, .* 1 finished result in .*glue\.json") as caught:
        run_glue([model], data, tmp_path / "glue.json", GlueConfig(seeds=1), fine_tune=stopped)
    assert caught.value.exit_code == 128 + (2 if isinstance(stop, KeyboardInterrupt) else 15)
    run_glue([model], data, tmp_path / "glue.json", GlueConfig(seeds=1), fine_tune=tuner)
    assert tuner.asked == [("SST-2", 0), ("RTE", 0), ("nearness", 0)]


def test_a_set_of_many_labels_has_the_macro_mean(data: Path, model: Path, tmp_path: Path) -> None:
    for part in ("train", "dev"):
        (data / "no-set" / f"{part}.tsv").write_text(ONE + "neither this nor that\t2\n")
    found = run_glue([model], data, tmp_path / "glue.json", GlueConfig(seeds=1), fine_tune=Tuner([0.5]))
    assert found["sets"]["no-set"]["metrics"] == ["accuracy", "macro_f1"]
    assert "no-set accuracy/macro F1" in table_of(found)[0]


def test_results_never_replace_another_file(data: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "notes.json"
    out.write_text('{"my": "notes"}')
    with pytest.raises(InputError, match="choose another name"):
        run_glue([model], data, out, fine_tune=Tuner([0.5]))
    assert json.loads(out.read_text()) == {"my": "notes"}


def test_the_same_folder_twice_is_a_mistake(data: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="twice"):
        run_glue([model, model], data, tmp_path / "glue.json", fine_tune=Tuner([0.5]))


def test_both_dev_sets_of_mnli_are_told(data: Path, model: Path, tmp_path: Path) -> None:
    (data / "RTE").rename(data / "MNLI")
    (data / "MNLI" / "dev.tsv").rename(data / "MNLI" / "dev_matched.tsv")
    sets, _ = find_sets(data, ["mnli"])
    assert (sets[0].mismatched, read_set(sets[0]).metrics) == (None, ("accuracy",))
    out, tuner, config = tmp_path / "glue.json", Tuner([0.5]), GlueConfig(seeds=1, tasks=("mnli",))
    run_glue([model], data, out, config, fine_tune=tuner)
    (data / "MNLI" / "dev_mismatched.tsv").write_text(TWO + "2\tIt is hot.\tIt is cold.\tyes\n")
    found = run_glue([model], data, out, config, fine_tune=tuner)
    assert tuner.asked == [("MNLI", 0)] * 2  # what was known of one dev set is not told of two
    about = found["sets"]["MNLI"]
    assert about["metrics"] == ["accuracy", "mismatched_accuracy"]
    assert (about["majority"]["accuracy"], about["majority"]["mismatched_accuracy"]) == (0.5, pytest.approx(1 / 3))
    header, rows = table_of(found)
    assert (header[1], rows[0][1]) == ("MNLI accuracy/mismatched", "50.0/50.0")
