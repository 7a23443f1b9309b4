"""A study from its variants to its tables. Takes a second to import, so it is imported while the workers import."""

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import CONFIGS
from scripts import worker
from scripts.errors import UsageError
from scripts.report import print_findings
from studies.analysis import analysis, headline
from studies.answer import answer
from studies.local import LocalLauncher
from studies.pages import as_markdown, write_summary
from studies.progress import Progress
from studies.published import Claim, Published
from studies.record import add_not_run, link_runs, read_findings, read_not_run, write_record
from studies.runs import Run, complete_runs, forget, make_run
from studies.spec import SpecError, Study

if TYPE_CHECKING:
    from studies.ray_launcher import RayLauncher

    Launcher = LocalLauncher | RayLauncher

RUNS = Path("runs")


def conduct(args: argparse.Namespace, study: Study, workers: LocalLauncher, room: int, again: str) -> int:
    """Train what is missing, write the tables and print them.

    Args:
        args: the command's words; ``only`` names the variants to train.
        study: what its file says, with the seeds that the words ask for.
        workers: entered; they resolve the variants and train, unless Ray does.
        room: runs at a time on this machine.
        again: the command that goes on.

    Raises:
        UsageError: a variant or a place in the published results is wrong, or no Ray cluster answers.
        SystemExit: code 1 when a run failed.
        KeyboardInterrupt: Ctrl-C; while training, it says how far the study is.
    """
    print(study.question, flush=True)
    published = _published(study)
    arms = _resolve(study, workers)
    runs = [
        make_run(name, config, seed)
        for name, config in arms.items()
        if name in args.only
        for seed in args.seeds or study.seeds
    ]
    complete = complete_runs(RUNS)
    missing = [run for run in runs if args.fresh or run.id not in complete]
    progress = Progress(runs, {} if args.fresh else complete, RUNS, study.metrics[0], room)
    if args.dry_run:
        progress.print_plan(missing)
        return 0
    with _launcher(args, workers) if missing else contextlib.nullcontext() as launcher:
        earlier = {seed for seed in study.seeds for arm in arms.items() if make_run(*arm, seed).id in complete}
        seeds = tuple(sorted(earlier.union(args.seeds or study.seeds)))
        untried = {name: why for name, why in read_not_run(RUNS, study.name).items() if name not in args.only}
        folder = write_record(study, seeds, list(arms.values()), _reproduce(args.file), published, RUNS)
        add_not_run(folder, {name: why for name, why in untried.items() if name in study.optional})
        _try_analysis(study, folder, complete)
        if args.fresh and (busy := forget(runs, RUNS)):
            raise UsageError(f"--fresh: another process is training {busy.variant} with seed {busy.seed}")
        print(f"{len(runs)} runs, {len(runs) - len(missing)} complete", flush=True)
        failed = _train(missing, launcher, progress) if launcher else {}
    optional = {run.variant: failed[run.id] for run in runs if run.id in failed and run.variant in study.optional}
    add_not_run(folder, {name: message.rsplit(" -> ", 1)[0] for name, message in optional.items()})
    _show(folder, runs)
    _report(failed, runs, study.optional, again)
    return 0


def _resolve(study: Study, workers: LocalLauncher) -> dict[str, dict[str, Any]]:
    """The config of each variant."""
    try:
        configs = workers.call(worker.resolve, study.variants)
    except SpecError as error:
        raise UsageError(f"{study.path}: {error}") from error
    seen: dict[str, str] = {}
    for variant, config in zip(study.variants, configs, strict=True):
        twin = seen.setdefault(make_run("", config, 0).config_hash, variant.name)
        if twin != variant.name:
            raise UsageError(f"{study.path}: variants {twin!r} and {variant.name!r} are the same experiment")
    return {variant.name: config for variant, config in zip(study.variants, configs, strict=True)}


def _published(study: Study) -> dict[str, list[Claim]]:
    try:
        return Published(CONFIGS / "published.yaml").of(study.published, study.names)
    except KeyError as error:
        raise UsageError(f"{study.path}: {error.args[0]}") from error


def _try_analysis(study: Study, folder: Path, complete: dict[str, Path]) -> None:
    """A template that fails does so before anything is trained."""
    try:
        findings = read_findings(folder, RUNS, complete)
        headline(findings)
        analysis(findings)
    except ValueError as error:
        raise UsageError(f"{study.path}: {error}") from error


def _reproduce(file: Path) -> str:
    """The command that repeats the study, by the name that it has in every checkout."""
    inside = file.resolve().is_relative_to(CONFIGS)
    return f"firstlight study {Path('configs', file.resolve().relative_to(CONFIGS)) if inside else file}"


def _launcher(args: argparse.Namespace, workers: LocalLauncher) -> "contextlib.AbstractContextManager[Launcher]":
    if args.launcher == "local":
        return contextlib.nullcontext(workers)
    try:
        from studies.ray_launcher import RayLauncher
    except ImportError as error:
        raise UsageError("--launcher ray needs Ray: pip install firstlight[cluster]") from error
    try:
        return RayLauncher(args.address, args.threads, args.gpu_share, args.jobs)
    except ConnectionError as error:
        raise UsageError(
            f"--address {args.address}: no Ray cluster answers there; start one: ray start --head"
        ) from error


def _train(missing: list[Run], launcher: "Launcher", progress: Progress) -> dict[str, str]:
    """Failed runs and their messages."""
    failed: dict[str, str] = {}
    progress.jobs = launcher.room()
    try:
        with contextlib.closing(launcher.launch(missing, RUNS.absolute(), worker.train)) as events, progress:
            for event in events:
                progress.take(event)
                if event.kind == "failed":
                    failed[event.run.id] = event.message
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{progress.num_done} of {progress.num_runs} runs are complete. ") from None
    return failed


def _show(folder: Path, runs: list[Run]) -> None:
    """Write the tables, and print them as soon as there is a result."""
    complete = complete_runs(RUNS)
    link_runs(folder, runs, complete)
    findings = read_findings(folder, RUNS, complete)
    write_summary(findings, folder)
    (folder / "summary.md").write_text(as_markdown(findings))
    if any(arm.results for arm in findings.arms):
        print_findings(findings)
        print("\n".join(filter(None, [answer(findings), analysis(findings)])))
    print(f"-> {folder}")
    for name, reason in findings.not_run.items():
        print(f"not run: {name}: {reason}")


def _report(failed: dict[str, str], runs: list[Run], optional: tuple[str, ...], again: str) -> None:
    wrong = [run for run in runs if run.id in failed and run.variant not in optional]
    for run in wrong:
        print(f"failed: {run.variant}, seed {run.seed}: {failed[run.id]}")
    if wrong:
        print(f"{len(wrong)} of {len(runs)} runs failed; to try them again: {again}")
        raise SystemExit(1)
