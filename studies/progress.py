"""How far a study is: a live table on a terminal, one line a run elsewhere."""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from studies.execute import Event
from studies.runs import Run, directory
from studies.wording import NOTHING, metric_name, show


def hours(seconds: float | None) -> str:
    """``1 h 05 min``, ``3 min 20 s`` or ``12 s``."""
    if seconds is None:
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _max_epochs(run: Run) -> int | None:
    """None where steps or seconds end the run."""
    max_epochs = run.config["trainer"]["max_epochs"]
    return max_epochs if max_epochs and max_epochs > 0 else None


class Progress:
    """The state of every run, and its display.

    Args:
        runs: all of the study's.
        complete: directories of those that are complete, by identity.
        root: the folder of all runs.
        metric: shown as it comes in.
        jobs: runs at a time.
    """

    def __init__(self, runs: list[Run], complete: dict[str, Path], root: Path, metric: str, jobs: int):
        self.runs = runs
        self.root = root
        self.metric = metric
        self.jobs = jobs
        self.state = {run.id: "waiting" for run in runs}
        self.results: dict[str, dict] = {}
        self.so_far: dict[str, tuple[int, float]] = {}
        for run in runs:
            if run.id in complete:
                self._finish(run, complete[run.id])
        self.typical = self._typical()
        self.console = Console()
        # Drawn at every event, of which launchers have one in half a second at least: no other thread reads the state.
        self.live = Live(console=self.console, get_renderable=self.table, auto_refresh=False)

    def _finish(self, run: Run, path: Path) -> None:
        self.state[run.id] = "done"
        self.results[run.id] = json.loads((path / "result.json").read_text())

    @property
    def num_runs(self) -> int:
        """Of the study."""
        return len(self.runs)

    @property
    def num_done(self) -> int:
        """Complete by now."""
        return self._count(self.runs, "done")

    def _count(self, runs: Iterable[Run], state: str) -> int:
        return sum(self.state[run.id] == state for run in runs)

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live.is_started:
            self.live.stop()

    def take(self, event: Event) -> None:
        """Take note of what a launcher reports, and show it."""
        if event.run or self.live.is_started:
            at_work = [run for run in self.runs if self.state[run.id] == "running"]
            self.so_far = {run.id: self._epochs_so_far(run) for run in at_work}
            self._note(event)
            self.typical = self._typical()
        if self.live.is_started:
            self.live.refresh()
        elif event.kind in ("done", "failed", "lost"):
            print(self._line(event), flush=True)

    def _note(self, event: Event) -> None:
        states = {"started": "running", "busy": "elsewhere", "lost": "waiting", "failed": "failed"}
        if event.kind == "done":
            self._finish(event.run, directory(event.run, self.root))
        elif event.run:
            self.state[event.run.id] = states[event.kind]

    def _line(self, event: Event) -> str:
        run = event.run
        head = f"[{self.num_done}/{self.num_runs}] {run.variant}  seed {run.seed}"
        if event.kind == "lost":
            return f"{head}  its worker died: once more"
        if event.kind == "failed":
            return f"{head}  failed: {event.message}"
        result = self.results[run.id]
        value = result["metrics"].get(self.metric, result.get(self.metric))
        found = f"{metric_name(self.metric)} {show(self.metric, value)}  " if value is not None else ""
        return f"{head}  {found}{result['train_seconds']:.1f} s  {hours(self.seconds_left())} left"

    def seconds_of(self, run: Run) -> float | None:
        """What one run takes: as other seeds of its variant did or will, else as the study's other runs."""
        return self.typical.get(run.config_hash, self.typical.get("all"))

    def _typical(self) -> dict[str, float]:
        """Median seconds of each config's runs, and of all."""
        known = defaultdict(list)
        for run in self.runs:
            if (seconds := self._expected(run)) is not None:
                known[run.config_hash].append(seconds)
                known["all"].append(seconds)
        return {name: statistics.median(found) for name, found in known.items()}

    def _expected(self, run: Run) -> float | None:
        """Of a run that is complete, or that has at least one epoch and a last one."""
        if run.id in self.results:
            return self.results[run.id]["train_seconds"]
        epochs, seconds = self.so_far.get(run.id, (0, 0.0))
        return seconds / epochs * max(epochs, _max_epochs(run)) if epochs and _max_epochs(run) else None

    def seconds_left(self, runs: list[Run] | None = None) -> float | None:
        """Of all runs, or these; None before one is known or under way."""
        left = [run for run in runs or self.runs if self.state[run.id] not in ("done", "failed")]
        if not left:
            return 0.0
        estimates = [self._seconds_left_of(run) for run in left]
        return None if None in estimates else sum(estimates) / min(self.jobs, len(left))

    def _seconds_left_of(self, run: Run) -> float | None:
        whole, (_, seconds) = self._expected(run), self.so_far.get(run.id, (0, 0.0))
        whole = self.seconds_of(run) if whole is None else whole
        return whole and max(0.0, whole - seconds)

    def _epochs_so_far(self, run: Run) -> tuple[int, float]:
        """Epochs and seconds in the run's ``history.csv``."""
        try:
            header, *rows = (directory(run, self.root) / "history.csv").read_text().splitlines()
            seconds = float(rows[-1].split(",")[header.split(",").index("seconds")])
        except (OSError, ValueError, IndexError):
            return 0, 0.0
        return len(rows), seconds

    def table(self) -> Table:
        """One row a variant."""
        table = Table(title=f"{self.num_done} of {self.num_runs} runs, {hours(self.seconds_left())} left")
        for column in ("variant", "done", "running", "failed", metric_name(self.metric), "time left"):
            table.add_column(column, justify="left" if column == "variant" else "right", no_wrap=True)
        by_variant: dict[str, list[Run]] = {}
        for run in self.runs:
            by_variant.setdefault(run.variant, []).append(run)
        for name, runs in by_variant.items():
            table.add_row(name, *self._row(runs))
        return table

    def _row(self, runs: list[Run]) -> list[str]:
        done = self._count(runs, "done")
        running = "  ".join(self._running(run) for run in runs if self.state[run.id] in ("running", "elsewhere"))
        results = [self.results[run.id] for run in runs if run.id in self.results]
        values = [result["metrics"].get(self.metric, result.get(self.metric)) for result in results]
        values = [value for value in values if value is not None]
        so_far = show(self.metric, statistics.mean(values)) if values else NOTHING
        left = NOTHING if done == len(runs) else hours(self.seconds_left(runs))
        return [f"{done} of {len(runs)}", running or NOTHING, str(self._count(runs, "failed") or NOTHING), so_far, left]

    def _running(self, run: Run) -> str:
        if self.state[run.id] == "elsewhere":
            return f"seed {run.seed} in another study"
        epochs, _ = self.so_far.get(run.id, (0, 0.0))
        return f"seed {run.seed}: {epochs}" + (f"/{_max_epochs(run)}" if _max_epochs(run) else "")

    def print_plan(self, missing: list[Run]) -> None:
        """What would run, and for about how long."""
        for run in missing:
            state = "continue" if (directory(run, self.root) / "checkpoints" / "last.ckpt").exists() else "start"
            print(
                f"{state}  {run.variant}  seed {run.seed}  {directory(run, self.root)}  {hours(self.seconds_of(run))}"
            )
        left = f"about {hours(self.seconds_left())}" if self.results and missing else "time unknown until one is known"
        print(f"{len(missing)} of {self.num_runs} runs are missing; training: {left}, {self.jobs} at a time")
