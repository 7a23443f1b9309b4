"""What a study was, beside its runs: ``runs/studies/<study>/study.json``, and links for TensorBoard."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studies.published import Claim
from studies.runs import Run, complete_runs, make_run, read_result
from studies.spec import Study
from studies.summary import Experiment, higher_is_better, selected

FOLDER = "studies"


def write_record(
    study: Study,
    seeds: tuple[int, ...],
    configs: list[dict[str, Any]],
    command: str,
    published: dict[str, list[Claim]],
    root: Path,
) -> Path:
    """Write everything that a report of the study needs besides its runs' results, and return the folder.

    Args:
        study: the study.
        seeds: of every variant.
        configs: the resolved config of each variant.
        command: what reproduces it.
        published: the published numbers beside each variant or group.
        root: the folder of all runs.
    """
    folder = root / FOLDER / study.name
    folder.mkdir(parents=True, exist_ok=True)
    variants = [
        {"name": variant.name, "config_hash": make_run("", config, 0).config_hash, "config": config}
        for variant, config in zip(study.variants, configs, strict=True)
    ]
    claims = {name: [asdict(claim) for claim in claims] for name, claims in published.items()}
    record = {
        "name": study.name, "question": study.question, "command": command, "seeds": seeds,
        "metrics": study.metrics, "select": study.select, "groups": study.groups, "baselines": study.baselines,
        "plots": study.plots, "figures": study.figures, "published": claims,
        "headline": study.headline, "analysis": study.analysis, "not_run": study.not_run, "variants": variants,
    }  # fmt: skip
    _write(record, folder)
    return folder


def read_not_run(root: Path, study: str) -> dict[str, str]:
    """Why variants were not run, as the study's record says; empty where there is no record yet."""
    path = root / FOLDER / study / "study.json"
    return json.loads(path.read_text())["not_run"] if path.exists() else {}


def add_not_run(folder: Path, reasons: dict[str, str]) -> None:
    """Note why optional variants have failed."""
    record = json.loads((folder / "study.json").read_text())
    _write(record | {"not_run": record["not_run"] | reasons}, folder)


def _write(record: dict[str, Any], folder: Path) -> None:
    partial = folder / "study.partial"
    partial.write_text(json.dumps(record, indent=1, default=str) + "\n")
    partial.replace(folder / "study.json")


@dataclass(frozen=True)
class Findings:
    """A study's record with the results that there are.

    Attributes:
        record: the content of ``study.json``.
        folder: where that lies.
        arms: one a variant, in the file's order; an arm without a complete run has no results.
    """

    record: dict[str, Any]
    folder: Path
    arms: tuple[Experiment, ...]

    @property
    def not_run(self) -> dict[str, str]:
        """Why a variant has no results, where that is known."""
        return {name: reason for name, reason in self.record["not_run"].items() if not self.arm(name).results}

    @property
    def num_missing(self) -> int:
        """Runs that are not complete yet, those apart that are not to be run."""
        wanted = [arm for arm in self.arms if arm.name not in self.not_run]
        return len(self.record["seeds"]) * len(wanted) - sum(len(arm.results) for arm in wanted)

    @property
    def chosen(self) -> dict[str, str]:
        """The variant of each group that is best on validation; empty where the study does not select."""
        groups: dict[str, list[Experiment]] = {}
        for arm in self.arms:
            if arm.name in self.record["groups"]:
                groups.setdefault(self.record["groups"][arm.name], []).append(arm)
        found = {group: selected(arms, self.record["select"]) for group, arms in groups.items()}
        return {group: name for group, name in found.items() if name}

    @property
    def reported(self) -> tuple[Experiment, ...]:
        """The arms whose test results answer the question: all of them, or the chosen ones."""
        if not self.record["select"]:
            return self.arms
        chosen = self.chosen.values()
        return tuple(arm for arm in self.arms if arm.name in chosen)

    def arms_with(self, metric: str) -> list[Experiment]:
        """The arms that have a metric and may show it; test results are those of the reported arms alone."""
        arms = self.reported if metric.startswith(("test/", "gap/")) else self.arms
        return [arm for arm in arms if arm.by_seed(metric)]

    def arm(self, name: str) -> Experiment:
        """The arm of a variant."""
        return next(arm for arm in self.arms if arm.name == name)

    def config(self, name: str) -> dict[str, Any]:
        """The resolved config of a variant."""
        return next(variant["config"] for variant in self.record["variants"] if variant["name"] == name)

    def claims(self, name: str, metric: str | None = None) -> list[Claim]:
        """The published numbers beside a variant, its own and its group's if it was chosen."""
        names = [name, *(group for group, chosen in self.chosen.items() if group and chosen == name)]
        found = [Claim(**claim) for name in dict.fromkeys(names) for claim in self.record["published"].get(name, [])]
        return [claim for claim in found if metric in (None, claim.metric)]

    def published(self, name: str, metric: str) -> float | None:
        """The most demanding of the published numbers of a metric."""
        values = [claim.value for claim in self.claims(name, metric) if not isinstance(claim.value, str)]
        return (max if higher_is_better(metric) else min)(values) if values else None


def read_findings(folder: Path, root: Path, complete: dict[str, Path] | None = None) -> Findings:
    """A study's record and the results of its complete runs.

    Args:
        folder: with the study's ``study.json``.
        root: the folder of all runs.
        complete: their directories by identity, if they are known already.
    """
    record = json.loads((folder / "study.json").read_text())
    complete = complete_runs(root) if complete is None else complete
    arms = []
    for variant in record["variants"]:
        paths = [complete.get(f"{variant['config_hash']}-seed{seed}") for seed in record["seeds"]]
        results = tuple(result | {"path": str(p)} for p in paths if p and (result := read_result(p)))
        arms.append(Experiment(variant["name"], variant["config_hash"], results))
    return Findings(record, folder, tuple(arms))


def link_runs(folder: Path, runs: list[Run], complete: dict[str, Path]) -> None:
    """``<folder>/<variant>/seed<k>`` for every complete run: TensorBoard shows them by these names."""
    for run in runs:
        if run.id not in complete:
            continue
        link = folder / run.variant.replace("/", "-") / f"seed{run.seed}"
        link.parent.mkdir(exist_ok=True)
        partial = link.with_name(f"{link.name}.{os.getpid()}")  # the same study may be ending in another process
        partial.symlink_to(os.path.relpath(complete[run.id], link.parent))
        os.replace(partial, link)
