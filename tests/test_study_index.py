"""Every published number stands beside ours or says why not, and what is committed is what the summaries generate."""

import json
import re
import shutil
import tarfile
from pathlib import Path

import pytest
import yaml
from test_study_report import CLAIM, PLOTS, write_run, write_study

from scripts import reproduce
from scripts.main import main
from studies.index import BEGIN, END, index, publish, read_summaries, readme_table, with_table, write_readme
from studies.published import Published
from studies.record import add_not_run, read_findings
from studies.spec import read_study

PROJECT = Path(__file__).parent.parent
RESULTS = PROJECT / "docs/results"


@pytest.fixture
def published(configs) -> Published:
    return Published(configs / "published.yaml")


@pytest.fixture
def few(tmp_path) -> Published:
    """Published numbers of two reports."""
    entry = {"report": "D", "protocol": {"epochs": 10}, "activations": {"relu": {"test/acc": 0.9778}}}
    content = {
        "reports": {"A": {"title": "First"}, "D": {"title": "Homework"}},
        "not_compared": {"train_seconds": "another machine", "moons": "no study"},
        "moons": {"report": "A", "note": "one of two", "numpy": {"test/acc": "similar", "train_seconds": 3}},
        "mnist_mlp": entry | {"deeper": {"test/acc": [0.5, 0.9, 0.7], "train/loss": [3, 2, 1]}},
    }
    path = tmp_path / "published.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return Published(path)


def test_claims_inherit_report_protocol_and_note(few):
    found = {(claim.place, claim.metric): claim for claim in few.claims}
    relu = found["mnist_mlp.activations.relu", "test/acc"]
    assert (relu.value, relu.report, relu.title, relu.protocol) == (0.9778, "D", "Homework", {"epochs": 10})
    assert found["moons.numpy", "test/acc"].note == "one of two"


def test_the_best_of_a_list_by_epoch_stands_for_it(few):
    accuracy, loss = few.at("mnist_mlp.deeper")
    assert (accuracy.value, accuracy.note) == (0.9, "the best of 3 epochs, epoch 2")
    assert (loss.value, loss.note) == (1, "the best of 3 epochs, epoch 3")


def test_a_place_that_is_not_published_is_named(few):
    with pytest.raises(KeyError, match=r"there is no mnist_mlp\.activation in the published results"):
        few.of({"relu": ("mnist_mlp.activation",)}, ("relu",))
    with pytest.raises(KeyError, match=r"there is no number at mnist_mlp\.activations in"):
        few.of({"relu": ("mnist_mlp.activations",)}, ("relu",))
    with pytest.raises(KeyError, match="no variant is named as a number below mnist_mlp"):
        few.of(("mnist_mlp.activations",), ("gelu",))


def test_a_list_of_places_matches_the_variants_that_have_a_number(few):
    assert few.of(("mnist_mlp.activations", "mnist_mlp"), ("relu", "gelu", "deeper")).keys() == {"relu", "deeper"}


def test_every_published_number_knows_its_report(published):
    assert {claim.report for claim in published.claims} == set("ABCD")
    assert len({(claim.place, claim.metric) for claim in published.claims}) == len(published.claims) > 50


def test_every_published_number_stands_beside_a_study_or_says_why_not(published, configs):
    studies = [read_study(path, configs) for path in (configs / "studies").glob("*.yaml")]
    named = [
        claim for study in studies for found in published.of(study.published, study.names).values() for claim in found
    ]
    left = [claim for claim in published.claims if claim not in named and not published.why_not_compared(claim)]
    assert not [f"{claim.place} {claim.metric}" for claim in left]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """Where a study of relu (complete), sigmoid (in part) and tanh (not to be run) is published."""
    root = tmp_path_factory.mktemp("root")
    for seed, accuracy in enumerate([0.98, 0.97, 0.99]):
        write_run(root / "runs", "h0", seed, accuracy)
    write_run(root / "runs", "h1", 0, 0.9)
    claims = {"relu": [CLAIM], "tanh": [CLAIM]}
    home = write_study(
        root / "runs",
        published=claims,
        not_run={"tanh": "no time"},
        analysis="{{ n('relu') }}!",
        headline="{{ value('relu') }} it is",
    )
    publish(read_findings(home, root / "runs"), root / "docs")
    return root / "docs"


@pytest.fixture
def folder(tmp_path, drawn) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "docs"))


def test_a_page_shows_its_figures_and_stays_small(folder):
    page = (folder / "activations.md").read_text()
    figures = re.findall(r"!\[.*\]\((.*)\)", page)
    assert len(figures) == len(PLOTS) + 1
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")} == set(figures)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 300_000
    assert "3!" in page


def test_the_index_sets_ours_beside_every_published_number(folder, few):
    text = index(read_summaries(folder), few)
    ours = "98.00% (97.00 to 99.00%) | 3 | +0.22 | yes | 2 of 10 | [activations](activations.md): relu |"
    assert f"| mnist mlp, activations, relu: test accuracy | 97.78% | {ours}" in text
    assert "| 97.78% | not run: no time | - | - | - | - | [activations](activations.md): tanh |" in text
    assert "| moons, numpy: test accuracy | similar | not compared: no study |" in text
    assert "| mnist mlp, deeper: test accuracy | 90.00% | not run: no study of it is published yet |" in text
    assert "- activations, tanh: no time" in text


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.98, "yes"), (0.99, "within the interval"), (0.9999, "no"), (1.1, "no")]
)
def test_a_published_number_is_reached_by_our_mean_and_may_be_within_what_is_shown_beside_it(
    folder, few, value, verdict
):
    """97 to 99 %: Student's interval would reach to 100.5 %."""
    (claim,) = few.at("mnist_mlp.activations.relu")
    object.__setattr__(claim, "value", value)
    row = next(line for line in index(read_summaries(folder), few).splitlines() if "98.00%" in line)
    assert f"| {verdict}" in row


def test_the_readme_has_a_line_a_study_and_keeps_the_rest(folder, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_readme(readme, folder)
    text = readme.read_text()
    assert text.startswith(f"before\n{BEGIN}\n| question |")
    assert text.endswith(f"\n{END}\nafter\n")
    assert "old" not in text
    assert "| [Which <activation>?](docs/activations.md) | 98.00% (97.00 to 99.00%) it is | 1 to 3 | 1 of 1 |" in text


def test_a_run_that_two_studies_share_is_counted_once(folder):
    shutil.copytree(folder / "activations", folder / "again")
    assert "\n4 runs on 2 cores" in readme_table(read_summaries(folder), "docs")


def test_without_a_headline_the_best_variant_stands_for_a_study(folder):
    summary = read_summaries(folder)[0] | {"headline": ""}
    assert "| relu: test accuracy 98.00% (97.00 to 99.00%) | 3 | 1 of 1 |" in readme_table([summary], "docs")


def test_what_was_published_from_more_runs_stays(folder, tmp_path):
    before = (folder / "activations/summary.json").read_text()
    write_run(tmp_path / "fewer", "h0", 0, 0.5)
    assert publish(read_findings(write_study(tmp_path / "fewer"), tmp_path / "fewer"), folder) is None
    assert (folder / "activations/summary.json").read_text() == before


def test_an_unfinished_study_is_not_published(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs"), "h0", 0, 0.9)
    write_study(Path("runs"))
    main(["report", "--publish", "docs"])
    assert "activations is not published: 8 of its runs are missing" in capsys.readouterr().out
    assert [path.name for path in Path("docs").iterdir()] == ["index.md"]


def test_index_and_readme_come_from_summaries_alone(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("README.md").write_text(f"{BEGIN}\n{END}\n")
    main(["report", "no_runs_here", "--publish", "docs", "--readme", "README.md"])
    assert "mnist mlp, activations, relu" in (folder / "index.md").read_text()
    assert "docs/activations.md" in Path("README.md").read_text()


def test_a_readme_without_markers_is_refused(folder, tmp_path, refused):
    (tmp_path / "README.md").write_text("nothing")
    assert "README.md has no lines" in refused("report", "--publish", "docs", "--readme", "README.md")
    assert (tmp_path / "README.md").read_text() == "nothing"


def test_index_and_readme_are_what_the_committed_summaries_generate(published):
    summaries = read_summaries(RESULTS)
    assert (RESULTS / "index.md").read_text() == index(summaries, published)
    readme = (PROJECT / "README.md").read_text()
    assert readme == with_table(readme, readme_table(summaries, "docs/results"))


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/summary.json")), ids=lambda path: path.parent.name)
def test_a_published_study_is_small_and_its_analysis_has_three_to_six_sentences(path):
    summary = json.loads(path.read_text())
    assert sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file()) < 300_000
    if summary["analysis"]:
        assert 3 <= len(re.findall(r"[.!?](?=\s|$)", summary["analysis"])) <= 6


def test_the_plan_counts_what_is_complete_and_knows_what_the_rest_takes(tmp_path, monkeypatch, configs, capsys):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "activations.yaml"
    file.write_text(
        "question: q\nbase: mnist/mlp.yaml\nseeds: 3\nvariants: {relu: {}, sigmoid: {}, tanh: {}}\nnot_run: {tanh: x}\n"
    )
    study = read_study(file, configs)
    summary = {"variants": [{"name": "relu", "runs": 2, "train_seconds": 20.0}, {"name": "tanh", "runs": 0}]}
    assert reproduce.make_plan(study, {}, None) == reproduce.Plan(study, 0, 6, None)
    assert reproduce.make_plan(study, {}, summary) == reproduce.Plan(study, 0, 6, 60.0)
    for seed in range(2):
        write_run(tmp_path / "runs", "h0", seed, 0.9)
    write_study(tmp_path / "runs")
    complete = {f"h0-seed{seed}": tmp_path / f"runs/mnist-mlp/h0-seed{seed}" for seed in range(2)}
    plan = reproduce.make_plan(study, complete, summary)
    assert plan == reproduce.Plan(study, 2, 6, 8.0)  # the runs here took 2 s, those of the summary 10
    reproduce.print_plans([plan], jobs=2)
    assert "   2 of    6 runs are complete; the rest: 4 s" in capsys.readouterr().out


def test_the_plan_counts_an_optional_variant_that_failed_apart(tmp_path, monkeypatch, configs, capsys):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "activations.yaml"
    file.write_text(
        "question: q\nbase: mnist/mlp.yaml\nseeds: 2\nvariants: {relu: {}, sigmoid: {}}\noptional: [relu, sigmoid]\n"
    )
    study = read_study(file, configs)
    for seed in range(2):
        write_run(tmp_path / "runs", "h0", seed, 0.9)
    add_not_run(write_study(tmp_path / "runs"), {"sigmoid": "no weights"})
    complete = {f"h0-seed{seed}": tmp_path / f"runs/mnist-mlp/h0-seed{seed}" for seed in range(2)}
    plan = reproduce.make_plan(study, complete, None)
    assert plan == reproduce.Plan(study, 2, 2, 0.0, ("sigmoid",))
    reproduce.print_plans([plan], jobs=1)
    assert "2 of    2 runs are complete; the rest: 0 s; tried again, as it failed: sigmoid" in capsys.readouterr().out


def test_a_study_without_its_data_is_left_out_by_name_and_the_others_run(tmp_path, monkeypatch, capsys, configs):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH_DATASETS", str(tmp_path))
    for name, base in {
        "demo": "xor/mlp.yaml",
        "a": "xor/mlp.yaml",
        "b": "[cifar10/a_mlp.yaml, overlays/cifar10_folder.yaml]",
        "c": "xor/mlp.yaml",
    }.items():
        (tmp_path / "studies").mkdir(exist_ok=True)
        (tmp_path / f"studies/{name}.yaml").write_text(f"question: q\nbase: {base}\n")
    called = []

    def firstlight(words):
        called.append(words)
        if words[1].endswith("a.yaml"):
            raise SystemExit(1)

    monkeypatch.setattr(reproduce, "firstlight", firstlight)
    monkeypatch.setattr(reproduce, "CONFIGS", tmp_path)
    monkeypatch.setattr(reproduce, "read_study", lambda path, folder: read_study(path, configs))
    with pytest.raises(SystemExit) as exit_:
        reproduce.main("reproduce", ["--jobs", "1"])
    assert exit_.value.code == 1
    assert [Path(words[1]).stem for words in called[:-1]] == ["a", "c"]
    assert called[-1][0] == "report"
    out = capsys.readouterr().out
    assert "a: ended with code 1" in out
    assert re.search(r"b: left out: no data/cifar10/train .* and no .*cifar10-jpeg\.tar\.xz to unpack", out)


def test_a_reproduction_without_jobs_is_refused(refused):
    assert "--jobs must be >= 1, got 0" in refused("reproduce", "--jobs", "0")


def test_the_folder_copy_of_cifar10_is_unpacked_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH_DATASETS", str(tmp_path))
    (tmp_path / "train/bird").mkdir(parents=True)
    (tmp_path / "train/bird/0.jpg").write_bytes(b"x")
    with tarfile.open(tmp_path / reproduce.ARCHIVE, "w:xz") as tar:
        tar.add("train")
    assert reproduce.prepare_cifar10() is None
    assert (tmp_path / "data/cifar10/train/bird/0.jpg").read_bytes() == b"x"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar10"]
    (tmp_path / reproduce.ARCHIVE).unlink()
    assert reproduce.prepare_cifar10() is None
