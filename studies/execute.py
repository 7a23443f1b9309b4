"""One run in one worker: claimed, trained, its output and its traceback kept in its own directory."""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studies.runs import Run, claim, directory, prepare

Train = Callable[[Path], None]


@dataclass(frozen=True)
class Outcome:
    """What became of a run: ``done``, ``failed`` with a reason, ``busy`` in another study, ``lost`` with its worker."""

    state: Literal["done", "failed", "busy", "lost"]
    message: str = ""


@dataclass(frozen=True)
class Event:
    """What a launcher reports: a run was ``started`` or an outcome's state, or nothing but time went by: ``tick``."""

    kind: Literal["started", "done", "failed", "busy", "lost", "tick"]
    run: Run | None = None
    message: str = ""


def execute(run: Run, root: Path, train: Train) -> Outcome:
    """Train a run that no one else is training and that is not complete by now.

    Args:
        run: what to train.
        root: the folder of all runs.
        train: starts or continues the run whose ``config.yaml`` lies in the directory it is given.
    """
    with claim(run, root) as mine:
        if not mine:
            return Outcome("busy")
        path = directory(run, root)
        if (path / "result.json").exists():
            return Outcome("done")
        try:
            prepare(run, path)
            with _output_to(path / "log.txt"):
                train(path)
        except (Exception, SystemExit) as error:
            return _failure(error, path / "error.txt")
        (path / "error.txt").unlink(missing_ok=True)
        return Outcome("done")


def _failure(error: BaseException, file: Path) -> Outcome:
    """Keep the traceback where the run is."""
    with contextlib.suppress(OSError):  # a full disk may be the failure
        file.write_text("".join(traceback.format_exception(error)))
    return Outcome("failed", f"{_reason(error)} -> {file}")


def _reason(error: BaseException) -> str:
    """The cause behind an exit, in one line."""
    if isinstance(error, SystemExit) and error.__cause__:
        error = error.__cause__
    return " ".join(f"{type(error).__name__}: {error}".split())


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Everything that the process prints, also below Python, appended to a file."""
    saved = [os.dup(fd) for fd in (1, 2)]
    with path.open("a") as file:
        try:
            for fd in (1, 2):
                os.dup2(file.fileno(), fd)
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for fd, old in zip((1, 2), saved, strict=True):
                os.dup2(old, fd)
                os.close(old)
