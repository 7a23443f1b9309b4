"""What a study was, beside its runs: ``runs/studies/<study>/study.json``, and links for TensorBoard."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from studies.runs import Run, complete_runs, make_run
from studies.spec import Study
from studies.summary import Experiment

FOLDER = "studies"


def write_record(
    study: Study,
    seeds: tuple[int, ...],
    configs: list[dict[str, Any]],
    command: str,
    published: dict[str, Any],
    root: Path,
) -> Path:
    """Write everything that a report of the study needs besides its runs' results, and return the folder.

    Args:
        study: the study.
        seeds: of every variant.
        configs: the resolved config of each variant.
        command: what reproduces it.
        published: each variant's published value; see :func:`published_values`.
        root: the folder of all runs.
    """
    folder = root / FOLDER / study.name
    folder.mkdir(parents=True, exist_ok=True)
    variants = [
        {"name": variant.name, "config_hash": make_run("", config, 0).config_hash, "config": config}
        for variant, config in zip(study.variants, configs, strict=True)
    ]
    record = {
        "name": study.name, "question": study.question, "command": command, "seeds": seeds,
        "metrics": study.metrics, "select": study.select, "baselines": study.baselines, "plots": study.plots,
        "figures": study.figures, "published": published, "variants": variants,
    }  # fmt: skip
    partial = folder / "study.partial"
    partial.write_text(json.dumps(record, indent=1, default=str) + "\n")
    partial.replace(folder / "study.json")
    return folder


def published_values(path: Path, places: dict[str, str]) -> dict[str, Any]:
    """For each variant, the number at its dotted place in a file of published results, and what is known about it.

    A place may end at a mapping with ``test_accuracy`` or ``accuracy``. A variant whose place would be its own name
    below an entry that there is, and without a number there, has none.

    Raises:
        KeyError: the file has no such place.
    """
    everything = yaml.safe_load(path.read_text()) if places else {}
    found = {}
    for name, place in places.items():
        try:
            value = _published_value(everything, place)
        except KeyError:
            entry, _, last = place.rpartition(".")
            if last != name or not entry:
                raise
            _along(everything, entry)
            continue
        if value["value"] is not None:
            found[name] = value
    if places and not found:
        raise KeyError(f"no variant has a number at {', '.join(places.values())} in the published results")
    return found


def _along(everything: dict[str, Any], place: str) -> list[Any]:
    """What stands at each key of a dotted place."""
    nodes, node = [], everything
    for key in place.split("."):
        node = {str(k): v for k, v in node.items()}.get(key) if isinstance(node, dict) else None
        if node is None:
            raise KeyError(f"there is no {place} in the published results: nothing is called {key!r}")
        nodes.append(node)
    return nodes


def _published_value(everything: dict[str, Any], place: str) -> dict[str, Any]:
    nodes = _along(everything, place)
    facts: dict[str, Any] = {"protocol": None, "note": None, "report": None}
    for level in nodes:
        if isinstance(level, dict):
            facts |= {name: level[name] for name in facts if name in level}
    value = nodes[-1]
    if isinstance(value, dict):
        value = value.get("test_accuracy", value.get("accuracy"))
    letters = [key.split("_")[0] for key in place.split(".")]
    letter = next((letter for letter in letters if letter in everything["reports"]), facts["report"])
    title = everything["reports"].get(letter, {}).get("title")
    return facts | {"value": value if isinstance(value, int | float) else None, "place": place, "report": title}


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
    def num_missing(self) -> int:
        """Runs that are not complete yet."""
        return len(self.record["seeds"]) * len(self.arms) - sum(len(arm.results) for arm in self.arms)

    def arm(self, name: str) -> Experiment:
        """The arm of a variant."""
        return next(arm for arm in self.arms if arm.name == name)

    def config(self, name: str) -> dict[str, Any]:
        """The resolved config of a variant."""
        return next(variant["config"] for variant in self.record["variants"] if variant["name"] == name)


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
        results = tuple(json.loads((p / "result.json").read_text()) | {"path": str(p)} for p in paths if p)
        arms.append(Experiment(variant["name"], variant["config_hash"], results))
    return Findings(record, folder, tuple(arms))


def link_runs(folder: Path, runs: list[Run], complete: dict[str, Path]) -> None:
    """``<folder>/<variant>/seed<k>`` for every complete run: TensorBoard shows them by these names."""
    for run in runs:
        if run.id not in complete:
            continue
        link = folder / run.variant.replace("/", "-") / f"seed{run.seed}"
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(complete[run.id], link.parent))
