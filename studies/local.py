"""Local launcher: a few worker processes that import once and train run after run."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from studies.execute import MAX_DEATHS, Backlog, Event, Outcome, Train, execute
from studies.runs import Run

POLL_SECONDS = 0.5


class LocalLauncher:
    """``jobs`` worker processes, which start to import as soon as the launcher is entered.

    Args:
        jobs: number of worker processes.
        warm_up: picklable; each worker calls it before anything else, to import what runs will need.
        threads: of each worker, for its arithmetic.
        devices: ``CUDA_VISIBLE_DEVICES`` of the workers in turn; empty leaves it alone.
    """

    def __init__(self, jobs: int, warm_up: Callable[[], None], threads: int = 1, devices: tuple[str, ...] = ()):
        self.workers = [_Worker(warm_up, threads, devices[k % len(devices)] if devices else None) for k in range(jobs)]

    def __enter__(self) -> "LocalLauncher":
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Kill at once: a run loses at most the epoch it is in."""
        for worker in self.workers:
            worker.kill()

    def room(self) -> int:
        """Runs at a time."""
        return len(self.workers)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What ``function`` returns in the first worker, which has imported what it needs.

        Raises:
            RuntimeError: the worker died, again and again.
        """
        worker = self.workers[0]
        for _ in range(MAX_DEATHS):
            worker.begin(None, function, *arguments)
            wait(worker.signs())
            _, answer = worker.end()
            if answer:
                return answer[0]
        raise RuntimeError(f"the first worker process died {MAX_DEATHS} times before any run")

    def launch(self, runs: list[Run], root: Path, train: Train) -> Iterator[Event]:
        """Train all runs and report as it goes.

        Args:
            runs: what to train, in order.
            root: the folder of all runs.
            train: picklable; see :func:`studies.execute.execute`.
        """
        backlog = Backlog(runs)
        while backlog or any(worker.run for worker in self.workers):
            for worker in self.workers:
                if not worker.run and (run := backlog.take()):
                    worker.begin(run, execute, run, root, train)
                    yield Event("started", run)
            for run, outcome in self._answers():
                yield backlog.settle(run, outcome)
            yield Event("tick")

    def _answers(self) -> Iterator[tuple[Run, Outcome]]:
        """Of the workers that have one or have died, after at most ``POLL_SECONDS``."""
        at_work = [worker for worker in self.workers if worker.run]
        signs = set(wait([sign for worker in at_work for sign in worker.signs()], POLL_SECONDS))
        if not at_work:
            time.sleep(POLL_SECONDS)
        for worker in at_work:
            if signs.intersection(worker.signs()):
                run, answer = worker.end()
                yield run, answer[0] if answer else Outcome("lost")


class _Worker:
    """A process, started again when it has died."""

    def __init__(self, warm_up: Callable[[], None], threads: int, device: str | None):
        self.warm_up = warm_up
        self.environment = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        if device is not None:
            self.environment["CUDA_VISIBLE_DEVICES"] = device
        self.run: Run | None = None
        self.process: multiprocessing.process.BaseProcess | None = None

    def start(self) -> None:
        """Start the process; its environment must be set before it imports anything."""
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.warm_up))
        with _environment(self.environment):
            self.process.start()
        theirs.close()

    def begin(self, run: Run | None, function: Callable[..., Any], *arguments: Any) -> None:
        """Hand over a call, on behalf of a run."""
        self.run = run
        if not self.process.is_alive():
            self.start()
        with contextlib.suppress(BrokenPipeError):  # it died just now: its sentinel says so
            self.connection.send((function, arguments))

    def signs(self) -> list[Connection | int]:
        """What to wait for."""
        return [self.connection, self.process.sentinel]

    def end(self) -> tuple[Run | None, tuple[Any] | None]:
        """The run, and what its call returned, as a tuple of one; None when the worker has died."""
        run, self.run = self.run, None
        with contextlib.suppress(EOFError, ConnectionError):
            if self.connection.poll():
                return run, (self.connection.recv(),)
        self.process.join()
        return run, None

    def kill(self) -> None:
        """At once: a run loses at most the epoch it is in."""
        if self.process:
            self.process.kill()
            self.process.join()


@contextlib.contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    """The environment that a child is to start with."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(connection: Connection, warm_up: Callable[[], None]) -> None:
    """The worker: one call after the other, until the parent closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_die_with_parent, daemon=True).start()
    sys.argv = sys.argv[:1]
    sys.stdout.reconfigure(line_buffering=True)
    warm_up()
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            function, arguments = connection.recv()
            connection.send(function(*arguments))


def _die_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
