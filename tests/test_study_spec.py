"""A study's file says what it means, or says at once what is wrong with it."""

from pathlib import Path

import pytest
import yaml

from scripts import worker
from studies.published import Published
from studies.runs import make_run
from studies.spec import SpecError, nested, read_study, seeds_of

BASE = {"question": "Does it?", "base": "moons/mlp_best.yaml", "seeds": 2}


@pytest.fixture
def study(tmp_path, configs):
    """Read a study with these keys."""

    def read(**keys):
        path = tmp_path / "question.yaml"
        path.write_text(yaml.safe_dump(BASE | keys, sort_keys=False))
        return read_study(path, configs)

    return read


def test_dotted_and_nested_keys_are_one(study):
    two = study(variants={"a": {"model.init_args.hidden": [3]}, "b": {"model": {"init_args": {"hidden": [3]}}}})
    assert two.variants[0].layers[1:] == two.variants[1].layers[1:] == ({"model": {"init_args": {"hidden": [3]}}},)


def test_dotted_keys_meet_in_one_mapping():
    assert nested({"a.b": 1, "a": {"c.d": 2}}, "") == {"a": {"b": 1, "c": {"d": 2}}}


def test_grid_is_the_product_and_is_crossed_with_the_variants(study):
    grid = {"model.init_args.hidden": [[2], [3]], "data.init_args.noise": [0.1, 0.2, 0.3]}
    crossed = study(variants={"a": None, "b": {"trainer.max_epochs": 3}}, grid=grid)
    names = [variant.name for variant in crossed.variants]
    assert len(names) == len(set(names)) == 2 * 2 * 3
    assert names[0] == "a hidden=[2] noise=0.1"
    assert names[-1] == "b hidden=[3] noise=0.3"


def test_a_variants_base_replaces_the_studys(study, configs):
    a, b = study(variants={"a": {}, "b": {"base": ["xor/mlp.yaml"]}}).variants
    assert a.layers[0] == configs / "moons/mlp_best.yaml"
    assert b.layers[0] == configs / "xor/mlp.yaml"


@pytest.mark.parametrize(("value", "seeds"), [(3, (0, 1, 2)), ([7, 3], (7, 3))])
def test_seeds_are_a_number_or_a_list(value, seeds):
    assert seeds_of(value) == seeds


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"variant": {}}, "unknown key 'variant'"),
        ({"question": None}, "question is missing"),
        ({"seeds": 0}, "seeds must be a number >= 1"),
        ({"seeds": [1, 1]}, "seeds must differ"),
        ({"seeds": [-1]}, "seeds must be a number >= 1 or a list of numbers >= 0"),
        ({"base": "no/such.yaml"}, "base: there is no no/such.yaml"),
        ({"variants": {"a": {"base": "no/such.yaml"}}}, "variant 'a': base: there is no no/such.yaml"),
        ({"variants": {"a": 3}}, "variant 'a' must be a mapping"),
        ({"variants": {"a": {"x.y": 1, "x": {"y": 2}}}}, "variant 'a': x.y is given twice"),
        ({"variants": {"a": {"x.y": 1, "x": 2}}}, "variant 'a': x is given twice"),
        ({"variants": {"a": {}}, "baseline": "b"}, "baseline: there is no variant 'b': one of a"),
        ({"variants": {"a": {}}, "published": {"b": "x"}}, "published: there is no variant 'b'"),
        ({"metrics": ["accuracy"]}, "metrics: 'accuracy' is no metric"),
        ({"figures": {"curves": ["reul"]}}, "figures: curves"),
        ({"select": "test/acc"}, "select must be a validation metric"),
        ({"select": {"metric": "val/acc"}}, "select must be a validation metric such as val/acc, or {metric"),
        (
            {"variants": {"a x=1": {}, "b": {}}, "select": {"metric": "val/acc", "within": ["a"]}},
            "select: within: the name of variant 'b' begins with none of a",
        ),
        (
            {"variants": {"a x=1": {}}, "select": {"metric": "val/acc", "within": ["a", "ab"]}},
            "select: within: no variant's name begins with 'ab'",
        ),
        ({"variants": {"a": {}}, "optional": ["b"]}, "optional: there is no variant 'b'"),
        ({"variants": {"a": {}}, "not_run": {"a": None}}, "not_run: say why 'a' is not run"),
        ({"analysis": "{{ mean('a') }"}, "analysis: "),
        ({"analysis": "one\n{{ men('a') }}"}, "analysis: there is no 'men': one of mean, "),
        ({"analysis": "{{ 1 | no_such_filter }}"}, "analysis: No filter named 'no_such_filter'"),
        (
            {"variants": {"a": {}}, "analysis": "Text.\n{{ mean('b') }}"},
            "analysis, its line 2: mean: there is no variant 'b': one of a",
        ),
        (
            {"variants": {"a": {}}, "analysis": "{% if mean('a', metric='test/auc') > 1 %}x{% endif %}"},
            "analysis, its line 1: mean: there is no metric 'test/auc': one of test/acc, num_parameters",
        ),
        ({"variants": {"a": {}}, "analysis": "{{ n('a', 'b') }}"}, "analysis, its line 1: n takes variant"),
        ({"plots": ["pie"]}, "plots: there is no plot 'pie'"),
        ({"plots": [{"curves": {"metric": "val/acc"}}]}, "plots: curves has no option 'metric': its options are: x"),
        ({"plots": [{"cost": "test/acc"}]}, "plots: cost has no option 'x': its options are: none"),
        ({"headline": "{{ men('a') }}"}, "headline: there is no 'men': one of mean, "),
        ({"plots": ["against"]}, "plots: against needs a config's key"),
        ({"grid": {"a.b": 3}}, "grid: a.b must be a list"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(study, keys, message):
    with pytest.raises(SpecError) as error:
        study(**keys)
    assert message in str(error.value)
    assert "question.yaml: " in str(error.value)


def test_groups_are_the_longest_names_that_variants_begin_with(study):
    variants = {"SGD lr=1": {}, "SGD momentum lr=1": {}, "Adam": {}}
    within = ["SGD", "SGD momentum", "Adam"]
    found = study(variants=variants, select={"metric": "val/acc", "within": within}, baseline="SGD")
    assert found.select == "val/acc"
    assert found.groups == {"SGD lr=1": "SGD", "SGD momentum lr=1": "SGD momentum", "Adam": "Adam"}
    assert found.baselines == {"SGD momentum": "SGD", "Adam": "SGD"}
    assert study(variants=variants, select="val/acc").groups == dict.fromkeys(variants, "")


def test_a_variant_may_stand_beside_several_published_numbers(study):
    found = study(variants={"a": {}, "b": {}}, published={"a": "x.y", "b": ["x", "z"]})
    assert found.published == {"a": ("x.y",), "b": ("x", "z")}


def test_a_key_that_stands_twice_is_refused(tmp_path, configs):
    path = tmp_path / "twice.yaml"
    path.write_text("question: q\nbase: xor/mlp.yaml\nvariants:\n  a: {}\n  a: {trainer.max_epochs: 3}\n")
    with pytest.raises(SpecError, match="'a' stands twice in one mapping, line 4"):
        read_study(path, configs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.init_args.hiden": [3]}, "Option 'hiden' is not accepted"),
        ({"trainer.epochs": 3}, "trainer.epochs"),
        ({"model.init_args.hidden": [0]}, "hidden[0] must be >= 1, got 0"),
        ({"model.init_args.optimizer.init_args.lr": -1}, "Invalid learning rate: -1"),
    ],
)
def test_a_mistake_in_the_last_variant_is_found_before_anything_runs(study, change, message):
    three = study(variants={"a": {}, "b": {"trainer.max_epochs": 1}, "c": change})
    with pytest.raises(SpecError, match=r"^variant 'c': ") as error:
        worker.resolve(three.variants)
    assert message in str(error.value)


def test_resolving_equals_what_fit_saves(study, firstlight, configs):
    """So a study shares the runs that were started by hand."""
    overrides = {"trainer.max_epochs": 1, "model.init_args.hidden": [3], "trainer.accelerator": "cpu"}
    (config,) = worker.resolve(study(overrides=overrides).variants)
    words = ["--trainer.max_epochs", "1", "--model.hidden", "[3]"]
    cli = firstlight(["fit", "-c", str(configs / "moons/mlp_best.yaml"), *words])
    assert make_run("", config, 0).config_hash == cli.result["config_hash"]
    assert config["experiment"] == cli.result["experiment"]


def test_resolving_writes_nothing(study, monkeypatch, tmp_path):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    worker.resolve(study().variants)
    assert not list(Path().iterdir())


def test_lists_are_added_to_with_a_plus(study):
    (config,) = worker.resolve(study(overrides={"trainer.callbacks+": ["callbacks.PredictionTable"]}).variants)
    names = [callback["class_path"] for callback in config["trainer"]["callbacks"]]
    assert names == ["callbacks.LayerTable", "callbacks.DecisionBoundary", "callbacks.PredictionTable"]


STUDIES = sorted((Path(__file__).parent.parent / "configs/studies").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_of_the_project_resolves_and_names_its_command_and_what_to_expect(
    path, configs, cifar10_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/cifar10").symlink_to(cifar10_folder)  # which configs/overlays/cifar10_folder.yaml names
    found = read_study(path, configs)
    Published(configs / "published.yaml").of(found.published, found.names)
    worker.resolve(found.variants)
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# Question: ")
    assert lines[1] == f"# Command:  firstlight study configs/studies/{path.name}"
    assert [line.split(":")[0] for line in lines[2:4]] == ["# Expect", "# Cost"]


def test_yaml_anchors_may_share_what_variants_have_in_common(tmp_path, configs):
    path = tmp_path / "anchors.yaml"
    path.write_text(
        "question: q\nvariants:\n  a: &a {base: xor/mlp.yaml, trainer.max_epochs: 3}\n"
        "  b: {<<: *a, base: moons/mlp.yaml}\n"
    )
    a, b = read_study(path, configs).variants
    assert a.layers == (configs / "xor/mlp.yaml", {"trainer": {"max_epochs": 3}})
    assert b.layers == (configs / "moons/mlp.yaml", {"trainer": {"max_epochs": 3}})
