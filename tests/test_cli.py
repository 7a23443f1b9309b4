"""The command from the user's side: what a run leaves, what repeats it, what is refused."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lit_models import LitMLP
from scripts import worker
from studies.identity import config_hash
from studies.spec import SpecError, Variant

DIGITS = ["--trainer.max_epochs", "2", "--trainer.accelerator", "cpu"]


@pytest.fixture
def fit_digits(firstlight, configs):
    """Train the digits MLP for two epochs."""

    def run(*args: str):
        return firstlight(["fit", "-c", str(configs / "digits/mlp.yaml"), *DIGITS, *args])

    return run


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


def test_help_needs_no_torch():
    code = "import sys; from scripts.main import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize(
    ("ends", "code"),
    [("None", 0), ("sys.exit(3)", 3), ("sys.exit('no')", 1), ("1 / 0", 1), ("exec('raise KeyboardInterrupt')", 130)],
)
def test_a_command_leaves_at_once_with_its_code_and_all_its_words(ends, code):
    script = "import sys; from scripts import main; main.main = lambda: (print('said'), {}); main.entry_point()"
    done = subprocess.run([sys.executable, "-c", script.format(ends)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, "said\n")
    assert ("ZeroDivisionError" in done.stderr) == (ends == "1 / 0")


def test_fit_leaves_everything_in_one_directory(fit_digits):
    cli = fit_digits()
    run = cli.run_dir
    assert run.parent == Path("runs/digits-mlp")
    assert {path.name for path in run.iterdir() if "tfevents" not in path.name} == {
        "checkpoints", "config.yaml", "figures", "history.csv", "layers.md", "result.json",
    }  # fmt: skip
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert (run / "figures/curves.png").read_bytes().startswith(b"\x89PNG")
    result = read_json(run / "result.json")
    assert set(result["metrics"]) == {
        f"{split}/{name}" for split in ("train", "val", "test") for name in ("loss", "acc")
    }
    assert result["seed"] == 42
    assert result["num_parameters"] == 64 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10
    assert result["versions"]["torch"] == torch.__version__.split("+")[0]
    assert result["train_seconds"] > 0
    assert {"config_hash", "device", "experiment", "git_commit"} <= result.keys()


def test_history_has_a_row_an_epoch_and_the_best_one_is_the_results(fit_digits):
    cli = fit_digits()
    with (cli.run_dir / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [0, 1]
    assert [int(row["step"]) for row in rows] == [20, 40]
    result = read_json(cli.run_dir / "result.json")
    best = max(rows, key=lambda row: float(row["val/acc"]))
    assert int(best["epoch"]) == result["best_epoch"]
    assert float(best["val/acc"]) == result["metrics"]["val/acc"]
    checkpoint = torch.load(cli.run_dir / "checkpoints/best.ckpt", weights_only=True)
    assert checkpoint["epoch"] == result["best_epoch"]


def test_an_epoch_without_validation_has_no_validation_metrics(fit_digits):
    evaluated = ["--trainer.callbacks+", "callbacks.TrainEvaluation"]
    cli = fit_digits("--trainer.max_epochs", "3", "--trainer.check_val_every_n_epoch", "2", *evaluated)
    with (cli.run_dir / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["val/acc"]) for row in rows] == [False, True, False]
    assert [bool(row["train/eval_acc"]) for row in rows] == [False, True, False]
    assert all(row["train/acc"] for row in rows)
    assert cli.result["best_epoch"] == 1
    assert cli.result["metrics"]["val/acc"] == float(rows[1]["val/acc"])
    assert (cli.run_dir / "figures/curves.png").exists()


def test_equal_seeds_give_equal_metrics_and_other_seeds_do_not(fit_digits):
    first, again, other = fit_digits(), fit_digits(), fit_digits("--seed_everything", "7")
    assert first.run_dir != again.run_dir
    assert first.result["metrics"] == again.result["metrics"]
    assert first.result["metrics"] != other.result["metrics"]
    assert first.result["config_hash"] == other.result["config_hash"]


def test_saved_config_reruns_to_the_same_result(fit_digits, firstlight):
    first = fit_digits("--model.hidden", "[12]")
    again = firstlight(["fit", "-c", str(first.run_dir / "config.yaml")])
    assert again.result["metrics"] == first.result["metrics"]
    assert again.result["config_hash"] == first.result["config_hash"]
    assert again.run_dir.parent == first.run_dir.parent


def test_test_and_validate_reproduce_the_fit_to_the_last_digit(fit_digits, firstlight):
    run = fit_digits().run_dir
    firstlight(["test", "--run", str(run)])
    firstlight(["validate", "--run", str(run)])
    measured = read_json(run / "test.json")["metrics"] | read_json(run / "validate.json")["metrics"]
    metrics = read_json(run / "result.json")["metrics"]
    assert measured == {name: value for name, value in metrics.items() if not name.startswith("train")}


def test_predict_writes_the_test_sets_classes(fit_digits, firstlight):
    run = fit_digits().run_dir
    firstlight(["predict", "--run", str(run)])
    with (run / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    accuracy = sum(row["predicted"] == row["target"] for row in rows) / len(rows)
    assert accuracy == pytest.approx(read_json(run / "result.json")["metrics"]["test/acc"])
    assert [int(row["index"]) for row in rows] == list(range(360))


def test_data_are_exchanged_without_touching_the_model(firstlight, configs):
    cli = firstlight(["fit", "-c", str(configs / "mnist/mlp.yaml"), "--data", "DigitsDataModule", *DIGITS])
    assert cli.model.net.linear_layers()[0].in_features == 64
    assert cli.result["metrics"]["test/acc"] > 0.5


def test_checkpoint_loads_without_the_config(fit_digits):
    cli = fit_digits()
    model = LitMLP.load_from_checkpoint(cli.run_dir / "checkpoints/best.ckpt", map_location="cpu", weights_only=True)
    x = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    torch.testing.assert_close(model.eval()(x), cli.model.eval()(x))


def test_tensorboard_has_grouped_scalars_figures_and_hyper_parameters(fit_digits):
    run = fit_digits("--model.optimizer.lr", "0.005").run_dir
    events = EventAccumulator(str(run), size_guidance={"tensors": 0}).Reload()
    tags = events.Tags()
    assert {"train/loss", "train/acc", "val/loss", "val/acc", "test/loss", "test/acc"} <= set(tags["scalars"])
    assert "figures/curves" in tags["images"]
    assert {"_hparams_/experiment", "_hparams_/session_start_info"} <= set(events.summary_metadata)
    start = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"model/init_args/optimizer/init_args/lr" in start


def test_a_config_records_what_the_command_line_changed(fit_digits):
    saved = yaml.safe_load((fit_digits("--model.dropout", "0.25").run_dir / "config.yaml").read_text())
    assert saved["model"]["init_args"]["dropout"] == 0.25
    assert saved["experiment"] == "digits-mlp"


def test_a_fast_dev_run_leaves_nothing(fit_digits, tmp_path):
    fit_digits("--trainer.fast_dev_run", "true")
    assert not list(tmp_path.iterdir())


def test_nor_does_one_of_a_network_whose_memory_is_viewed(firstlight, configs, tmp_path):
    firstlight(["fit", "-c", str(configs / "palindrome/report_a.yaml"), "--trainer.fast_dev_run", "true"])
    assert not list(tmp_path.iterdir())


def test_weights_start_from_a_checkpoint(fit_digits, firstlight):
    run = fit_digits().run_dir
    start = str(run / "checkpoints/best.ckpt")
    warm = fit_digits("--weights", start, "--trainer.max_epochs", "1")
    cold = fit_digits("--trainer.max_epochs", "1")
    assert warm.result["metrics"]["train/loss"] < cold.result["metrics"]["train/loss"] / 2


def test_the_weights_a_run_starts_from_are_part_of_it(fit_digits, firstlight, refused):
    """Else a study would take the one run's result for the other's."""
    start = fit_digits().run_dir / "checkpoints/best.ckpt"
    warm = fit_digits("--weights", str(start), "--trainer.max_epochs", "1")
    cold = fit_digits("--trainer.max_epochs", "1")
    assert warm.result["config_hash"] != cold.result["config_hash"]
    variant = {**yaml.safe_load((cold.run_dir / "config.yaml").read_text()), "weights": str(start)}
    (resolved,) = worker.resolve((Variant("warm", (variant,)),))
    assert config_hash(resolved) == warm.result["config_hash"]
    start.unlink()  # needed no more: neither to measure the run nor to continue it
    run = str(warm.run_dir)
    assert firstlight(["test", "--run", run]).trainer.callback_metrics["test/loss"].item() == pytest.approx(
        warm.result["metrics"]["test/loss"]
    )
    (warm.run_dir / "result.json").unlink()
    assert "started with another weights" in refused("fit", "--run", run, "--weights", "other.ckpt")
    assert firstlight(["fit", "--run", run]).result["metrics"] == warm.result["metrics"]
    with pytest.raises(SpecError, match="does not exist: --weights names a checkpoint"):
        worker.resolve((Variant("warm", (variant,)),))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fit", "-c", "nosuch.yaml"], "nosuch.yaml"),
        (["fit", "-c", "MOONS", "--model.hiden", "[3]"], "model: Option 'hiden' is not accepted"),
        (["fit", "-c", "MOONS", "--trainer.epochs", "3"], "--trainer.epochs"),
        (["fit", "-c", "MOONS", "--trainer.max_epochs", "many"], "trainer.max_epochs: expected int, got many"),
        (["fit", "-c", "MOONS", "--model.hidden", "[0]"], "hidden[0] must be >= 1, got 0"),
        (["fit", "-c", "MOONS", "--data.noise", "-1"], "noise must be >= 0, got -1.0"),
        (["fit", "-c", "MOONS", "--data", "NoSuchDataModule"], "data: no class is named NoSuchDataModule"),
        (["fit", "-c", "MOONS", "--model.activation", "relu"], "model.activation: expected one of 'ReLU'"),
        (["fit", "-c", "MOONS", "--model.optimizer.lr", "-1"], "Invalid learning rate: -1.0"),
        (["fit", "-c", "MOONS", "--trainer.precision", "7"], "trainer.precision: expected one of 64, 32, 16"),
        (
            ["fit", "-c", "MOONS", "--weights", "nosuch.ckpt"],
            "nosuch.ckpt does not exist: --weights names",
        ),
        (["fit", "-c", "MOONS", "--new_run", "."], "--new_run . exists already"),
        (["fit", "--run", "."], "--run . holds no config.yaml"),
        (["test", "--run", "."], "--run . holds no config.yaml"),
        (["test", "-c", "MOONS"], "test needs --run DIR or --weights FILE"),
        (["train"], "unknown command 'train'"),
        (["report"], "no finished run below runs"),
    ],
)
def test_bad_words_are_refused_in_one_line_and_leave_nothing(refused, configs, tmp_path, args, message):
    args = [str(configs / "moons/mlp.yaml") if arg == "MOONS" else arg for arg in args]
    assert message in refused(*args)
    assert not list(tmp_path.iterdir())


def test_a_truncated_mnist_file_is_named(refused, configs, tmp_path, monkeypatch):
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for name in (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ):
        (raw / name).write_bytes(b"\0\0\x08\x01\0\0\0\x09tooshort")
    monkeypatch.setenv("PATH_DATASETS", str(tmp_path))
    line = refused("fit", "-c", str(configs / "mnist/mlp.yaml"))
    assert "train-images-idx3-ubyte is damaged: 16 bytes, expected 17" in line
    assert [path.name for path in tmp_path.iterdir()] == ["MNIST"]


def test_weights_of_another_network_are_refused(refused, fit_digits, configs):
    path = str(fit_digits().run_dir / "checkpoints/best.ckpt")
    line = refused("test", "-c", str(configs / "moons/mlp.yaml"), "--weights", path)
    assert "does not fit this model" in line
    assert "size mismatch" in line


def test_a_run_measured_as_another_network_is_refused(refused, fit_digits):
    assert "does not fit this model" in refused("test", "--run", str(fit_digits().run_dir), "--model.hidden", "[3]")


@pytest.mark.slow
def test_two_processes_measure_what_one_does(firstlight, configs):
    command = [sys.executable, "-m", "scripts.main", "fit", "-c", str(configs / "digits/mlp.yaml"), *DIGITS]
    ddp = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--new_run", "ddp"]
    environment = os.environ | {"PYTHONPATH": str(configs.parent), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *ddp], env=environment, check=True, timeout=300)
    result = read_json(Path("ddp/result.json"))
    assert result["num_processes"] == 2
    assert result["steps"] == 20  # half as many as one process takes
    firstlight(["test", "--run", "ddp", "--trainer.devices", "1", "--trainer.strategy", "auto"])
    alone = read_json(Path("ddp/test.json"))["metrics"]
    assert alone["test/acc"] == result["metrics"]["test/acc"]
    assert alone["test/loss"] == pytest.approx(result["metrics"]["test/loss"], rel=1e-5)


@pytest.mark.real_data
@pytest.mark.slow
def test_mnist_passes_97_5_percent_in_ten_epochs(firstlight, configs, mnist_root):
    assert firstlight(["fit", "-c", str(configs / "mnist/mlp.yaml")]).result["metrics"]["test/acc"] >= 0.975


@pytest.mark.slow
def test_moons_best_passes_99_5_percent(firstlight, configs):
    assert firstlight(["fit", "-c", str(configs / "moons/mlp_best.yaml")]).result["metrics"]["test/acc"] >= 0.995


@pytest.mark.slow
def test_numpy_and_torch_agree_on_moons_under_report_a(firstlight, configs):
    accuracy = {
        name: firstlight(["fit", "-c", str(configs / f"moons/{name}.yaml")]).result["metrics"]["test/acc"]
        for name in ("mlp", "numpy_mlp")
    }
    assert accuracy["mlp"] == accuracy["numpy_mlp"] >= 0.94
