"""One run in one worker: claimed, trained, its output and its traceback kept in its own directory."""

import contextlib
import os
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studies.runs import Run, claim, directory, prepare, read_result

MAX_DEATHS = 3
BUSY_SECONDS = 2.0
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


class Backlog:
    """The runs that wait for a worker.

    A worker that dies takes its run back here, until that run has taken ``MAX_DEATHS`` workers with it. A run that
    another study is training is waited for.
    """

    def __init__(self, runs: list[Run]):
        self.queue = deque((0.0, run) for run in runs)
        self.deaths: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self.queue)

    def take(self) -> Run | None:
        """The next run whose time has come."""
        return self.queue.popleft()[1] if self.queue and self.queue[0][0] <= time.monotonic() else None

    def settle(self, run: Run, outcome: Outcome) -> Event:
        """What to report of a run that a worker has ended, after putting it back if it is to be tried again."""
        if outcome.state == "lost":
            self.deaths[run.id] += 1
            if self.deaths[run.id] >= MAX_DEATHS:
                outcome = Outcome("failed", f"its worker was lost {MAX_DEATHS} times {outcome.message}".rstrip())
            else:
                self.queue.appendleft((0.0, run))
        elif outcome.state == "busy":
            self.queue.append((time.monotonic() + BUSY_SECONDS, run))
        return Event(outcome.state, run, outcome.message)


def execute(run: Run, root: Path, train: Train) -> Outcome:
    """Train a run that no one else is training and that is not complete by now.

    Args:
        run: what to train.
        root: the folder of all runs.
        train: starts or continues the run whose ``config.yaml`` lies in the directory it is given.
    """
    try:
        with claim(run, root) as mine:
            return _train(run, directory(run, root), train) if mine else Outcome("busy")
    except OSError as error:  # the folder of runs takes no locks, or nothing at all
        return Outcome("failed", _reason(error))


def _train(run: Run, path: Path, train: Train) -> Outcome:
    if read_result(path):
        return Outcome("done")
    try:
        prepare(run, path)
        with _output_to(path / "log.txt"):
            train(path)
        if not read_result(path):
            raise RuntimeError("the run ended without a result.json")
        (path / "error.txt").unlink(missing_ok=True)
    except (Exception, SystemExit) as error:
        return _failure(error, path / "error.txt")
    return Outcome("done")


def _failure(error: BaseException, file: Path) -> Outcome:
    """Keep the traceback where the run is."""
    with contextlib.suppress(OSError):  # a full disk may be the failure
        file.write_text("".join(traceback.format_exception(error)))
    return Outcome("failed", f"{_reason(error)} -> {file}")


def _reason(error: BaseException) -> str:
    """What an exit says, or the cause behind it, in one line."""
    if isinstance(error, SystemExit) and isinstance(error.code, str):
        return " ".join(error.code.split())
    if isinstance(error, SystemExit) and error.__cause__:
        error = error.__cause__
    return " ".join(f"{type(error).__name__}: {error}".split())


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Everything that the process prints, also below Python, appended to a file."""
    saved = [os.dup(fd) for fd in (1, 2)]
    try:
        with path.open("ab") as file:
            for fd in (1, 2):
                os.dup2(file.fileno(), fd)
        yield
    finally:
        for stream, fd, old in zip((sys.stdout, sys.stderr), (1, 2), saved, strict=True):
            with contextlib.suppress(OSError):  # a full disk loses the run's words, not the run
                stream.flush()
            os.dup2(old, fd)
            os.close(old)
