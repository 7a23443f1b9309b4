"""``firstlight fit|validate|test|predict``: LightningCLI in subclass mode, in one run directory."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from jsonargparse import ArgumentError
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import callbacks
import datamodules  # noqa: F401  (its classes are found by name)
import lit_models
from callbacks.atomic_checkpoint import AtomicCheckpointIO
from callbacks.run_record import RunRecord, shortest, write_json
from configs import CONFIGS
from datamodules import DataError, InMemoryDataModule
from scripts.errors import UsageError, one_line
from scripts.quiet import quieten
from scripts.run_directory import best_checkpoint, experiment_name, new_run_dir, saved_config
from scripts.trained import load_weights
from studies.identity import config_hash, differences, identity

RUN_OPTIONS = ("run", "new_run")


class FirstlightCLI(LightningCLI):
    """LightningCLI that owns the run directory: finds it, fills it, and resumes in it."""

    def __init__(self, args: list[str]):
        self.command, *self.words = args
        defaults = {"default_config_files": [str(CONFIGS / "trainer.yaml")], "exit_on_error": False}
        super().__init__(
            lit_models.LitClassifier,
            InMemoryDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=42,
            auto_configure_optimizers=False,
            parser_kwargs={
                "prog": "firstlight",
                "exit_on_error": False,
                **{name: dict(defaults) for name in self.subcommands()},
            },
            args=args,
        )

    def subcommands(self) -> dict[str, set[str]]:
        """The one that is called, as a parser takes a while to make.

        Trainer's own arguments are left out: ``--run`` and ``--weights`` say it without its pitfalls.
        """
        arguments = {
            "fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule", "ckpt_path", "weights_only"},
            "validate": {"model", "dataloaders", "datamodule", "ckpt_path", "weights_only", "verbose"},
            "test": {"model", "dataloaders", "datamodule", "ckpt_path", "weights_only", "verbose"},
            "predict": {"model", "dataloaders", "datamodule", "ckpt_path", "weights_only", "return_predictions"},
        }
        return {self.command: arguments[self.command]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The run's options, the checkpoint's, and what the model learns from the data."""
        parser.add_argument("--run", type=str | None, help="Directory of an existing run: continue or measure it.")
        parser.add_argument("--new_run", type=str | None, help="Directory of the new run, instead of a dated one.")
        parser.add_argument("--experiment", type=str | None, help="Folder under runs/; default: the config's name.")
        parser.add_argument("--weights", type=str | None, help="Checkpoint whose weights to start from or measure.")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "checkpoint.filename": "best",
                "checkpoint.auto_insert_metric_name": False,
                "checkpoint.enable_version_counter": False,
            }
        )
        for name in ("sample_shape", "num_classes", "mean", "std"):
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: list[str]) -> None:
        """Parse, with the config of an existing run first."""
        run = _option(args, "--run")
        saved = ["--config", str(saved_config(run))] if run else []
        try:
            self.config = parser.parse_args([args[0], *saved, *args[1:]])
        except ArgumentError as error:
            raise UsageError(one_line(error)) from error

    def before_instantiate_classes(self) -> None:
        """Find the run directory, and refuse to continue a run with another config."""
        config = self.config[self.config.subcommand]
        self.options = {name: config.pop(name) for name in RUN_OPTIONS}
        self.weights = self._start_or_measure(config.weights)
        if not (self.weights and self.subcommand == "fit"):
            config.pop("weights")
        self.config_files = [str(path) for path in config.get("config") or []]
        config.experiment = config.experiment or experiment_name(self.config_files, config)
        if self.options["run"]:
            self.run_dir = Path(self.options["run"])
            self.save_config_callback = None
            if self.config.subcommand == "fit":
                self._refuse_to_continue()
        else:
            self.run_dir = new_run_dir(self.options["new_run"], config.experiment, config.seed_everything)
        config.checkpoint.dirpath = str(self.run_dir / "checkpoints")

    def _start_or_measure(self, weights: str | None) -> str | None:
        """What ``--weights`` names; the weights that a run started from are not those that measure it."""
        return weights if self.subcommand == "fit" or not self.options["run"] else _option(self.words, "--weights")

    def _refuse_to_continue(self) -> None:
        """A complete run has nothing to continue, and another config would make it another run."""
        if (self.run_dir / "result.json").exists():
            raise UsageError(f"{self.run_dir} is complete: start a new run, or measure it with firstlight test --run")
        saved, new = yaml.safe_load((self.run_dir / "config.yaml").read_text()), self.plain_config()
        changed = differences(identity(saved), identity(new))
        if saved["seed_everything"] != new["seed_everything"]:
            changed.append("seed_everything")
        if changed:
            raise UsageError(
                f"{self.run_dir} was started with another {', '.join(changed)}: continue it without that option, or "
                "start a new run"
            )

    def plain_config(self) -> dict[str, Any]:
        """The resolved config as plain values."""
        parser = self._parser(self.config.subcommand)
        config = self.config[self.config.subcommand]
        return json.loads(parser.dump(config, skip_none=False, skip_check=True, format="json"))

    def instantiate_classes(self) -> None:
        """Construct data, model and Trainer; what a constructor refuses is the user's to mend."""
        try:
            super().instantiate_classes()
        except (ValueError, TypeError, OSError, MisconfigurationException) as error:
            raise UsageError(one_line(error)) from error

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """The Trainer that writes into the run directory, with a progress bar on a terminal only."""
        config = self.config_init[self.subcommand]
        self.record = RunRecord(config.checkpoint.monitor, config.checkpoint.mode)
        extra: list[L.Callback] = [] if config.trainer.fast_dev_run else [self.record, self._last_checkpoint()]
        if self.subcommand == "predict":
            extra.append(callbacks.PredictionTable())
        show_progress = sys.stdout.isatty() and config.trainer.enable_progress_bar is not False
        if show_progress:
            extra.append(RichProgressBar())
        self.trainer_defaults["callbacks"] = extra
        logs = self.subcommand == "fit" and config.trainer.logger in (None, True)
        logger = TensorBoardLogger(self.run_dir, name="", version="", default_hp_metric=False) if logs else False
        if config.trainer.logger not in (None, True):
            logger = config.trainer.logger
        return super().instantiate_trainer(
            default_root_dir=str(self.run_dir),
            enable_progress_bar=show_progress,
            logger=logger,
            plugins=[AtomicCheckpointIO(), *(config.trainer.plugins or [])],
        )

    def _last_checkpoint(self) -> ModelCheckpoint:
        """The other checkpoint's ``save_last`` would save only the epochs that are the best so far."""
        folder = self.run_dir / "checkpoints"
        return ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)

    def after_instantiate_classes(self) -> None:
        """Load ``--weights``, or the weights that are to be measured; a run that goes on has its own."""
        path = self.weights or (self._best_checkpoint() if self.subcommand != "fit" else None)
        if path and not self._resumed():
            load_weights(self.model, Path(path))
        self.measured = path

    def _resumed(self) -> str | None:
        """The checkpoint that training continues from."""
        last = self.run_dir / "checkpoints" / "last.ckpt"
        return str(last) if self.subcommand == "fit" and self.options["run"] and last.exists() else None

    def _best_checkpoint(self) -> Path:
        if not self.options["run"]:
            raise UsageError(f"{self.subcommand} needs --run DIR or --weights FILE: untrained weights measure nothing")
        return best_checkpoint(self.options["run"])

    def fit(self, model: L.LightningModule, datamodule: L.LightningDataModule) -> None:
        """Train, test the best checkpoint, and record the result."""
        try:
            self.trainer.fit(model, datamodule, ckpt_path=self._resumed(), weights_only=True)
        except (DataError, MisconfigurationException):
            if not self.options["run"]:
                shutil.rmtree(self.run_dir, ignore_errors=True)
            raise
        except (KeyboardInterrupt, SystemExit):  # Lightning turns Ctrl-C into the latter
            print(f"\ninterrupted; to continue: firstlight fit --run {self.run_dir}", file=sys.stderr)
            raise
        if self.trainer.fast_dev_run:
            return
        best = self.config_init.fit.checkpoint.best_model_path  # the trainer's own may be a callback of the user's
        self.trainer.test(model, datamodule, ckpt_path=best or None, weights_only=True, verbose=False)
        if self.trainer.is_global_zero:
            self._record()

    def _record(self) -> None:
        config = self.plain_config()
        facts = {
            "experiment": config["experiment"],
            "run": self.run_dir.name,
            "seed": config["seed_everything"],
            "config_hash": config_hash(config),
        }
        for logger in self.trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                metrics = {name: shortest(value) for name, value in self.trainer.callback_metrics.items()}
                sections = {name: config[name] for name in ("seed_everything", "model", "data")}
                trainer = {name: config["trainer"][name] for name in ("max_epochs", "precision", "gradient_clip_val")}
                logger.log_hyperparams({**sections, "trainer": trainer}, metrics)
                logger.finalize("success")
                # Lightning writes this file when training starts, before there is anything to say.
                (self.run_dir / logger.NAME_HPARAMS_FILE).unlink(missing_ok=True)
        self.result = self.record.write_result(self.trainer, self.model, facts)
        _print_result(self.run_dir, self.result)

    def validate(self, model: L.LightningModule, datamodule: L.LightningDataModule) -> None:
        """Measure on the validation set."""
        self._measure(self.trainer.validate, model, datamodule)

    def test(self, model: L.LightningModule, datamodule: L.LightningDataModule) -> None:
        """Measure on the test set."""
        self._measure(self.trainer.test, model, datamodule)

    def _measure(self, measure: Any, model: L.LightningModule, datamodule: L.LightningDataModule) -> None:
        measure(model, datamodule, verbose=False)
        metrics = {name: shortest(value) for name, value in self.trainer.callback_metrics.items()}
        if self.trainer.is_global_zero:
            path = self.run_dir / f"{self.subcommand}.json"
            write_json(path, {"checkpoint": str(self.measured), "metrics": metrics})
            print("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()), f"-> {path}")

    def predict(self, model: L.LightningModule, datamodule: L.LightningDataModule) -> None:
        """Write the predictions for the test set."""
        self.trainer.predict(model, datamodule, return_predictions=False)
        if self.trainer.is_global_zero:
            print(f"-> {self.run_dir / 'predictions.csv'}")


def _option(args: list[str], name: str) -> str | None:
    for i, arg in enumerate(args):
        if arg == name and i + 1 < len(args):
            return args[i + 1]
        if arg.startswith(name + "="):
            return arg.removeprefix(name + "=")
    return None


def _print_result(run_dir: Path, result: dict[str, Any]) -> None:
    metrics = result["metrics"]
    print(
        f"{result['experiment']}  seed {result['seed']}  test accuracy {metrics['test/acc']:.4f}  "
        f"test loss {metrics['test/loss']:.4f}  best epoch {result['best_epoch'] + 1} of {result['epochs']}  "
        f"{result['train_seconds']:.1f} s\n-> {run_dir}"
    )


def main(command: str, options: list[str]) -> FirstlightCLI:
    """Run one command.

    Raises:
        UsageError: the words or the files are wrong; a new run then leaves nothing behind.
    """
    quieten()
    if not torch.cuda.device_count():
        # Lightning has torch look for the GPUs' driver at every step of an optimiser: 0.12 ms of 0.79, if it is not
        # there. What is not there now does not come later.
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
    try:
        return FirstlightCLI([command, *options])
    except (DataError, MisconfigurationException) as error:
        raise UsageError(str(error)) from error
