"""Local launcher: a few worker processes that import once, all together, and train run after run."""

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.pool import ExceptionWithTraceback
from pathlib import Path
from typing import Any

from studies.execute import MAX_DEATHS, Backlog, Event, Outcome, Train, execute
from studies.runs import Run

POLL_SECONDS = 0.5
# One server imports for all workers and forks them; elsewhere than on Linux a fork after such imports is not safe.
CONTEXT = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")


class LocalLauncher:
    """``jobs`` worker processes; what they need is being imported as soon as the launcher is entered.

    Args:
        jobs: number of worker processes.
        preload: name of the module that imports what runs will need; it must start no thread.
        threads: of each worker, for its arithmetic.
        devices: ``CUDA_VISIBLE_DEVICES`` of the workers in turn; empty leaves it alone.
    """

    def __init__(self, jobs: int, preload: str, threads: int = 1, devices: tuple[str, ...] = ()):
        self.preload = preload
        self.environment = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        visible = [{"CUDA_VISIBLE_DEVICES": device} for device in devices] or [{}]
        self.workers = [_Worker(preload, self.environment | visible[k % len(visible)]) for k in range(jobs)]

    def __enter__(self) -> "LocalLauncher":
        if CONTEXT.get_start_method() == "forkserver":
            CONTEXT.set_forkserver_preload([self.preload])
            with _environment(self.environment), _ctrl_c_ignored():
                forkserver.ensure_running()  # returns while the server imports
        return self

    def __exit__(self, *exception: object) -> None:
        """Kill at once: a run loses at most the epoch it is in."""
        with _ctrl_c_ignored():
            for worker in self.workers:
                worker.kill()

    def room(self) -> int:
        """Runs at a time."""
        return len(self.workers)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What ``function`` returns in the first worker, which has imported what it needs.

        Raises:
            Exception: what the function raises.
            RuntimeError: the worker died, again and again.
        """
        worker = self.workers[0]
        for _ in range(MAX_DEATHS):
            worker.begin(None, function, *arguments)
            wait(worker.signs())
            _, answer = worker.end()
            if answer and isinstance(answer[0], Exception):
                raise answer[0]
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
    """A process, started when it is needed, and again when it has died."""

    def __init__(self, preload: str, environment: dict[str, str]):
        self.preload = preload
        self.environment = environment
        self.run: Run | None = None
        self.process: multiprocessing.process.BaseProcess | None = None

    def start(self) -> None:
        """Start the process."""
        self.connection, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=_serve, args=(theirs, self.preload, self.environment))
        process.start()
        self.process = process
        theirs.close()

    def begin(self, run: Run | None, function: Callable[..., Any], *arguments: Any) -> None:
        """Hand over a call, on behalf of a run."""
        if not (self.process and self.process.is_alive()):
            self.start()
        self.run = run
        with contextlib.suppress(ConnectionError):  # it died just now: its sentinel says so
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
        self.kill()
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


@contextlib.contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Not to be interrupted; a process that is started meanwhile is never, as Ctrl-C is its parent's to answer."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(connection: Connection, preload: str, environment: dict[str, str]) -> None:
    """The worker: one call after the other, until the parent closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ.update(environment)
    sys.argv = sys.argv[:1]
    sys.stdout.reconfigure(line_buffering=True)
    importlib.import_module(preload)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            function, arguments = connection.recv()
            connection.send(_answer(function, arguments))


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        return ExceptionWithTraceback(error, error.__traceback__)


def _die_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
