"""Figures of studies: what is drawn is what the runs' files say."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from studies import gradient_plots, plots
from studies.axes import interval_ends
from studies.record import Findings
from studies.summary import Experiment
from studies.wording import metric_name, show


def study(folder: Path, arms: dict[str, list[dict]], configs: dict[str, dict] | None = None) -> Findings:
    """A study whose runs have these results; ``path`` is added where a run left files."""
    found = [
        Experiment(name, name, tuple({"seed": k, "path": str(folder / f"{name}-{k}"), **r} for k, r in enumerate(rs)))
        for name, rs in arms.items()
    ]
    variants = [{"name": name, "config": (configs or {}).get(name, {})} for name in arms]
    record = {
        "name": "x", "metrics": ["test/acc"], "select": None, "groups": {}, "published": {}, "plots": [],
        "variants": variants, "not_run": {},
    }  # fmt: skip
    return Findings(record, folder, tuple(found))


def accuracies(values: list[float]) -> list[dict]:
    return [{"metrics": {"test/acc": value}} for value in values]


def write(folder: Path, name: str, file: str, text: str) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / file).write_text(text)


def test_shares_are_counted_with_wilsons_interval(tmp_path):
    figure = plots.share(study(tmp_path, {"two": accuracies([1.0, 0.75, 1.0, 0.5]), "four": accuracies([1.0] * 4)}))
    (axes,) = figure.axes
    assert [patch.get_width() for patch in axes.patches] == [0.5, 1.0]
    assert [text.get_text() for text in axes.texts] == ["2 of 4", "4 of 4"]
    z, n = stats.norm.ppf(0.975), 4  # Wilson (1927): (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)
    half = z * math.sqrt(0.25 / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    segment = axes.containers[1].lines[2][0].get_segments()[0]
    np.testing.assert_allclose(segment[:, 0], [0.5 - half, 0.5 + half])


@pytest.mark.parametrize("draw", [plots.bars, plots.cost])
def test_no_accuracy_goes_beyond_100_percent(tmp_path, draw):
    results = [r | {"num_parameters": 10, "train_seconds": 1.0} for r in accuracies([1.0, 0.9])]
    figure = draw(study(tmp_path, {"a": results, "b": results}))
    which = 0 if draw is plots.bars else 1
    for axes in figure.axes:
        assert (axes.get_xlim, axes.get_ylim)[which]()[1] <= 1.0
        for container in axes.containers:
            for bar in container.lines[2] if hasattr(container, "lines") else ():
                assert bar.get_segments()[0][:, which].max() <= 1.0


def test_bands_of_shares_end_at_0_and_1_and_those_of_losses_and_gaps_do_not():
    np.testing.assert_allclose(interval_ends("val/acc", [0.5, 0.95], [0.6, 0.1]), [[0.0, 0.85], [1.0, 1.0]])
    np.testing.assert_allclose(interval_ends("gap/acc", [0.0], [0.1]), [[-0.1], [0.1]])
    np.testing.assert_allclose(interval_ends("val/loss", [1.0], [np.nan]), [[1.0], [1.0]])


def test_a_gap_is_drawn_in_points(tmp_path):
    runs = [{"metrics": {"train/acc": 0.99, "test/acc": value}} for value in (0.95, 0.94)]
    figure = plots.bars(study(tmp_path, {"a": runs}), "gap/acc")
    (axes,) = figure.axes
    figure.canvas.draw()
    assert axes.get_xlabel() == "training minus test accuracy, points"
    assert {"0", "5"} < {text.get_text() for text in axes.get_xticklabels()}


def test_a_product_of_names_has_a_panel_for_each_first_part():
    assert plots._product(["moons NumPy", "moons PyTorch", "blobs NumPy", "blobs PyTorch"]) == {
        "moons": {"moons NumPy": "NumPy", "moons PyTorch": "PyTorch"},
        "blobs": {"blobs NumPy": "NumPy", "blobs PyTorch": "PyTorch"},
    }
    assert plots._product(["moons NumPy", "moons PyTorch", "XOR"]) is None
    assert plots._product(["ReLU", "Sigmoid"]) is None


def test_curves_of_a_product_share_one_axis_in_panels(tmp_path):
    names = ["moons NumPy", "moons PyTorch", "blobs NumPy", "blobs PyTorch"]
    for name in names:
        write(tmp_path, f"{name}-0", "history.csv", "epoch,val/acc\n0,0.5\n1,0.9\n2,0.95\n")
    figure = plots.curves(study(tmp_path, {name: accuracies([0.9]) for name in names}))
    assert [axes.get_title() for axes in figure.axes] == ["moons", "blobs"]
    lines = [line.get_linestyle() for line in figure.axes[0].lines]
    assert len(set(lines)) == 2  # a dashed line lets an equal one below it be seen


def test_depth_is_the_first_step_and_the_geometric_mean_of_the_last_epoch(tmp_path):
    for seed, factor in enumerate((1, 100)):  # over these seeds the geometric mean is 10 times the first
        rows = [f"0,1,{0.2 * factor},{0.3 * factor}", f"1,50,{0.01 * factor},1", f"1,60,{0.0001 * factor},1"]
        write(tmp_path, f"a-{seed}", "gradients.csv", "\n".join(["epoch,step,2,4", *rows]))
    first, last = gradient_plots.depth(study(tmp_path, {"a": accuracies([0.9, 0.9])})).axes
    np.testing.assert_allclose(first.lines[0].get_ydata(), [2.0, 3.0])
    np.testing.assert_allclose(last.lines[0].get_ydata(), [0.01, 1.0])


def test_decades_of_gradient_are_lost_between_the_last_layer_and_the_first(tmp_path):
    rows = ["0,1,5,5,5", "1,50,1e-4,3,1", "1,60,1e-6,7,1"]  # the last epoch's geometric mean is 1e-5 in the first layer
    write(tmp_path, "a-0", "gradients.csv", "\n".join(["epoch,step,2,4,6", *rows]))
    (arm,) = study(tmp_path, {"a": accuracies([0.9, 0.8])}).arms
    assert arm.by_seed("gradient/decades") == {0: pytest.approx(5.0)}
    assert (metric_name("gradient/decades"), show("gradient/decades", 5.0)) == ("decades of gradient lost", "5.00")


def test_gradients_begin_with_the_first_step_and_have_at_most_three_panels_a_row(tmp_path):
    arms = {name: accuracies([0.9]) for name in "abcde"}
    for name in arms:
        write(tmp_path, f"{name}-0", "gradients.csv", "epoch,step,2,4\n0,1,0.1,0\n0,50,0.1,0.2\n")
    figure = gradient_plots.gradients(study(tmp_path, arms))
    assert len(figure.axes) == 5
    assert max(axes.get_subplotspec().colspan.stop for axes in figure.axes) == 3
    assert figure.axes[0].lines[0].get_xdata()[0] == 1
    assert len({axes.get_ylim() for axes in figure.axes}) == 1


def test_a_wide_range_is_drawn_logarithmically(tmp_path):
    def axis(values: list[float]) -> str:
        configs = {str(value): {"lr": value} for value in values}
        findings = study(tmp_path, {name: accuracies([0.9]) for name in configs}, configs)
        return plots.against(findings, "lr").axes[0].get_xscale()

    assert axis([1e-4, 1e-2]) == "log"
    assert axis([5, 30]) == "linear"
