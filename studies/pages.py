"""What a study leaves for readers: ``summary.csv``, ``summary.json`` and a Markdown page."""

import csv
import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studies.analysis import analysis, headline
from studies.answer import answer
from studies.cells import Cell, cells, main_metric
from studies.protocol import machine, protocol
from studies.record import Findings
from studies.summary import Experiment
from studies.tables import table, trials
from studies.wording import NOTHING


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; all columns but the first that hold more numbers than words stand to the right."""
    rule = ["---:" if k and _is_numeric([row[k] for row in rows]) else "---" for k in range(len(header))]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (header, rule, *rows)
    )


def _is_numeric(column: list[str]) -> bool:
    filled = [cell for cell in column if cell not in ("", NOTHING)]
    return 2 * sum(cell[0] in "0123456789+-<" for cell in filled) > len(filled)


def write_summary(findings: Findings, folder: Path) -> None:
    """``summary.csv`` and ``summary.json``, from which ``studies.index`` makes what stands in the repository."""
    found = [asdict(cell) for cell in cells(findings)]
    with (folder / "summary.csv").open("w", newline="") as file:
        names = [name for name in Cell.__dataclass_fields__ if name != "values"]
        writer = csv.DictWriter(file, fieldnames=names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    content = {name: findings.record[name] for name in ("name", "question", "command", "seeds", "select", "published")}
    content |= {
        "main_metric": main_metric(findings), "headline": headline(findings), "answer": answer(findings),
        "analysis": analysis(findings),
        "missing_runs": findings.num_missing, "not_run": findings.not_run, "chosen": findings.chosen,
        "machine": machine(findings), "variants": [_variant(arm) for arm in findings.arms], "cells": found,
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(_without_nan(content), indent=1, allow_nan=False) + "\n")


def _without_nan(value: Any) -> Any:
    """None for what a diverged run has instead of a number: JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(content) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(content) for content in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _variant(arm: Experiment) -> dict[str, Any]:
    """What it cost, and how long it trained."""
    return {
        "name": arm.name,
        "config_hash": arm.config_hash,
        "runs": len(arm.results),
        "seeds": [result["seed"] for result in arm.results],
        "epochs": sorted({result["epochs"] for result in arm.results}),
        "steps": sorted({result["steps"] for result in arm.results}),
        "train_seconds": sum(result["train_seconds"] for result in arm.results),
    }


def as_markdown(findings: Findings, pictures: Iterable[tuple[str, str]] = ()) -> str:
    """Question, answer, analysis, tables, pictures, protocol and command.

    Args:
        findings: the study's.
        pictures: caption and address of each.
    """
    record = findings.record
    parts = [f"# {record['name']}", f"**{record['question']}**", answer(findings), analysis(findings)]
    if findings.num_missing:
        parts.append(f"{findings.num_missing} runs are still missing.")
    parts.append(markdown_table(*table(findings)))
    parts += [f"{name}: not run: {reason}" for name, reason in findings.not_run.items()]
    parts += [f"![{caption}]({address})" for caption, address in pictures]
    if record["select"]:
        parts += ["All trials on validation:", markdown_table(*trials(findings))]
    parts += ["\n".join(f"- {line}" for line in protocol(findings)), f"    {record['command']}"]
    return "\n\n".join(part for part in parts if part) + "\n"
