"""Tables, figures and the report say what the runs' files say, and need nothing but them."""

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from scipy import stats

from scripts.study import CONFIGS
from studies.plots import draw
from studies.record import published_values, read_findings
from studies.report import publish, read_layers, write_html
from studies.tables import answer, cells, table, write_tables

LAYERS = """\
| layer | type | parameters | input | output |
| --- | --- | ---: | --- | --- |
| 0 | Flatten | 0 | (64, 1, 28, 28) | (64, 784) |

Parameters: 7,850

Shapes of one batch: (64, 1, 28, 28) -> (64, 784)
"""
PLOTS = ["curves", "bars", "cost", "gradients"]
ACCURACIES = {"relu": [0.98, 0.97, 0.99], "sigmoid": [0.95, 0.945, 0.955], "tanh": [0.981, 0.969, 0.99]}


def write_run(root: Path, config_hash: str, seed: int, accuracy: float) -> None:
    run = root / "mnist-mlp" / f"{config_hash}-seed{seed}"
    run.mkdir(parents=True)
    (run / "layers.md").write_text(LAYERS)
    (run / "history.csv").write_text(f"epoch,val/acc\n0,0.5\n1,{accuracy}\n")
    (run / "gradients.csv").write_text("epoch,0,2\n0,0.1,0.01\n1,0.1,0.001\n")
    metrics = {f"{split}/{name}": accuracy for split in ("train", "val", "test") for name in ("acc", "loss")}
    result = {
        "experiment": "mnist-mlp", "config_hash": config_hash, "seed": seed, "metrics": metrics, "best_epoch": 1,
        "epochs": 2, "steps": 200, "train_seconds": 2.0, "num_parameters": 7850, "device": "2 cores",
        "num_threads": 1, "versions": {"torch": "2"}, "finished": "2026",
    }  # fmt: skip
    (run / "result.json").write_text(json.dumps(result))


def write_study(root: Path, **changes) -> Path:
    folder = root / "studies/activations"
    folder.mkdir(parents=True)
    variants = [
        {"name": name, "config_hash": f"h{k}", "config": {"data": {"init_args": {"length": k}}}}
        for k, name in enumerate(ACCURACIES)
    ]
    record = {
        "name": "activations", "question": "Which <activation>?", "command": "firstlight study x.yaml",
        "seeds": [0, 1, 2], "metrics": ["test/acc", "val/acc"], "select": None,
        "baselines": {"sigmoid": "relu", "tanh": "relu"}, "figures": [], "variants": variants,
        "plots": [*([name, {}] for name in PLOTS), ["against", {"x": "data.init_args.length"}]],
        "published": {"relu": {"value": 0.9778, "report": "D", "protocol": {"lr": 0.001}, "note": None}},
    }  # fmt: skip
    (folder / "study.json").write_text(json.dumps(record | changes))
    return folder


@pytest.fixture
def findings(tmp_path):
    for k, accuracies in enumerate(ACCURACIES.values()):
        for seed, accuracy in enumerate(accuracies):
            write_run(tmp_path, f"h{k}", seed, accuracy)
    return read_findings(write_study(tmp_path), tmp_path)


def test_cells_hold_mean_extremes_paired_difference_and_published_value(findings):
    found = {(cell.variant, cell.metric): cell for cell in cells(findings)}
    relu, sigmoid = found["relu", "test/acc"], found["sigmoid", "test/acc"]
    assert relu.mean == pytest.approx(0.98)
    assert (relu.best_seed, relu.worst_seed, relu.published) == (2, 1, 0.9778)
    assert sigmoid.difference == pytest.approx(-0.03)
    assert sigmoid.p == pytest.approx(stats.ttest_rel(ACCURACIES["sigmoid"], ACCURACIES["relu"]).pvalue)
    assert sigmoid.p_holm == pytest.approx(2 * sigmoid.p)
    assert found["relu", "num_parameters"].mean == 7850
    assert found["relu", "val/acc"].published is None


def test_the_answer_claims_only_what_the_paired_test_supports(findings):
    sentence = answer(findings)
    assert sentence.startswith("relu: test accuracy 98.00% ± 2.48 (n = 3); ")
    assert "sigmoid is 3.00 ± 1.24 points below it" in sentence
    assert "tanh is not told apart from it" in sentence


def test_equal_on_every_seed_is_said_so(findings):
    twin = next(arm for arm in findings.arms if arm.name == "tanh")
    for result, accuracy in zip(twin.results, ACCURACIES["relu"], strict=True):
        result["metrics"]["test/acc"] = accuracy
    assert "tanh equals it on every seed" in answer(findings)


def test_selection_reports_the_test_of_the_chosen_variant_alone(findings, tmp_path):
    findings.record["select"] = "val/acc"
    tested = {cell.variant for cell in cells(findings) if cell.metric == "test/acc"}
    assert tested == {"relu"}
    assert len({cell.variant for cell in cells(findings) if cell.metric == "val/acc"}) == 3
    assert answer(findings).startswith("Chosen on validation accuracy: relu")


def test_csv_json_and_markdown_hold_the_same_numbers(findings, tmp_path):
    write_tables(findings, tmp_path)
    with (tmp_path / "summary.csv").open() as file:
        from_csv = [(row["variant"], row["metric"], float(row["mean"])) for row in csv.DictReader(file)]
    content = json.loads((tmp_path / "summary.json").read_text())
    assert from_csv == [(cell["variant"], cell["metric"], cell["mean"]) for cell in content["cells"]]
    text = (tmp_path / "summary.md").read_text()
    assert "| relu | 3 | 98.00% ± 2.48 | 98.00% ± 2.48 | - | - | 97.78% | 7,850 | 2.0 |" in text
    assert "Equal budgets: every variant trained for 2 epochs, 200 steps." in text


def test_missing_runs_are_counted_and_leave_no_number(tmp_path):
    write_run(tmp_path, "h0", 0, 0.9)
    found = read_findings(write_study(tmp_path), tmp_path)
    assert found.num_missing == 8
    _, rows = table(found)
    assert rows[1][:3] == ["sigmoid", "0", "-"]


def test_every_plot_is_drawn_as_svg_and_png(findings):
    paths = draw(findings, findings.folder)
    assert [path.stem.split("-")[0] for path in paths] == [*PLOTS, "against"]
    for path in paths:
        assert "<svg" in path.read_text()
        assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert ">published<" in paths[1].read_text()


class Page(HTMLParser):
    """Counts elements and collects what a browser would fetch."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href") and tag != "use"]


def test_the_report_is_one_file_that_fetches_nothing(findings, tmp_path):
    write_run(tmp_path, "alone", 7, 0.5)
    path = tmp_path / "report.html"
    assert write_html(tmp_path, path) == 2
    text = path.read_text()
    page = Page(text)
    assert page.tags.count("article") == 2
    assert page.tags.count("svg") == 5
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert not re.search(r"url\((?!#|['\"]?#)", text)
    for expected in ("Which &lt;activation&gt;?", "98.00% ± 2.48", "97.78%", "firstlight study x.yaml"):
        assert expected in text
    assert "Shapes of one batch: (64, 1, 28, 28) -&gt; (64, 784)" in text
    assert "seed 7" in text


def test_the_report_needs_no_torch(findings, tmp_path):
    code = f"""
import sys
from pathlib import Path
from studies.report import write_html
write_html(Path({str(tmp_path)!r}), Path({str(tmp_path / "r.html")!r}))
sys.exit('torch' in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=CONFIGS.parent, check=False).returncode == 0


def test_markdown_is_published_with_its_figures(findings, tmp_path):
    (page,) = publish(tmp_path, tmp_path / "docs")
    for figure in re.findall(r"!\[.*\]\((.*)\)", page.read_text()):
        assert (tmp_path / "docs" / figure).exists()
    assert "(activations.md)" in (tmp_path / "docs/README.md").read_text()


def test_layer_tables_are_read_back(tmp_path):
    (tmp_path / "layers.md").write_text(LAYERS)
    layers = read_layers(tmp_path / "layers.md")
    assert layers.rows == [["0", "Flatten", "0", "(64, 1, 28, 28)", "(64, 784)"]]
    assert layers.notes[0] == "Parameters: 7,850"


def test_published_values_carry_report_and_protocol():
    found = published_values(
        CONFIGS / "published.yaml", {"a": "mnist_mlp.optimizers.Adam", "b": "moons.A.accuracy.numpy_mlp"}
    )
    assert found["a"]["value"] == 0.9758
    assert found["b"]["value"] == 0.97
    assert found["b"]["report"] == "CS324 Deep Learning, Assignment 2 report"
    assert found["b"]["protocol"]["epochs"] == 500


def test_a_place_that_is_not_published_is_named():
    with pytest.raises(KeyError, match=r"there is no mnist_mlp\.activation in the published results"):
        published_values(CONFIGS / "published.yaml", {"relu": "mnist_mlp.activation.relu"})


def test_a_list_of_places_matches_the_variants_that_have_a_number():
    places = {name: f"mnist_mlp.activations.{name}" for name in ("relu", "gelu")}
    assert published_values(CONFIGS / "published.yaml", places).keys() == {"relu"}
