"""``firstlight reproduce``: every study of configs/studies but the demo, then the report and docs/results.

What is complete is not trained again, so a call that was cut off goes on where it was.
"""

import os
import statistics
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs import CONFIGS
from scripts.errors import Parser, UsageError
from scripts.main import main as firstlight
from scripts.study import cores, gpus
from studies.index import machines_of, read_summaries
from studies.progress import hours
from studies.record import FOLDER, read_findings
from studies.runs import complete_runs
from studies.spec import SpecError, Study, read_study

RUNS, RESULTS, README = Path("runs"), Path("docs/results"), Path("README.md")
CIFAR10 = Path("data/cifar10")  # what configs/overlays/cifar10_folder.yaml reads
ARCHIVE = "cifar10-jpeg.tar.xz"


@dataclass(frozen=True)
class Plan:
    """One study: how many of its runs are complete, and the seconds that the others take, None if unknown.

    Optional variants that failed when the study was last run are counted apart: to try them again takes no time if
    they fail again, and nobody knows how much if they do not.
    """

    study: Study
    done: int
    runs: int
    seconds: float | None
    failed: tuple[str, ...] = ()


def make_plan(study: Study, complete: dict[str, Path], summary: dict[str, Any] | None) -> Plan:
    """Count what is complete, and take each variant's seconds from its runs here, else from the committed summary.

    Args:
        study: the study.
        complete: directories of complete runs by identity.
        summary: the study's, if one is committed; a variant that has no run here or there takes as long as the others.
    """
    names = [variant.name for variant in study.variants if variant.name not in study.not_run]
    done = dict.fromkeys(names, 0)
    ran = [variant for variant in summary["variants"] if variant["runs"]] if summary else []
    per_run = {variant["name"]: variant["train_seconds"] / variant["runs"] for variant in ran}
    folder, failed = RUNS / FOLDER / study.name, ()
    if (folder / "study.json").exists():
        findings = read_findings(folder, RUNS, complete)
        failed = tuple(name for name in study.optional if name in findings.not_run)
        names = [name for name in names if name not in failed]
        seeds = {arm.name: {result["seed"] for result in arm.results} for arm in findings.arms}
        done = {name: len(seeds.get(name, set()) & set(study.seeds)) for name in names}
        per_run |= {arm.name: arm.train_seconds for arm in findings.arms if arm.results}
    missing = {name: len(study.seeds) - done[name] for name in names}
    seconds = None
    if per_run or not any(missing.values()):
        other = statistics.mean(per_run.values()) if per_run else 0.0
        seconds = sum(count * per_run.get(name, other) for name, count in missing.items())
    return Plan(study, sum(done.values()), len(names) * len(study.seeds), seconds, failed)


def make_plans(files: list[Path]) -> list[Plan]:
    """Shortest first, those of unknown length last."""
    complete = complete_runs(RUNS)
    summaries = {summary["name"]: summary for summary in read_summaries(RESULTS)}
    try:
        studies = [read_study(file, CONFIGS) for file in files]
    except SpecError as error:
        raise UsageError(str(error)) from error
    plans = [make_plan(study, complete, summaries.get(study.name)) for study in studies]
    return sorted(plans, key=lambda plan: (plan.seconds is None, plan.seconds, plan.study.name))


def print_plans(plans: list[Plan], jobs: int) -> None:
    """What is complete, what is not, and how long that takes."""
    for plan in plans:
        left = plan.seconds and plan.seconds / jobs
        again = f"; tried again, as it failed: {', '.join(plan.failed)}" if plan.failed else ""
        print(f"{plan.study.name:24} {plan.done:4} of {plan.runs:4} runs are complete; the rest: {hours(left)}{again}")
    known = [plan.seconds for plan in plans if plan.seconds is not None]
    unknown = f", and {len(plans) - len(known)} studies of unknown length" if len(known) < len(plans) else ""
    machines = machines_of(read_summaries(RESULTS))
    print(f"In all {hours(sum(known) / jobs)}{unknown}, {jobs} at a time, as training took on {'; '.join(machines)}.")


def needs_cifar10(study: Study) -> bool:
    """Whether a variant reads the folder copy of CIFAR-10."""
    return any("cifar10_folder" in str(layer) for variant in study.variants for layer in variant.layers)


def prepare_cifar10() -> str | None:
    """Unpack the folder copy if it is not there; returns what is missing."""
    if CIFAR10.is_dir():
        return None
    archive = Path(os.environ.get("PATH_DATASETS", "data"), ARCHIVE)
    if not archive.is_file():
        return f"no {CIFAR10}/train and test with a folder of images for each class, and no {archive} to unpack"
    CIFAR10.parent.mkdir(exist_ok=True)
    print(f"unpacking {archive} -> {CIFAR10}", flush=True)
    with tempfile.TemporaryDirectory(dir=CIFAR10.parent) as folder:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        Path(folder).rename(CIFAR10)
        Path(folder).mkdir()  # for the context to remove
    return None


def run(file: Path, words: list[str]) -> str:
    """Train one study's missing runs; returns what went wrong, empty if nothing did.

    Raises:
        SystemExit: code 130, on Ctrl-C.
    """
    try:
        firstlight(["study", str(file), *words])
    except SystemExit as error:
        if error.code == 130:
            raise
        return f"ended with code {error.code}"
    return ""


def main(command: str, options: list[str]) -> None:
    """Say what is to be done, and do it.

    Raises:
        SystemExit: code 1 when a study failed or was left out.
    """
    parser = Parser(prog=f"firstlight {command}", description=__doc__)
    parser.add_argument("studies", nargs="*", help="names of studies (default: all but demo)")
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at a time (default: one per core, or per GPU)")
    parser.add_argument("--dry-run", action="store_true", help="only say what is to be done, and for how long")
    args = parser.parse_args(options)
    if args.jobs is not None and args.jobs < 1:
        raise UsageError(f"--jobs must be >= 1, got {args.jobs}")
    jobs = args.jobs or gpus() or cores()
    files = {file.stem: file for file in sorted((CONFIGS / "studies").glob("*.yaml"))}
    for name in args.studies:
        if name not in files:
            raise UsageError(f"there is no study {name!r}: one of {', '.join(files)}")
    wanted = args.studies or [name for name in files if name != "demo"]
    plans = make_plans([files[name] for name in wanted])
    print_plans(plans, jobs)
    if args.dry_run:
        return
    wrong: dict[str, str] = {}
    for plan in plans:
        print(f"\n== {plan.study.name}", flush=True)
        missing = prepare_cifar10() if needs_cifar10(plan.study) else None
        wrong[plan.study.name] = f"left out: {missing}" if missing else run(plan.study.path, ["--jobs", str(jobs)])
    firstlight(["report", "--publish", str(RESULTS), "--readme", str(README)])
    wrong = {name: text for name, text in wrong.items() if text}
    for name, text in wrong.items():
        print(f"{name}: {text}")
    if wrong:
        raise SystemExit(1)
