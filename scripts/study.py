"""``firstlight study``: run what a study's file asks for and is missing, and show what was found."""

import argparse
import os
import shlex
from pathlib import Path

from configs import CONFIGS
from scripts.errors import Parser, UsageError
from studies.local import LocalLauncher
from studies.spec import SpecError, read_study, seeds_of


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
    args.seeds = args.seeds and _seeds(args.seeds)
    return args


def _seeds(words: str) -> tuple[int, ...]:
    """``3`` is 0, 1, 2; ``4,`` and ``0,4`` are themselves."""
    try:
        numbers = [int(word) for word in words.split(",") if word]
        return seeds_of(numbers if "," in words else numbers[0])
    except (ValueError, IndexError):
        raise UsageError(f"--seeds must be a number or numbers with commas, got {words!r}") from None
    except SpecError as error:
        raise UsageError(f"--seeds: {error}") from error


def gpus() -> int:
    """GPUs that this process may use, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _room(args: argparse.Namespace) -> int:
    """Runs at a time on this machine: one per core, or per GPU or share of one."""
    per_gpu = int(1 / args.gpu_share + 1e-9)
    return args.jobs or gpus() * per_gpu or max(1, cores() // args.threads)


def _workers(args: argparse.Namespace, num_runs: int) -> LocalLauncher:
    """No more than there can be work for; one, to resolve the variants, when no run is trained by it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = gpus()
    devices = tuple(visible.split(",")) if visible and count else tuple(map(str, range(count)))
    jobs = 1 if args.dry_run or args.launcher == "ray" else min(_room(args), num_runs)
    return LocalLauncher(jobs, "scripts.preload", args.threads, devices)


def main(command: str, options: list[str]) -> int:
    """Run one study.

    Raises:
        UsageError: the words or the study's file are wrong.
        SystemExit: code 1 when a run failed, 130 on Ctrl-C.
    """
    args = _parse(command, options)
    try:
        study = read_study(args.file, CONFIGS)
    except SpecError as error:
        raise UsageError(str(error)) from error
    names = [variant.name for variant in study.variants]
    for name in args.only or []:
        if name not in names:
            raise UsageError(f"--only: there is no variant {name!r} in {args.file}: one of {', '.join(names)}")
    args.only = args.only or [name for name in names if name not in study.not_run]
    again = shlex.join(["firstlight", command, *(option for option in options if option != "--fresh")])
    try:
        with _workers(args, len(args.only) * len(args.seeds or study.seeds)) as workers:
            from scripts.conduct import conduct

            return conduct(args, study, workers, _room(args), again)
    except KeyboardInterrupt as stop:
        print(f"\nStopped. {stop}To go on: {again}")
        raise SystemExit(130) from None
