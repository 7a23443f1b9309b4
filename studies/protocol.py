"""How a study's numbers came about: budgets, seeds, statistics, sources, machine, versions."""

from collections import Counter
from typing import Any

from studies.cells import equal_parameters, main_metric
from studies.published import Claim
from studies.record import Findings
from studies.wording import metric_name, show, show_claims

PRECISIONS = {
    None: "float32", "32-true": "float32", "64-true": "float64",
    "bf16-mixed": "bfloat16, with weights, sums and losses in float32",
}  # fmt: skip


def protocol(findings: Findings) -> list[str]:
    """How the numbers came about: budgets, seeds, statistics, machine, versions."""
    results = [result for arm in findings.arms for result in arm.results]
    lines = [_budget(findings)] if results else []
    lines += _precision(findings)
    if (number := equal_parameters(findings)) is not None:
        lines.append(f"Every variant has {show('num_parameters', number)} parameters.")
    lines.append(f"Seeds: {', '.join(map(str, findings.record['seeds']))}.")
    lines.append(
        "Test and validation numbers are of the checkpoint that was best on validation, training numbers of its epoch, "
        "the mean over its batches unless in evaluation mode; the test set chose nothing. "
        "mean ± half-width of the 95 % Student interval over n seeds; where that would reach beyond 100 %, the lowest "
        "and the highest seed, or how many reach 100 %. Seconds are means of wall time of training and validation."
    )
    if findings.record["baselines"]:
        lines.append(
            "Differences to the baseline: on the same seeds, two-sided paired t-test, Holm's correction over all "
            f"comparisons on one metric. They and p are of {metric_name(main_metric(findings))}."
        )
    lines += _selection(findings)
    lines += [f"Not run: {name}: {reason}" for name, reason in findings.not_run.items()]
    lines += _published(findings)
    if results:
        versions = sorted({", ".join(f"{k} {v}" for k, v in r["versions"].items()) for r in results})
        lines += [f"Machine: {machine(findings)}.", f"Versions: {'; '.join(versions)}."]
    return lines


def _precision(findings: Findings) -> list[str]:
    """What the networks computed in."""
    names: dict[str, list[str]] = {}
    for arm in (arm for arm in findings.arms if arm.results):
        precision = findings.config(arm.name).get("trainer", {}).get("precision")
        names.setdefault(PRECISIONS.get(precision, precision), []).append(arm.name)
    if len(names) == 1:
        return [f"Computed in {next(iter(names))}."]
    return [f"Computed in {precision}: {'; '.join(group)}." for precision, group in names.items()]


def machine(findings: Findings) -> str:
    """Where the runs ran."""
    results = [result for arm in findings.arms for result in arm.results]
    return "; ".join(sorted({f"{r['device']}, {r['num_threads']} thread(s) a run" for r in results}))


def _selection(findings: Findings) -> list[str]:
    """How many trials each group had."""
    if not findings.record["select"]:
        return []
    trials = Counter(findings.record["groups"].values())
    metric = metric_name(findings.record["select"])
    if len(trials) == 1:
        return [f"One of {len(findings.arms)} trials was chosen on {metric}; only its test results are reported."]
    counts = f"{next(iter(trials.values()))} trials each for {', '.join(trials)}"
    if len(set(trials.values())) > 1:
        counts = f"unequal numbers of trials: {', '.join(f'{name} {count}' for name, count in trials.items())}"
    return [f"One trial of each was chosen on {metric}; only their test results are reported; {counts}."]


def _published(findings: Findings) -> list[str]:
    """Where the published numbers come from and how they were measured, as far as that is said."""
    sources: dict[str, list[str]] = {}
    for name, claims in findings.record["published"].items():
        for claim in (Claim(**claim) for claim in claims):
            place = "; ".join(part for part in (f"{claim.title}, one seed", _words(claim.protocol), claim.note) if part)
            sources.setdefault(place, []).append(f"{name} {metric_name(claim.metric)} {show_claims([claim])}")
    return [f"Published ({source}): {', '.join(texts)}." for source, texts in sources.items()]


def _words(protocol: dict[str, Any] | None) -> str:
    return ", ".join(f"{key} {value}" for key, value in (protocol or {}).items())


def _budget(findings: Findings) -> str:
    budgets = {
        arm.name: sorted({(result["epochs"], result["steps"]) for result in arm.results})
        for arm in findings.arms
        if arm.results
    }
    names: dict[str, list[str]] = {}
    for name, pairs in budgets.items():
        names.setdefault(" or ".join(f"{e} epochs, {s:,} steps" for e, s in pairs), []).append(name)
    if len(names) == 1:
        return f"Equal budgets: every variant trained for {next(iter(names))}."
    return "Budgets differ. " + " ".join(f"{budget}: {'; '.join(group)}." for budget, group in names.items())
