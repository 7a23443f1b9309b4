"""A run that was cut off continues to exactly the result it would have had."""

import csv
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lit_models import LitClassifier

MOONS = ["--trainer.max_epochs", "6", "--trainer.accelerator", "cpu", "--model.dropout", "0.3"]


@pytest.fixture
def fit_moons(firstlight, configs):
    """Train the moons MLP for six epochs, with dropout."""

    def run(*args: str):
        return firstlight(["fit", "-c", str(configs / "moons/mlp_best.yaml"), *MOONS, *args])

    return run


def cut_off_in_epoch(monkeypatch, epoch: int, step: int):
    """Die in the middle of an epoch, once."""
    original = LitClassifier.training_step

    def dying(self, batch, batch_idx):
        if self.current_epoch == epoch and batch_idx == step:
            monkeypatch.setattr(LitClassifier, "training_step", original)
            raise RuntimeError("cut off")
        return original(self, batch, batch_idx)

    monkeypatch.setattr(LitClassifier, "training_step", dying)


def weights(run_dir: Path, name: str = "last.ckpt") -> dict:
    return torch.load(run_dir / "checkpoints" / name, weights_only=True)["state_dict"]


def history(run_dir: Path) -> list[dict]:
    with (run_dir / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def assert_same_run(a, b):
    assert a.result["metrics"] == b.result["metrics"]
    assert history(a.run_dir) == history(b.run_dir)
    for name in ("last.ckpt", "best.ckpt"):
        ours, theirs = weights(a.run_dir, name), weights(b.run_dir, name)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("epoch", [0, 1, 4])
def test_resumed_run_equals_the_undisturbed_one_bit_for_bit(fit_moons, firstlight, monkeypatch, epoch):
    undisturbed = fit_moons("--new_run", "undisturbed")
    cut_off_in_epoch(monkeypatch, epoch, step=3)
    with pytest.raises(RuntimeError, match="cut off"):
        fit_moons("--new_run", "cut")
    assert not Path("cut/result.json").exists()
    torch.manual_seed(999)  # whatever state the process is in
    assert_same_run(firstlight(["fit", "--run", "cut"]), undisturbed)


def test_a_run_that_was_moved_keeps_its_best_epoch(fit_moons, firstlight, monkeypatch):
    worse = ["--model.optimizer.lr", "1.0"]  # the best epoch comes early
    undisturbed = fit_moons("--new_run", "undisturbed", *worse)
    cut_off_in_epoch(monkeypatch, 5, step=0)
    with pytest.raises(RuntimeError, match="cut off"):
        fit_moons("--new_run", "cut", *worse)
    assert undisturbed.result["best_epoch"] < 5
    Path("cut").rename("elsewhere")
    assert_same_run(firstlight(["fit", "--run", "elsewhere"]), undisturbed)


def test_the_test_is_of_the_epoch_that_validation_chose_whatever_else_is_saved(fit_moons):
    plain = fit_moons("--new_run", "plain", "--model.optimizer.lr", "1.0")
    more = ["--trainer.callbacks+", "ModelCheckpoint", "--trainer.callbacks.filename", "{epoch}"]
    more += ["--trainer.callbacks.save_top_k", "-1", "--trainer.callbacks.dirpath", "all"]
    more += ["--trainer.callbacks.every_n_epochs", "2"]
    every = fit_moons("--new_run", "every", "--model.optimizer.lr", "1.0", *more)
    assert len(list(Path("all").iterdir())) == 3
    assert plain.result["best_epoch"] < 5
    assert every.result["metrics"] == plain.result["metrics"]


def test_a_run_cut_off_between_training_and_test_is_only_tested(fit_moons, firstlight, monkeypatch):
    undisturbed = fit_moons("--new_run", "undisturbed")
    with monkeypatch.context() as patch:
        patch.setattr(LitClassifier, "on_test_epoch_end", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fit_moons("--new_run", "cut")
    assert_same_run(firstlight(["fit", "--run", "cut"]), undisturbed)


def test_an_early_stopped_run_stays_stopped(fit_moons, firstlight, monkeypatch):
    stop = ["--trainer.callbacks+", "EarlyStopping", "--trainer.callbacks.monitor", "val/loss"]
    stop += ["--trainer.callbacks.patience", "1", "--model.optimizer.lr", "1.0"]
    undisturbed = fit_moons("--new_run", "undisturbed", *stop)
    assert undisturbed.result["epochs"] < 6
    with monkeypatch.context() as patch:
        patch.setattr(LitClassifier, "on_test_epoch_end", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fit_moons("--new_run", "cut", *stop)
    assert_same_run(firstlight(["fit", "--run", "cut"]), undisturbed)


def test_every_epoch_leaves_a_checkpoint_also_when_it_is_not_the_best(fit_moons, monkeypatch):
    cut_off_in_epoch(monkeypatch, 5, step=0)
    with pytest.raises(RuntimeError, match="cut off"):
        fit_moons("--new_run", "cut", "--model.optimizer.lr", "1.0")
    epochs = [torch.load(f"cut/checkpoints/{name}.ckpt", weights_only=True)["epoch"] for name in ("best", "last")]
    assert epochs[0] < epochs[1] == 4


def test_ctrl_c_says_how_to_continue(fit_moons, monkeypatch, capfd):
    def interrupt(self, batch, batch_idx):
        raise KeyboardInterrupt

    monkeypatch.setattr(LitClassifier, "training_step", interrupt)
    with pytest.raises(SystemExit) as exit_:
        fit_moons("--new_run", "cut")
    assert exit_.value.code == 1
    assert "to continue: firstlight fit --run cut" in capfd.readouterr().err


def test_a_full_disk_leaves_the_last_checkpoint_whole(fit_moons, firstlight, monkeypatch):
    undisturbed = fit_moons("--new_run", "undisturbed")
    save, calls = torch.save, []

    def until_full(checkpoint, path):
        calls.append(path)
        if len(calls) > 5:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(checkpoint, path)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", until_full)
        with pytest.raises(OSError, match="No space left"):
            fit_moons("--new_run", "cut")
    assert {path.name for path in Path("cut/checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert weights(Path("cut"))
    assert_same_run(firstlight(["fit", "--run", "cut"]), undisturbed)


def test_a_complete_run_is_not_repeated(fit_moons, refused):
    fit_moons("--new_run", "done")
    assert "done is complete" in refused("fit", "--run", "done")


@pytest.mark.parametrize(
    ("override", "named"),
    [
        (["--model.dropout", "0.1"], "model.init_args.dropout"),
        (["--seed_everything", "1"], "seed_everything"),
        (["--trainer.max_epochs", "9"], "trainer.max_epochs"),
    ],
)
def test_continuing_with_another_config_is_refused_by_name(fit_moons, refused, monkeypatch, override, named):
    cut_off_in_epoch(monkeypatch, 1, step=0)
    with pytest.raises(RuntimeError, match="cut off"):
        fit_moons("--new_run", "cut")
    assert f"cut was started with another {named}" in refused("fit", "--run", "cut", *override)


def test_a_torn_last_line_of_the_history_is_dropped(fit_moons, firstlight, monkeypatch):
    undisturbed = fit_moons("--new_run", "undisturbed")
    cut_off_in_epoch(monkeypatch, 3, step=0)
    with pytest.raises(RuntimeError, match="cut off"):
        fit_moons("--new_run", "cut")
    with Path("cut/history.csv").open("a") as file:
        file.write("3,88,1.2")
    assert_same_run(firstlight(["fit", "--run", "cut"]), undisturbed)


@pytest.mark.slow
def test_kill_minus_9_loses_at_most_the_current_epoch(fit_moons, firstlight, configs):
    undisturbed = fit_moons("--new_run", "undisturbed", "--trainer.max_epochs", "60")
    command = [sys.executable, "-m", "scripts.main", "fit", "-c", str(configs / "moons/mlp_best.yaml"), *MOONS]
    environment = os.environ | {"PYTHONPATH": str(configs.parent), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, "--trainer.max_epochs", "60", "--new_run", "cut"], env=environment)
    deadline = time.monotonic() + 120
    while len(history(Path("cut")) if Path("cut/history.csv").exists() else []) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    rows = len(history(Path("cut")))
    assert 5 <= rows < 60
    last = torch.load("cut/checkpoints/last.ckpt", weights_only=True)["epoch"]
    assert last >= rows - 2
    assert_same_run(firstlight(["fit", "--run", "cut"]), undisturbed)
