"""The launcher and the runs it keeps: nothing is lost, nothing is done twice, whoever is killed."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from fake_training import (
    CONFIG,
    fake_train,
    runs,
    train_that_fails_on_odd_seeds,
    train_that_kills_its_worker,
    train_that_kills_its_worker_once,
)
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

from scripts.study import _parse, _workers
from studies.execute import MAX_DEATHS, Event, execute
from studies.local import LocalLauncher
from studies.progress import Progress
from studies.record import read_findings
from studies.runs import claim, complete_runs, directory, forget, make_run, prepare

PROJECT = Path(__file__).parent.parent


def launch(todo, root, train=fake_train, jobs=2):
    with LocalLauncher(jobs, "fake_training") as launcher:
        return [(e.kind, e.run and e.run.seed) for e in launcher.launch(todo, root, train) if e.kind != "tick"]


def trained(root: Path) -> Counter:
    return Counter((root / "trained.log").read_text().split())


def test_every_run_is_trained_once_by_either_worker(tmp_path):
    todo = runs(5)
    events = launch(todo, tmp_path)
    assert sorted(seed for kind, seed in events if kind == "done") == [0, 1, 2, 3, 4]
    assert complete_runs(tmp_path).keys() == {run.id for run in todo}
    assert sorted(seed for kind, seed in launch(todo, tmp_path) if kind == "done") == [0, 1, 2, 3, 4]
    assert set(trained(tmp_path).values()) == {1}


def test_what_an_exit_says_is_the_reason(tmp_path):
    def train(path: Path) -> None:
        raise SystemExit("no weights")

    assert execute(runs(1)[0], tmp_path, train).message.startswith("no weights -> ")


def test_a_failure_leaves_its_traceback_in_its_folder_and_the_rest_goes_on(tmp_path):
    todo = runs(4)
    events = launch(todo, tmp_path, train_that_fails_on_odd_seeds)
    assert sorted(event for event in events if event[0] != "started") == [
        ("done", 0), ("done", 2), ("failed", 1), ("failed", 3),
    ]  # fmt: skip
    failed = directory(todo[1], tmp_path)
    assert "ValueError: odd" in (failed / "error.txt").read_text()
    assert (failed / "log.txt").read_text() == "loud\n"
    assert sorted(seed for kind, seed in launch(todo, tmp_path) if kind == "done") == [0, 1, 2, 3]
    assert not (failed / "error.txt").exists()


def test_a_killed_workers_run_goes_to_another_worker(tmp_path):
    events = launch(runs(3), tmp_path, train_that_kills_its_worker_once)
    assert [kind for kind, _ in events].count("lost") == 3
    assert [kind for kind, _ in events].count("done") == 3


def test_a_run_that_always_kills_its_worker_is_given_up(tmp_path):
    events = launch(runs(1), tmp_path, train_that_kills_its_worker)
    assert [kind for kind, _ in events] == ["started", "lost"] * (MAX_DEATHS - 1) + ["started", "failed"]


def test_a_run_that_another_process_holds_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("studies.execute.BUSY_SECONDS", 0.05)
    (run,) = runs(1)
    with claim(run, tmp_path) as mine, LocalLauncher(1, "fake_training") as launcher:
        assert mine
        events = launcher.launch([run], tmp_path, fake_train)
        assert next(event.kind for event in events if event.kind not in ("started", "tick")) == "busy"
        events.close()
    assert launch([run], tmp_path) == [("started", 0), ("done", 0)]


def test_a_claim_is_for_one_and_ends_with_its_holder(tmp_path):
    (run,) = runs(1)
    holder = "import sys, time; from pathlib import Path; from studies.runs import Run, claim\n"
    holder += f"with claim({run!r}, Path({str(tmp_path)!r})):\n    print('held', flush=True); time.sleep(60)\n"
    process = subprocess.Popen([sys.executable, "-c", holder], cwd=PROJECT, stdout=subprocess.PIPE)
    process.stdout.readline()
    with claim(run, tmp_path) as mine:
        assert not mine
    process.kill()
    process.communicate()
    with claim(run, tmp_path) as mine:
        assert mine


def test_what_is_there_is_continued_only_if_it_is_the_same_run(tmp_path):
    run, other = make_run("v", CONFIG, 0), make_run("v", CONFIG | {"trainer": {"max_epochs": 9}}, 0)
    path = tmp_path / "run"
    prepare(run, path)
    (path / "checkpoints").mkdir()
    (path / "checkpoints/last.ckpt").touch()
    prepare(run, path)
    assert (path / "checkpoints/last.ckpt").exists()
    prepare(other, path)
    assert not (path / "checkpoints").exists()
    (path / "config.yaml").write_text("trainer: {max_ep")  # torn
    prepare(other, path)
    assert yaml.safe_load((path / "config.yaml").read_text()) == other.config


def test_a_run_under_another_experiments_name_is_shared(tmp_path):
    (run,) = runs(1)
    launch([run], tmp_path)
    twin = make_run("w", CONFIG | {"experiment": "other"}, 0)
    assert execute(twin, tmp_path, fake_train).state == "done"
    assert trained(tmp_path) == {run.id: 1}


def test_fresh_forgets_all_or_if_one_is_being_trained_nothing(tmp_path):
    todo = runs(2)
    launch(todo, tmp_path)
    with claim(todo[0], tmp_path):
        assert forget(todo, tmp_path) == todo[0]
        assert len(complete_runs(tmp_path)) == 2
    assert forget(todo, tmp_path) is None
    assert not complete_runs(tmp_path)


PARENT = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from fake_training import fake_train, runs
from studies.local import LocalLauncher
if __name__ == "__main__":
    with LocalLauncher(2, "fake_training") as launcher:
        launcher.call(print, "started")
        for event in launcher.launch(runs({n}, sleep={sleep}), Path({root!r}), fake_train):
            if event.kind == "done":
                print("done", flush=True)
"""


def stamps(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("result.json")}


@pytest.mark.parametrize("moments", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_every_run_is_trained_and_none_again_once_complete(tmp_path, moments):
    """Kill the launching process or one of its workers; what was complete stays, what was not is done later."""
    rng = random.Random(moments)
    n, sleep = 5 * moments, 0.06
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(paths=[str(PROJECT), str(PROJECT / "tests")], n=n, sleep=sleep, root=str(tmp_path)))
    complete: dict[Path, int] = {}
    for moment in range(moments):
        process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE)
        for _ in range(rng.randint(1, 3)):  # "started", and up to two runs that are done
            process.stdout.readline()
        kill_soon(process, rng, within=0.1, a_worker_first=moment % 2)
        assert complete.items() <= stamps(tmp_path).items()
        complete = stamps(tmp_path)
    assert 0 < len(complete) < n
    launch(runs(n, sleep=sleep), tmp_path)
    assert complete.items() <= stamps(tmp_path).items()
    assert len(stamps(tmp_path)) == n


def kill_soon(process: subprocess.Popen, rng: random.Random, within: float, a_worker_first: bool) -> None:
    """Kill it after so many seconds at most, or one of its workers and then, after so many again, itself."""
    time.sleep(rng.uniform(0, within))
    if a_worker_first:
        with contextlib.suppress(OSError, IndexError):  # there may be no worker at this moment
            os.kill(int(rng.choice(children_of(process))), signal.SIGKILL)
        time.sleep(rng.uniform(0, within))
    process.kill()
    process.communicate()


def children_of(process: subprocess.Popen) -> list[str]:
    """Its workers, and the server that forks them; multiprocessing's own resource tracker is none."""
    return [pid for pid in family(process.pid) if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()]


def family(pid: int | str) -> list[str]:
    """All descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return children + [grandchild for child in children for grandchild in family(child)]


def test_workers_die_with_their_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(paths=[str(PROJECT), str(PROJECT / "tests")], n=2, sleep=60, root=str(tmp_path)))
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE)
    process.stdout.readline()
    time.sleep(0.2)
    children = family(process.pid)
    process.kill()
    process.communicate()  # returns when the last holder of the pipe, a worker, is gone
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.02)


STUDY = """
question: Does width matter?
base: moons/mlp_best.yaml
seeds: 2
overrides: {trainer.max_epochs: 8, trainer.accelerator: cpu, model.init_args.dropout: 0.2}
variants:
  narrow: {model.init_args.hidden: [4]}
  wide: {model.init_args.hidden: [32]}
baseline: narrow
"""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "scripts.main", "study", *words]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}


def study(folder: Path, *words: str) -> subprocess.CompletedProcess:
    folder.mkdir(exist_ok=True)
    file = folder / "width.yaml"
    if not file.exists():
        file.write_text(STUDY)
    return subprocess.run(
        command("width.yaml", *words), cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


def metrics(folder: Path) -> dict:
    arms = read_findings(folder / "runs/studies/width", folder / "runs").arms
    return {(arm.name, result["seed"]): result["metrics"] for arm in arms for result in arm.results}


def test_the_command_runs_what_is_missing_and_only_that(tmp_path):
    done = study(tmp_path, "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 runs, 0 complete" in done.stdout
    assert "[4/4] " in done.stdout
    assert "narrow: test accuracy" in done.stdout
    folder = tmp_path / "runs/studies/width"
    assert {"study.json", "summary.csv", "summary.json", "summary.md"} <= {path.name for path in folder.iterdir()}
    assert (folder / "wide/seed1/result.json").exists()
    side_by_side = EventMultiplexer().AddRunsFromDirectory(str(folder)).Runs()
    assert {"narrow/seed0", "narrow/seed1", "wide/seed0", "wide/seed1"} <= side_by_side.keys()
    cells = json.loads((folder / "summary.json").read_text())["cells"]
    wide = next(cell for cell in cells if cell["variant"] == "wide" and cell["metric"] == "test/acc")
    assert wide["n"] == 2
    assert wide["baseline"] == "narrow"
    before = stamps(tmp_path)
    assert "4 runs, 4 complete" in study(tmp_path).stdout
    assert before == stamps(tmp_path)
    fresh = study(tmp_path, "--fresh", "--only", "narrow", "--seeds", "1,")
    assert fresh.returncode == 0, fresh.stdout + fresh.stderr
    changed = [path for path, stamp in stamps(tmp_path).items() if stamp != before[path]]
    assert [path.parent.name for path in changed] == [(folder / "narrow/seed1").resolve().name]


@pytest.mark.slow
def test_dry_run_says_what_would_run_and_only_runs_one_variant(tmp_path):
    plan = study(tmp_path, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert plan.stdout.count("start  ") == 4
    assert "time unknown" in plan.stdout
    assert not (tmp_path / "runs").exists()
    part = study(tmp_path, "--jobs", "1", "--only", "narrow")
    assert part.returncode == 0, part.stdout + part.stderr
    assert "[2/2] narrow  seed 1  test accuracy" in part.stdout
    plan = study(tmp_path, "--dry-run")
    assert plan.stdout.count("start  ") == 2
    assert "2 of 4 runs are missing; training: about " in plan.stdout


@pytest.mark.slow
def test_a_failed_run_is_code_1_and_tried_again_by_the_next_call(tmp_path):
    break_wide(tmp_path)
    for _ in range(2):
        done = study(tmp_path, "--jobs", "1")
        assert done.returncode == 1, done.stdout + done.stderr
        assert "2 of 4 runs failed; to try them again: firstlight study width.yaml --jobs 1" in done.stdout
        assert len(metrics(tmp_path)) == 2
    assert "is no IDX file" in done.stdout
    (error, _) = (tmp_path / "runs").rglob("error.txt")
    assert "is no IDX file" in error.read_text()


def break_wide(folder: Path) -> None:
    """The study, its second variant with data that are found broken when they are read."""
    data = "{class_path: datamodules.MNISTDataModule, init_args: {root: nowhere}}"
    folder.joinpath("width.yaml").write_text(STUDY.replace("wide: {", f"wide: {{data: {data}, "))
    os.makedirs(folder / "nowhere/MNIST/raw")
    for part in ("train", "t10k"):
        for name in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            (folder / "nowhere/MNIST/raw" / f"{part}-{name}").write_bytes(b"bad")


@pytest.mark.slow
def test_an_optional_variants_failure_is_its_reason_and_no_failure_of_the_study(tmp_path):
    break_wide(tmp_path)
    with (tmp_path / "width.yaml").open("a") as file:
        file.write("optional: [wide]\n")
    done = study(tmp_path, "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not run: wide: " in done.stdout
    summary = json.loads((tmp_path / "runs/studies/width/summary.json").read_text())
    assert "is no IDX file" in summary["not_run"]["wide"]
    assert "Error:" not in summary["not_run"]["wide"]
    assert "failed: wide" not in done.stdout
    assert summary["missing_runs"] == 0
    assert "not run: wide: " in study(tmp_path, "--jobs", "1", "--only", "narrow").stdout  # still known


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_the_next_call_does(tmp_path, children_answer_ctrl_c):
    study(tmp_path, "--dry-run")
    process = subprocess.Popen(
        command("width.yaml", "--jobs", "1"), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    )
    while not process.stdout.readline().startswith("[1/4]"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "To go on: firstlight study width.yaml --jobs 1" in out
    assert study(tmp_path).returncode == 0
    assert len(metrics(tmp_path)) == 4


@pytest.mark.slow
def test_a_study_killed_again_and_again_ends_with_the_undisturbed_metrics(tmp_path):
    rng = random.Random(1)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert study(undisturbed).returncode == 0
    study(killed, "--dry-run")
    complete: dict[Path, int] = {}
    for moment in range(20):
        process = subprocess.Popen(
            command("width.yaml", "--jobs", "2"), cwd=killed, env=environment(), stdout=subprocess.PIPE
        )
        process.stdout.readline()
        process.stdout.readline()  # the runs begin
        kill_soon(process, rng, within=2, a_worker_first=moment % 2)
        assert complete.items() <= stamps(killed).items()
        complete = stamps(killed)
        if len(complete) == 4:
            break
    assert study(killed).returncode == 0
    assert complete.items() <= stamps(killed).items()
    assert metrics(killed) == metrics(undisturbed)


def test_time_left_counts_runs_that_wait_as_long_as_those_that_are_known(tmp_path):
    """Two jobs; one run took 10 s, one is at 3 of 10 s, one of another variant waits: 7 + 10 s, shared by two."""
    slow, other = make_run("v", CONFIG | {"trainer": {"max_epochs": 10}}, 0), make_run("w", CONFIG, 0)
    again = make_run("v", CONFIG | {"trainer": {"max_epochs": 10}}, 1)
    progress = Progress([slow, again, other], {}, tmp_path, "test/acc", jobs=2)
    assert progress.seconds_left() is None
    progress.take(Event("started", again))
    directory(again, tmp_path).mkdir(parents=True)
    (directory(again, tmp_path) / "history.csv").write_text("epoch,seconds\n0,1\n1,2\n2,3.0\n")
    directory(slow, tmp_path).mkdir(parents=True)
    facts = {"config_hash": slow.config_hash, "seed": 0, "metrics": {}, "train_seconds": 10.0}
    (directory(slow, tmp_path) / "result.json").write_text(json.dumps(facts))
    progress.take(Event("done", slow))
    assert progress.seconds_left() == pytest.approx((7 + 10) / 2)
    assert progress.seconds_left([again]) == pytest.approx(7)


@pytest.mark.parametrize(
    ("visible", "words", "devices"),
    [
        ("2,5", [], ["2", "5"]),
        ("2,5", ["--gpu-share", "0.5"], ["2", "5", "2", "5"]),
        ("2,5", ["--gpu-share", "0.4"], ["2", "5", "2", "5"]),  # a third of 0.4 fits on neither
        ("2,5", ["--jobs", "1"], ["2"]),
        ("", ["--jobs", "2"], [None, None]),
    ],
)
def test_each_worker_sees_its_gpu(monkeypatch, visible, words, devices):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    workers = _workers(_parse("study", ["width.yaml", *words]), num_runs=9).workers
    assert [worker.environment.get("CUDA_VISIBLE_DEVICES") for worker in workers] == devices


def what_it_sees() -> tuple[str, ...]:
    return tuple(os.environ[name] for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"))


def test_a_worker_has_its_own_environment():
    with LocalLauncher(1, "fake_training", threads=3, devices=("7",)) as launcher:
        assert launcher.call(what_it_sees) == ("7", "3")


def fail() -> None:
    raise KeyError("inside")


def test_what_a_call_raises_in_a_worker_is_raised_here_with_the_workers_traceback():
    with LocalLauncher(1, "fake_training") as launcher, pytest.raises(KeyError, match="inside") as error:
        launcher.call(fail)
    assert "in fail" in str(error.value.__cause__)


def fake_train_that_leaves_nothing(path: Path) -> None:
    """As with ``fast_dev_run``."""


def test_a_run_without_a_result_has_failed_and_one_that_cannot_be_read_is_no_result(tmp_path):
    (run,) = runs(1)
    assert "without a result.json" in execute(run, tmp_path, fake_train_that_leaves_nothing).message
    (directory(run, tmp_path) / "result.json").write_text("")  # as after a power cut
    assert not complete_runs(tmp_path)
    assert execute(run, tmp_path, fake_train).state == "done"
    assert complete_runs(tmp_path).keys() == {run.id}


def test_a_folder_that_takes_no_runs_fails_the_run_and_not_its_worker(tmp_path):
    (tmp_path / "file").touch()
    outcome = execute(*runs(1), tmp_path / "file", fake_train)
    assert outcome.state == "failed"
    assert "NotADirectoryError" in outcome.message
