"""The ``firstlight`` command. Its help and its refusals need no torch, so they answer at once."""

import atexit
import contextlib
import gc
import importlib
import os
import sys
from types import ModuleType

from scripts.errors import UsageError

USAGE = """\
usage: firstlight COMMAND [options]

The experiments every deep-learning course begins with, one command each.

commands:
  fit        train, then test the checkpoint that was best on validation, all in one run directory
  validate   measure a run's best checkpoint on the validation set
  test       measure a run's best checkpoint on the test set
  predict    write a run's predictions for the test set, or with --images for your own pictures
  export     write a run's best checkpoint as an ONNX file
  study      run what a study's file asks for and is missing, on this machine or a cluster
  report     everything found, with the published numbers: a table here, and one HTML file
  reproduce  every study of configs/studies, then the report and docs/results

examples:
  firstlight fit -c configs/moons/mlp.yaml
  firstlight fit -c configs/mnist/mlp.yaml --trainer.max_epochs 3 --data DigitsDataModule
  firstlight fit --run runs/mnist-mlp/20260101-120000-seed42        continue an unfinished run
  firstlight test --run runs/mnist-mlp/20260101-120000-seed42
  firstlight predict --run runs/mnist-mlp/20260101-120000-seed42 --images my_pictures/
  firstlight study configs/studies/demo.yaml --jobs 2

`firstlight COMMAND --help` lists a command's options.
"""

MODULES = {
    "fit": "scripts.cli",
    "validate": "scripts.cli",
    "test": "scripts.cli",
    "predict": "scripts.cli",
    "export": "scripts.export",
    "study": "scripts.study",
    "report": "scripts.report",
    "reproduce": "scripts.reproduce",
}


def load(module: str) -> ModuleType:
    """Import without garbage collection, then and later: torch is large, and none of it is garbage."""
    if module in sys.modules:
        return sys.modules[module]
    enabled = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # else libraries report leaks
        if enabled:
            gc.enable()


def main(args: list[str] | None = None) -> object:
    """Run one command, from the shell or from Python, and return what it returns.

    Args:
        args: the command and its options; default ``sys.argv[1:]``.

    Raises:
        SystemExit: code 2 after one line on standard error when the words or the files are wrong.
    """
    args = sys.argv[1:] if args is None else [str(arg) for arg in args]
    if not args or args[0] in ("-h", "--help"):
        print(USAGE, end="")
        return None
    if args[0] == "--version":
        print(importlib.import_module("importlib.metadata").version("firstlight"))
        return None
    command, *options = args
    try:
        if command not in MODULES:
            raise UsageError(f"unknown command {command!r}: one of {', '.join(MODULES)}")
        pictures = command == "predict" and any(option.split("=")[0] == "--images" for option in options)
        module = "scripts.predict_images" if pictures else MODULES[command]
        return load(module).main(command, options)
    except UsageError as error:
        print("firstlight: " + " ".join(str(error).split()), file=sys.stderr)
        raise SystemExit(2) from error


def entry_point() -> None:
    """The console script. Leaves without Python's last search for garbage: a second, among all of torch's objects."""
    code: int | str | None = 1
    atexit.register(lambda: _leave(code))  # registered before any other, so called after all of them
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = stop.code
        raise
    except KeyboardInterrupt:
        code = 130  # what a shell calls a command that Ctrl-C has ended
        raise


def _leave(code: int | str | None) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code if isinstance(code, int) else code is not None)


if __name__ == "__main__":
    entry_point()
