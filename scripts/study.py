"""``firstlight study``: run what a study's file asks for and is missing, and show what was found."""

import argparse
import contextlib
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import configs
from scripts import worker
from scripts.errors import Parser, UsageError
from studies.analysis import analysis
from studies.local import LocalLauncher
from studies.pages import write_summary
from studies.progress import Progress
from studies.published import Claim, Published
from studies.record import FOLDER, add_not_run, link_runs, read_findings, write_record
from studies.runs import Run, complete_runs, forget, make_run
from studies.spec import SpecError, Study, read_study, seeds_of
from studies.tables import answer

if TYPE_CHECKING:
    from studies.ray_launcher import RayLauncher

CONFIGS = Path(configs.__path__[0]).resolve()
RUNS = Path("runs")


def _parse(command: str, options: list[str]) -> argparse.Namespace:
    parser = Parser(prog=f"firstlight {command}", description=__doc__)
    parser.add_argument("file", type=Path, help="the study, such as configs/studies/demo.yaml")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="runs at a time (default: cores, or GPUs and their shares)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of each run (default: 1)")
    parser.add_argument(
        "--gpu-share", type=float, default=1.0, metavar="X", help="of one GPU for each run (default: 1)"
    )
    parser.add_argument("--launcher", choices=("local", "ray"), default="local", help="where the runs go")
    parser.add_argument("--address", default="auto", help="of the Ray cluster (default: the one this machine is in)")
    parser.add_argument("--seeds", metavar="N or A,B,..", help="instead of the file's: 0 to N - 1, or these")
    parser.add_argument("--only", action="append", metavar="VARIANT", help="run this variant; may be given again")
    parser.add_argument("--dry-run", action="store_true", help="say what would run, and for about how long")
    parser.add_argument("--fresh", action="store_true", help="forget the study's results and train everything again")
    args = parser.parse_args(options)
    for name in ("jobs", "threads"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise UsageError(f"--{name} must be >= 1, got {getattr(args, name)}")
    if not 0 < args.gpu_share <= 1:
        raise UsageError(f"--gpu-share must be in (0, 1], got {args.gpu_share}")
    return args


def _seeds(words: str) -> tuple[int, ...]:
    """``3`` is 0, 1, 2; ``4,`` and ``0,4`` are themselves."""
    try:
        numbers = [int(word) for word in words.split(",") if word]
    except ValueError:
        raise UsageError(f"--seeds must be a number or numbers with commas, got {words!r}") from None
    return seeds_of(numbers if "," in words else numbers[0])


def _gpus() -> int:
    """GPUs that this process may use, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def _local(args: argparse.Namespace, most: int) -> LocalLauncher:
    """One run per core, or per GPU or share of one; no more than there can be work for."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = _gpus()
    devices = tuple(visible.split(",")) if visible and gpus else tuple(map(str, range(gpus)))
    jobs = args.jobs or (int(gpus / args.gpu_share + 1e-9) if gpus else max(1, _cores() // args.threads))
    return LocalLauncher(min(jobs, most), worker.warm_up, args.threads, devices)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _ray(args: argparse.Namespace) -> "RayLauncher":
    try:
        from studies.ray_launcher import RayLauncher
    except ImportError as error:
        raise UsageError("--launcher ray needs Ray: pip install firstlight[cluster]") from error
    try:
        return RayLauncher(args.address, args.threads, args.gpu_share if _gpus() else 0.0, args.jobs)
    except ConnectionError as error:
        raise UsageError(
            f"--address {args.address}: no Ray cluster answers there; start one: ray start --head"
        ) from error


def _reproduce(file: Path) -> str:
    """The command that repeats the study, by the name that it has in every checkout."""
    inside = file.resolve().is_relative_to(CONFIGS)
    return f"firstlight study {Path('configs', file.resolve().relative_to(CONFIGS)) if inside else file}"


def main(command: str, options: list[str]) -> int:
    """Run one study.

    Raises:
        UsageError: the words or the study's file are wrong.
        SystemExit: code 1 when a run failed, 130 on Ctrl-C.
    """
    args = _parse(command, options)
    try:
        study = read_study(args.file, CONFIGS)
        seeds = _seeds(args.seeds) if args.seeds else study.seeds
        published = Published(CONFIGS / "published.yaml").of(study.published, study.names)
    except SpecError as error:
        raise UsageError(str(error)) from error
    except KeyError as error:
        raise UsageError(f"{args.file}: {error.args[0]}") from error
    names = [variant.name for variant in study.variants]
    for name in args.only or []:
        if name not in names:
            raise UsageError(f"--only: there is no variant {name!r} in {args.file}: one of {', '.join(names)}")
    again = shlex.join(["firstlight", command, *(option for option in options if option != "--fresh")])
    names = args.only or [name for name in names if name not in study.not_run]
    most = 1 if args.dry_run or args.launcher == "ray" else len(names) * len(seeds)
    try:
        with _local(args, most) as workers:
            return _run(args, study, names, seeds, published, workers, again)
    except KeyboardInterrupt:
        print(f"\nStopped. {_done_by_now(study)}To go on: {again}")
        raise SystemExit(130) from None


def _done_by_now(study: Study) -> str:
    path = RUNS / FOLDER / study.name
    if not (path / "study.json").exists():
        return ""
    findings = read_findings(path, RUNS)
    done = sum(len(arm.results) for arm in findings.arms)
    return f"{done} of {done + findings.num_missing} runs are complete. "


def _run(
    args: argparse.Namespace,
    study: Study,
    names: list[str],
    seeds: tuple[int, ...],
    published: dict[str, list[Claim]],
    workers: LocalLauncher,
    again: str,
) -> int:
    resolved = _resolve(study, workers)
    named = [(variant.name, config) for variant, config in zip(study.variants, resolved, strict=True)]
    chosen = [(name, config) for name, config in named if name in names]
    runs = [make_run(name, config, seed) for name, config in chosen for seed in seeds]
    complete = complete_runs(RUNS)
    missing = [run for run in runs if args.fresh or run.id not in complete]
    progress = Progress(runs, {} if args.fresh else complete, RUNS, study.metrics[0], args.jobs or len(workers.workers))
    if args.dry_run:
        progress.print_plan(missing)
        return 0
    if args.fresh and (busy := forget(runs, RUNS)):
        raise UsageError(f"--fresh: another process is training {busy[0].variant} with seed {busy[0].seed}")
    recorded = [
        seed for seed in study.seeds if any(make_run(name, config, seed).id in complete for name, config in named)
    ]
    recorded = tuple(sorted({*seeds, *recorded}))
    folder = write_record(study, recorded, resolved, _reproduce(args.file), published, RUNS)
    try:
        analysis(read_findings(folder, RUNS, complete))  # so that a template that fails does so now
    except ValueError as error:
        raise UsageError(f"{args.file}: {error}") from error
    print(f"{study.question}\n{len(runs)} runs, {len(runs) - len(missing)} complete", flush=True)
    failed: dict[str, str] = {}
    if missing:
        launcher = workers if args.launcher == "local" else _ray(args)
        failed = _train(missing, launcher, progress)
    return _conclude(folder, study, runs, failed, again)


def _resolve(study: Study, workers: LocalLauncher) -> list[dict]:
    resolved = workers.call(worker.resolve, study.variants)
    if isinstance(resolved, SpecError):
        raise UsageError(f"{study.path}: {resolved}")
    seen: dict[str, str] = {}
    for variant, config in zip(study.variants, resolved, strict=True):
        config_hash = make_run("", config, 0).config_hash
        if config_hash in seen:
            raise UsageError(
                f"{study.path}: variants {seen[config_hash]!r} and {variant.name!r} are the same experiment"
            )
        seen[config_hash] = variant.name
    return resolved


def _train(missing: list[Run], launcher: "LocalLauncher | RayLauncher", progress: Progress) -> dict[str, str]:
    """Failed runs and their messages."""
    failed: dict[str, str] = {}
    progress.jobs = launcher.room()
    with contextlib.closing(launcher.launch(missing, RUNS.absolute(), worker.train)) as events, progress:
        for event in events:
            progress.take(event)
            if event.kind == "failed":
                failed[event.run.id] = event.message
    return failed


def _conclude(folder: Path, study: Study, runs: list[Run], failed: dict[str, str], again: str) -> int:
    complete = complete_runs(RUNS)
    link_runs(folder, runs, complete)
    left_out = {run.variant: failed[run.id] for run in runs if run.id in failed and run.variant in study.optional}
    if left_out:
        add_not_run(folder, {name: message.rsplit(" -> ", 1)[0] for name, message in left_out.items()})
    findings = read_findings(folder, RUNS, complete)
    write_summary(findings, folder)
    if any(arm.results for arm in findings.arms):
        from scripts.report import print_findings

        print_findings(findings)
        print("\n".join(filter(None, [answer(findings), analysis(findings)])))
    print(f"-> {folder}")
    for name, reason in findings.not_run.items():
        print(f"not run: {name}: {reason}")
    for run in runs:
        if run.id in failed:
            print(f"failed: {run.variant}, seed {run.seed}: {failed[run.id]}")
    num_failed = sum(run.id in failed and run.variant not in study.optional for run in runs)
    if num_failed:
        print(f"{num_failed} of {len(runs)} runs failed; to try them again: {again}")
        raise SystemExit(1)
    return 0
