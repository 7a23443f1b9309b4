"""Identity of configs, intervals over seeds, and the table they end in."""

import inspect
import json
import math

import numpy as np
import pytest
from scipy import stats

import datamodules
from studies.identity import CHECKED_DATA, config_hash, differences
from studies.runs import complete_runs
from studies.summary import (
    Experiment,
    compare,
    comparisons,
    gather,
    holm,
    paired_p,
    selected,
    student_interval,
)


def config(**changes) -> dict:
    base = {
        "seed_everything": 1,
        "experiment": "a",
        "trainer": {"max_epochs": 3, "accelerator": "cpu"},
        "checkpoint": {"dirpath": "runs/a", "monitor": "val/acc"},
        "data": {"class_path": "datamodules.MNISTDataModule", "init_args": {"root": "/here", "batch_size": 64}},
        "model": {"class_path": "MLP", "init_args": {"hidden": [3]}},
    }
    return base | changes


def result(seed: int, accuracy: float, **changes) -> dict:
    base = {
        "experiment": "a", "config_hash": "h", "seed": seed, "metrics": {"test/acc": accuracy},
        "train_seconds": 2.0, "num_parameters": 1234, "device": "2 CPU cores", "finished": "2026-01-01",
    }  # fmt: skip
    return base | changes


@pytest.mark.parametrize(
    "other",
    [
        config(seed_everything=2),
        config(experiment="b"),
        config(trainer={"max_epochs": 3, "accelerator": "gpu", "devices": 8}),
        config(checkpoint={"dirpath": "elsewhere", "monitor": "val/acc"}),
        config(data={"class_path": "datamodules.MNISTDataModule", "init_args": {"root": "/there", "batch_size": 64}}),
    ],
)
def test_seed_paths_and_machine_do_not_change_the_hash(other):
    assert config_hash(other) == config_hash(config())


@pytest.mark.parametrize(
    "other",
    [
        config(trainer={"max_epochs": 4}),
        config(checkpoint={"monitor": "val/loss"}),
        config(data={"class_path": "datamodules.MNISTDataModule", "init_args": {"root": "/data", "batch_size": 65}}),
        config(model={"class_path": "MLP", "init_args": {"hidden": [4]}}),
    ],
)
def test_everything_else_does(other):
    assert config_hash(other) != config_hash(config())


def test_the_data_whose_place_does_not_matter_are_those_whose_files_are_checked():
    modules = {name for name in datamodules.__all__ if name.endswith("DataModule")}
    with_root = {name for name in modules if "root" in inspect.signature(getattr(datamodules, name)).parameters}
    assert {name.split(".")[1] for name in CHECKED_DATA} == with_root - {"ImageFolderDataModule"}


def test_of_pictures_of_ones_own_the_folder_is_the_data_set():
    cats, dogs = (
        config(data={"class_path": "datamodules.ImageFolderDataModule", "init_args": {"root": root}})
        for root in ("cats", "dogs")
    )
    assert config_hash(cats) != config_hash(dogs)


def test_a_run_on_several_devices_is_another_experiment_and_no_studys(tmp_path):
    """The batch size is a process's: on two devices a step sees twice the samples."""
    one, two = result(0, 0.9), result(0, 0.8, num_processes=2)
    alone, together = gather([one, two])
    assert [experiment.results for experiment in (alone, together)] == [(one,), (two,)]
    assert [alone.config_name, together.config_name] == ["h", "h on 2 processes"]
    for name, content in {"20260101-120000-seed0": two, "h-seed1": result(1, 0.8, num_processes=2)}.items():
        (tmp_path / "a" / name).mkdir(parents=True)
        (tmp_path / "a" / name / "result.json").write_text(json.dumps(content))
    assert complete_runs(tmp_path) == {"h-seed1": tmp_path / "a/h-seed1"}  # its study says how many devices


def test_differences_are_named_by_dotted_keys():
    old, new = {"a": {"b": 1, "c": [1]}, "d": None}, {"a": {"b": 2, "c": [1]}, "e": 0}
    assert differences(old, new) == ["a.b", "e"]


def test_interval_is_students():
    values = [0.90, 0.92, 0.91, 0.95]
    interval = student_interval(values)
    low, high = stats.t.interval(0.95, 3, loc=interval.mean, scale=stats.sem(values))
    assert (interval.mean - interval.half_width, interval.mean + interval.half_width) == pytest.approx((low, high))


def test_one_value_has_no_interval():
    interval = student_interval([0.5])
    assert math.isnan(interval.half_width)


def arm(name: str, accuracies: list[float], metric: str = "test/acc", seeds: list[int] | None = None) -> Experiment:
    numbered = zip(seeds or range(len(accuracies)), accuracies, strict=True)
    return Experiment(name, name, tuple(result(seed, 0.0, metrics={metric: value}) for seed, value in numbered))


A, B = [0.91, 0.93, 0.90, 0.94, 0.92], [0.90, 0.90, 0.89, 0.92, 0.92]


def test_paired_p_is_scipys():
    assert paired_p(np.array(A) - np.array(B)) == pytest.approx(stats.ttest_rel(A, B).pvalue, rel=1e-12)


def test_pairs_are_formed_by_seed_and_lone_seeds_left_out():
    comparison = compare(
        arm("a", A, seeds=[4, 3, 2, 1, 0]), arm("b", [*B[::-1], 0.1], seeds=[0, 1, 2, 3, 4, 9]), "test/acc"
    )
    assert comparison.difference.n == 5
    assert comparison.p == pytest.approx(stats.ttest_rel(A, B).pvalue)
    assert comparison.difference.mean == pytest.approx(np.mean(A) - np.mean(B))


def test_interval_of_a_difference_holds_zero_exactly_when_the_test_does_not_reject():
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = rng.normal(size=(2, 6))
        comparison = compare(arm("a", list(a)), arm("b", list(b)), "test/acc")
        assert (abs(comparison.difference.mean) > comparison.difference.half_width) == (comparison.p < 0.05)


def test_holm_steps_down_and_never_falls():
    """The example of Holm (1979) as textbooks work it: 4 x 0.005, 3 x 0.01, 2 x 0.03, then not below it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_is_at_most_one_and_skips_what_has_no_p():
    corrected = holm([math.nan, 0.9, 0.8])
    assert math.isnan(corrected[0])
    assert corrected[1:] == [1.0, 1.0]


def test_holm_rejects_what_its_definition_rejects():
    """Reject the k-th smallest while all smaller ones are rejected and p <= alpha / (m - k + 1)."""
    rng = np.random.default_rng(1)
    for _ in range(100):
        p = rng.uniform(0, 0.1, size=7)
        rejected, order = set(), np.argsort(p)
        for k, i in enumerate(order):
            if p[i] > 0.05 / (7 - k):
                break
            rejected.add(i)
        assert {i for i, q in enumerate(holm(list(p))) if q <= 0.05} == rejected


def test_without_spread_only_equality_is_not_a_difference():
    assert paired_p(np.zeros(3)) == 1.0
    assert math.isnan(paired_p(np.full(3, 0.5)))
    assert math.isnan(paired_p(np.array([0.1])))


def test_every_comparison_on_a_metric_is_in_the_correction():
    arms = [arm("base", B), arm("a", A), arm("c", B[::-1])]
    found = comparisons(arms, {"a": "base", "c": "base"}, "test/acc")
    assert [found[name].p_holm for name in ("a", "c")] == pytest.approx(holm([found["a"].p, found["c"].p]))


def test_selection_takes_the_highest_accuracy_and_the_lowest_loss():
    high, low = arm("high", [0.9], "val/acc"), arm("low", [0.8], "val/acc")
    assert selected([low, high], "val/acc") == "high"
    assert selected([arm("high", [0.9], "val/loss"), arm("low", [0.8], "val/loss")], "val/loss") == "low"
    assert selected([], "val/acc") is None


def test_a_seed_that_was_run_twice_counts_once_by_its_last_result():
    (experiment,) = gather([result(1, 0.5, finished="2026-01-02"), result(1, 0.9), result(2, 0.7)])
    assert experiment.metric("test/acc").n == 2
    assert experiment.metric("test/acc").mean == pytest.approx(0.6)


def test_another_config_is_another_row():
    assert len(gather([result(1, 0.5), result(1, 0.9, config_hash="g")])) == 2


def test_the_best_epoch_counts_from_one_as_epochs_do():
    results = ({"seed": 0, "metrics": {}, "best_epoch": 0, "epochs": 1},)
    assert Experiment("a", "h", results).by_seed("best_epoch") == Experiment("a", "h", results).by_seed("epochs")


def test_the_gap_is_training_minus_test_by_seed():
    results = [result(0, 0.7, metrics={"train/acc": 0.9, "test/acc": 0.7}), result(1, 0.8)]
    assert Experiment("a", "h", tuple(results)).by_seed("gap/acc") == {0: pytest.approx(0.2)}
