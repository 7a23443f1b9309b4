"""Tables, figures and the report say what the runs' files say, and need nothing but them."""

import csv
import inspect
import io
import json
import math
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats

from configs import CONFIGS
from studies.analysis import Quotes, analysis
from studies.answer import answer
from studies.cells import cells
from studies.pages import as_markdown, write_summary
from studies.plots import FIGURES, PALETTE, draw
from studies.protocol import protocol
from studies.quotes import QUOTES
from studies.record import read_findings
from studies.report import read_layers, run_pictures, small, write_html
from studies.spec import PLOTS as PLOT_OPTIONS
from studies.tables import table, trials
from studies.wording import show, show_values

LAYERS = """\
| layer | type | parameters | input | output |
| --- | --- | ---: | --- | --- |
| 0 | Flatten | 0 | (64, 1, 28, 28) | (64, 784) |

Parameters: 7,850

Shapes of one batch: (64, 1, 28, 28) -> (64, 784)
"""
PLOTS = ["curves", "bars", "cost", "gradients", "depth", "share"]
CLAIM = {
    "place": "mnist_mlp.activations.relu", "metric": "test/acc", "value": 0.9778, "report": "D", "title": "Homework",
    "protocol": {"lr": 0.001}, "note": None,
}  # fmt: skip
ACCURACIES = {"relu": [0.98, 0.97, 0.99], "sigmoid": [0.95, 0.945, 0.955], "tanh": [0.983, 0.969, 0.99]}


def write_run(root: Path, config_hash: str, seed: int, accuracy: float) -> None:
    run = root / "mnist-mlp" / f"{config_hash}-seed{seed}"
    run.mkdir(parents=True)
    (run / "layers.md").write_text(LAYERS)
    (run / "history.csv").write_text(f"epoch,val/acc\n0,0.5\n1,{accuracy}\n")
    (run / "gradients.csv").write_text("epoch,step,0,2\n0,1,0.1,0.01\n1,200,0.1,0.001\n")
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
        "baselines": {"sigmoid": "relu", "tanh": "relu"}, "figures": {}, "variants": variants,
        "plots": [*([name, {}] for name in PLOTS), ["against", {"x": "data.init_args.length"}]],
        "published": {"relu": [CLAIM]}, "groups": {}, "not_run": {}, "analysis": "", "headline": "",
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
    assert sentence.startswith("relu: test accuracy 98.00% (97.00 to 99.00%) (n = 3); ")
    assert "sigmoid is 3.00 ± 1.24 points below it" in sentence
    assert "tanh is not told apart from it" in sentence


def test_equal_on_every_seed_is_said_so(findings):
    twin = next(arm for arm in findings.arms if arm.name == "tanh")
    for result, accuracy in zip(twin.results, ACCURACIES["relu"], strict=True):
        result["metrics"]["test/acc"] = accuracy
    assert "tanh equals it on every seed" in answer(findings)


def test_selection_reports_the_test_of_the_chosen_variant_alone(findings):
    findings.record.update(select="val/acc", groups=dict.fromkeys(ACCURACIES, ""), baselines={})
    tested = {cell.variant for cell in cells(findings) if cell.metric == "test/acc"}
    assert tested == {"tanh"}
    assert len({cell.variant for cell in cells(findings) if cell.metric == "val/acc"}) == 3
    assert answer(findings).startswith("Chosen on validation accuracy: tanh: test accuracy 98.07%")
    assert [row[0] for row in table(findings)[1]] == ["tanh"]
    assert [row[3] for row in trials(findings)[1]] == ["", "", "chosen"]


def test_selection_within_groups_compares_the_chosen_of_each(findings):
    groups = {"relu": "one", "sigmoid": "one", "tanh": "two"}
    findings.record.update(select="val/acc", groups=groups, baselines={"two": "one"}, published={"two": [CLAIM]})
    found = {cell.variant: cell for cell in cells(findings) if cell.metric == "test/acc"}
    assert found.keys() == {"relu", "tanh"}
    assert found["tanh"].baseline == "relu"
    assert found["tanh"].p_holm == pytest.approx(stats.ttest_rel(ACCURACIES["tanh"], ACCURACIES["relu"]).pvalue)
    assert found["tanh"].published == 0.9778
    assert any("unequal numbers of trials: one 2, two 1" in line for line in protocol(findings))
    findings.record["analysis"] = "{{ chosen('one') }}: {{ value('one') }}, published {{ published('two') }}"
    assert analysis(findings) == "relu: 98.00% (97.00 to 99.00%), published 97.78%"


def test_csv_json_and_markdown_hold_the_same_numbers(findings, tmp_path):
    write_summary(findings, tmp_path)
    with (tmp_path / "summary.csv").open() as file:
        from_csv = [(row["variant"], row["metric"], float(row["mean"])) for row in csv.DictReader(file)]
    content = json.loads((tmp_path / "summary.json").read_text())
    assert from_csv == [(cell["variant"], cell["metric"], cell["mean"]) for cell in content["cells"]]
    text = as_markdown(findings)
    assert "| sigmoid | 3 | 95.00% ± 1.24 | 95.00% ± 1.24 | -3.00 ± 1.24 | 0.018 | - | 2.0 |" in text
    assert "- Every variant has 7,850 parameters." in text
    assert "Equal budgets: every variant trained for 2 epochs, 200 steps." in text
    assert "Published (Homework, one seed; lr 0.001): relu test accuracy 97.78%." in text


def test_a_difference_that_rounds_to_nothing_has_no_minus():
    assert show("test/acc", -0.00001, 0.002, signed=True) == "+0.00 ± 0.20"
    assert show("train/loss", -0.00001) == "0.0000"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.95, 0.945, 0.955], "95.00% ± 1.24"),
        ([1.0, 1.0, 0.75, 0.5], "81.25% (2 of 4 at 100%)"),
        ([1.0, 1.0], "100.00% (2 of 2 at 100%)"),
        ([0.98, 0.97, 0.99], "98.00% (97.00 to 99.00%)"),
        ([1.0], "100.00%"),
    ],
)
def test_an_interval_that_reaches_beyond_100_percent_is_not_shown(values, text):
    assert show_values("test/acc", values) == text


def test_an_analysis_quotes_the_cells(findings):
    findings.record["analysis"] = """
        {% if mean('relu') > mean('sigmoid') %}ReLU{% endif %} {{ value('relu') }}, n = {{ n('relu') }},
        published {{ published('relu') }}; sigmoid {{ difference('sigmoid') }}, {{ p('sigmoid') }};
        {{ share('relu', 'test/acc', 0.98) }}; {{ lowest('relu') }} to {{ highest('relu') }};
        {{ best() }}, {{ worst('test/acc') }}; {{ parameters('relu') }} in {{ seconds('relu') }} s.
    """
    assert analysis(findings) == (
        "ReLU 98.00% (97.00 to 99.00%), n = 3, published 97.78%; sigmoid -3.00 ± 1.24 points, p = 0.018; "
        "2 of 3; 97.00% to 99.00%; tanh, sigmoid; 7,850 in 2.0 s."
    )


def test_every_quote_that_the_spec_allows_is_there(findings):
    for name, arguments in QUOTES.items():
        assert list(inspect.signature(getattr(Quotes(findings), name)).parameters) == list(arguments)


def test_every_plot_takes_the_options_that_the_spec_allows():
    assert FIGURES.keys() == PLOT_OPTIONS.keys()
    for name, options in PLOT_OPTIONS.items():
        assert list(inspect.signature(FIGURES[name]).parameters) == ["findings", *options]


def test_an_analysis_quotes_when_a_curve_turns(findings):
    assert Quotes(findings).turn("relu", "val/acc") == "2, 2, 2"
    quotes = Quotes(findings)
    assert quotes.turn("relu", "val/loss") == ""
    assert quotes.missing == ["relu"]


def test_an_analysis_waits_for_the_runs_that_it_quotes(tmp_path):
    write_run(tmp_path, "h0", 0, 0.9)
    text = "{{ value('relu') }} {{ '%.1f' % mean('tanh') }} {{ difference('sigmoid') }}"
    found = read_findings(write_study(tmp_path, analysis=text, not_run={"tanh": "no weights"}), tmp_path)
    assert analysis(found) == "The analysis waits for runs of tanh (not run: no weights), sigmoid."


def test_a_variant_that_is_not_run_is_left_out_by_name_with_the_reason(tmp_path):
    write_run(tmp_path, "h0", 0, 0.9)
    found = read_findings(write_study(tmp_path, not_run={"tanh": "no weights", "relu": "no time"}), tmp_path)
    assert found.not_run == {"tanh": "no weights"}
    assert found.num_missing == 5
    assert table(found)[1][2][:3] == ["tanh", "0", "not run"]
    assert "tanh: not run: no weights" in as_markdown(found)
    write_html([tmp_path], tmp_path / "report.html")
    assert "tanh: not run: no weights" in (tmp_path / "report.html").read_text()


def test_missing_runs_are_counted_and_leave_no_number(tmp_path):
    write_run(tmp_path, "h0", 0, 0.9)
    found = read_findings(write_study(tmp_path), tmp_path)
    assert found.num_missing == 8
    _, rows = table(found)
    assert rows[1][:3] == ["sigmoid", "0", "-"]


def test_the_protocol_says_what_was_computed_in(findings):
    assert "Computed in float32." in protocol(findings)
    findings.config("tanh")["trainer"] = {"precision": "64-true"}
    assert {"Computed in float32: relu; sigmoid.", "Computed in float64: tanh."} < set(protocol(findings))


def test_parameters_have_a_column_only_where_they_differ(findings):
    header, rows = table(findings)
    assert "parameters" not in header
    object.__setattr__(findings.arms[0], "results", tuple(r | {"num_parameters": 9} for r in findings.arms[0].results))
    header, rows = table(findings)
    assert [row[header.index("parameters")] for row in rows] == ["9", "7,850", "7,850"]
    assert "Every variant has" not in " ".join(protocol(findings))


def test_published_seconds_and_parameters_are_in_the_protocol_and_need_no_column(findings):
    findings.record["published"]["relu"].append(CLAIM | {"metric": "train_seconds", "value": 58.6})
    assert [name for name in table(findings)[0] if "published" in name] == ["published"]
    assert "relu seconds 58.6" in " ".join(protocol(findings))


def test_every_plot_is_drawn_as_svg_and_png_and_says_what_it_shows(findings):
    captions, paths = zip(*draw(findings, findings.folder), strict=True)
    assert captions[:2] == ("validation accuracy by epoch", "test accuracy of each variant")
    assert captions[-1] == "test accuracy against length"
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
    assert write_html([tmp_path], path) == 2
    text = path.read_text().replace("\u00a0", " ")
    page = Page(text)
    assert page.tags.count("article") == 2
    assert page.tags.count("svg") == len(PLOTS) + 1  # and one against length
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert not re.search(r"url\((?!#|['\"]?#)", text)
    for expected in ("Which &lt;activation&gt;?", "95.00% ± 1.24", "97.78%", "firstlight study x.yaml"):
        assert expected in text
    assert "Shapes of one batch: (64, 1, 28, 28) -&gt; (64, 784)" in text
    assert "seed 7" in text


def test_the_report_has_every_run_that_can_be_read_beside_the_studies(findings, tmp_path):
    other = tmp_path / "other"
    write_run(other, "h0", 7, 0.5)  # a seed that the study of the same config does not have
    write_run(other, "torn", 0, 0.5)
    (other / "mnist-mlp/torn-seed0/result.json").write_text('{"experi')
    assert write_html([tmp_path], tmp_path / "report.html") == 2
    assert "seed 7" in (tmp_path / "report.html").read_text()
    shutil.move(other, tmp_path.with_name("other"))
    assert write_html([tmp_path, tmp_path.with_name("other")], tmp_path / "report.html") == 2


def test_a_diverged_seed_is_the_worst_and_no_number_in_the_summary(tmp_path):
    for seed, accuracy in enumerate([math.nan, 0.7, 0.8]):
        write_run(tmp_path, "h0", seed, accuracy)
        write_run(tmp_path, "h1", seed, 0.9)
    found = read_findings(write_study(tmp_path, select="val/loss"), tmp_path)
    cell = next(cell for cell in cells(found) if (cell.variant, cell.metric) == ("relu", "val/acc"))
    assert (cell.best_seed, cell.worst_seed) == (2, 0)
    assert found.chosen == {}
    found.record["groups"].update(dict.fromkeys(ACCURACIES, ""))
    assert found.chosen == {"": "sigmoid"}
    write_summary(found, found.folder)
    text = (found.folder / "summary.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["cells"]


def test_where_a_study_selects_figures_show_no_test_result_of_the_others(findings):
    findings.record["select"] = "val/acc"
    findings.record["groups"] = dict.fromkeys(ACCURACIES, "")
    (chosen,) = findings.chosen.values()
    draw(findings, findings.folder)
    for plot in ("bars", "cost", "share", "against-data.init_args.length"):
        text = (findings.folder / f"figures/{plot}.svg").read_text()
        assert f">{chosen}<" in text or plot not in ("bars", "share")  # one line needs no legend
        assert not [name for name in ACCURACIES if f">{name}<" in text and name != chosen]


def test_the_report_needs_no_torch(findings, tmp_path):
    code = f"""
import sys
from pathlib import Path
from studies.report import write_html
write_html([Path({str(tmp_path)!r})], Path({str(tmp_path / "r.html")!r}))
sys.exit('torch' in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=CONFIGS.parent, check=False).returncode == 0


def test_pictures_are_those_of_the_variants_that_the_study_names(findings):
    for arm in findings.arms:
        picture = Path(arm.results[0]["path"], "figures", "curves.png")
        picture.parent.mkdir(exist_ok=True)
        picture.touch()
    findings.record["figures"] = {"curves": ["tanh"], "missing": ["relu"]}
    assert [caption for caption, _ in run_pictures(findings)] == ["tanh, seed 0: curves"]


def test_layer_tables_are_read_back(tmp_path):
    (tmp_path / "layers.md").write_text(LAYERS)
    layers = read_layers(tmp_path / "layers.md")
    assert layers.rows == [["0", "Flatten", "0", "(64, 1, 28, 28)", "(64, 784)"]]
    assert layers.notes[0] == "Parameters: 7,850"


def test_a_small_picture_keeps_the_colours_of_its_lines(tmp_path):
    figure = Figure(figsize=(8, 5))
    axes = figure.add_subplot()
    for k, colour in enumerate(PALETTE):
        axes.plot([0, 1, 2], [k, k + 0.3, k + 0.2], color=colour, lw=1.6)
        axes.fill_between([0, 1, 2], k - 0.3, k + 0.5, color=colour, alpha=0.18)
    figure.savefig(tmp_path / "lines.png", dpi=150)
    pixels = np.asarray(Image.open(io.BytesIO(small(tmp_path / "lines.png"))).convert("RGB")).astype(int)
    assert pixels.shape[1] == 640
    for colour in PALETTE:
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert np.abs(pixels - rgb).sum(axis=2).min() < 16, colour
