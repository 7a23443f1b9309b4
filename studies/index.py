"""What stands in the repository: each study's page, and one table over all published numbers, from committed summaries.

Everything but :func:`publish` reads ``<folder>/<study>/summary.json`` alone, so it works where nothing was ever run.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

from studies.pages import as_markdown, markdown_table, write_summary
from studies.plots import draw
from studies.published import Claim, Published
from studies.record import Findings
from studies.report import run_pictures, small
from studies.summary import best_of, higher_is_better, piles_up
from studies.wording import NOTHING, metric_name, show, show_values

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
VERDICTS = ("yes", "within the interval", "no")
Summary = dict[str, Any]


def publish(findings: Findings, folder: Path) -> Path | None:
    """Write a study's ``<folder>/<study>.md``, ``<folder>/<study>/summary.json``, ``summary.csv`` and figures.

    What was published from more runs stays as it is; then None is returned.
    """
    name = findings.record["name"]
    page, home = folder / f"{name}.md", folder / name
    before = json.loads((home / "summary.json").read_text()) if (home / "summary.json").exists() else {"variants": []}
    if sum(variant["runs"] for variant in before["variants"]) > sum(len(arm.results) for arm in findings.arms):
        return None
    (home / "figures").mkdir(parents=True, exist_ok=True)
    for old in (home / "figures").iterdir():
        old.unlink()
    drawn = [(caption, svg.stem, svg.with_suffix(".png")) for caption, svg in draw(findings, findings.folder)]
    inside = [(caption, _file_name(caption), path) for caption, path in run_pictures(findings)]
    pictures = []
    for caption, name, path in [*drawn, *inside]:
        target = home / "figures" / f"{name}.png"
        target.write_bytes(small(path))
        pictures.append((caption, target.relative_to(folder).as_posix()))
    write_summary(findings, home)
    page.write_text(as_markdown(findings, pictures))
    return page


def _file_name(caption: str) -> str:
    return "-".join("".join(c if c.isalnum() or c in "._=" else " " for c in caption).split())


def read_summaries(folder: Path) -> list[Summary]:
    """Of every study published in the folder, in alphabetical order."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*/summary.json"))]


def write_index(folder: Path, published: Published) -> Path:
    """Write ``<folder>/index.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.md"
    path.write_text(index(read_summaries(folder), published))
    return path


INTRODUCTION = """\
# Results

Made by `make results` from the summaries in this folder, each of which `firstlight study` computed from its runs.
Ours: the mean of the checkpoints that were best on validation, ± the half-width of the 95 % Student interval over n
seeds. The published numbers are of one seed each; report D's optimisers are of the last epoch, of the others no report
says what chose the epoch, and of none what chose the setting. "Reached" says whether our mean is as good as the
published number; "within the interval", that it is not, but our interval's better end is (or our best seed, where
accuracies pile up at 100 % and no interval is shown). Fewer seeds have wider intervals."""
COLUMNS = ["what", "published", "ours", "n", "difference", "reached", "epochs", "study"]


def index(summaries: list[Summary], published: Published) -> str:
    """Every study with its question, every published number beside ours, and what was not run and why."""
    parts = [INTRODUCTION, "\n".join(f"- [{s['name']}]({s['name']}.md): {s['question']}" for s in summaries)]
    letters = [letter for letter in published.reports if any(claim.report == letter for claim in published.claims)]
    for letter in letters:
        claims = [claim for claim in published.claims if claim.report == letter]
        rows = [row for claim in claims for row in _rows(claim, summaries, published)]
        parts += [f"## Report {letter}: {published.reports[letter]['title']}", markdown_table(COLUMNS, rows)]
    left_out = [
        f"- {summary['name']}, {name}: {reason}" for summary in summaries for name, reason in summary["not_run"].items()
    ]
    if left_out:
        parts += ["## Not run", "\n".join(left_out)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _rows(claim: Claim, summaries: list[Summary], published: Published) -> list[list[str]]:
    """One for each variant of each study beside which it stands; or why there is none."""
    parts = [part.removeprefix(f"{claim.report}_") for part in claim.place.split(".")]
    where = ", ".join(part for part in parts if part not in (claim.report, "accuracy")).replace("_", " ")
    what = f"{where}: {metric_name(claim.metric)}"
    value = claim.value if isinstance(claim.value, str) else show(claim.metric, claim.value)
    rows = []
    for summary in summaries:
        for name, claims in summary["published"].items():
            if any((other["place"], other["metric"]) == (claim.place, claim.metric) for other in claims):
                rows.append([what, value, *_ours(claim, summary, name)])
    if rows:
        return rows
    reason = published.why_not_compared(claim)
    text = f"not compared: {reason}" if reason else "not run: no study of it is published yet"
    return [[what, value, text, *[NOTHING] * (len(COLUMNS) - 3)]]


def _ours(claim: Claim, summary: Summary, name: str) -> list[str]:
    """The cells after the first two of :data:`COLUMNS`."""
    variant_name = summary["chosen"].get(name, name)
    link = f"[{summary['name']}]({summary['name']}.md): {variant_name}"
    cell = next((c for c in summary["cells"] if (c["variant"], c["metric"]) == (variant_name, claim.metric)), None)
    if cell is None:
        reason = summary["not_run"].get(variant_name) or "its runs are not complete"
        return [f"not run: {reason}", *[NOTHING] * (len(COLUMNS) - 4), link]
    variant = next(variant for variant in summary["variants"] if variant["name"] == variant_name)
    ours = show_values(claim.metric, cell["values"].values())
    return [ours, str(cell["n"]), *_compared(claim, cell), _epochs(claim, variant), link]


def _compared(claim: Claim, cell: dict[str, Any]) -> list[str]:
    """Difference, and whether ours is as good."""
    if isinstance(claim.value, str) or cell["mean"] is None:
        return [NOTHING, NOTHING]
    if claim.metric == "train_seconds":
        return [show(claim.metric, cell["mean"] - claim.value, signed=True), "another machine"]
    if claim.metric == "num_parameters":
        return [
            show(claim.metric, cell["mean"] - claim.value, signed=True),
            "yes" if cell["mean"] == claim.value else "no",
        ]
    better_by = cell["mean"] - claim.value if higher_is_better(claim.metric) else claim.value - cell["mean"]
    values = list(cell["values"].values())
    margin = max(values) - cell["mean"] if piles_up(claim.metric, values) else cell["half_width"] or 0.0
    within = better_by >= -margin
    verdict = "yes" if better_by >= 0 else "within the interval" if within else "no"
    return [show(claim.metric, cell["mean"] - claim.value, signed=True), verdict]


def _epochs(claim: Claim, variant: dict[str, Any]) -> str:
    """Ours, and the report's if it is another number."""
    ours = " or ".join(map(str, variant["epochs"]))
    theirs = (claim.protocol or {}).get("epochs")
    return ours if theirs in (None, *variant["epochs"]) else f"{ours} of {theirs}"


def machines_of(summaries: list[Summary]) -> list[str]:
    """Each machine once."""
    return sorted({machine for summary in summaries for machine in summary["machine"].split("; ") if machine})


def readme_table(summaries: list[Summary], link: str) -> str:
    """A line a study: its headline, or its best variant, and how many published numbers it reaches.

    Args:
        summaries: of the studies.
        link: the folder of their pages, as the file that the table goes into names it.
    """
    if not summaries:
        return f"No study is published yet; [{link}/index.md]({link}/index.md) lists the published numbers."
    rows = [_headline(summary, link) for summary in summaries]
    header = ["question", "found", "n", "published numbers reached"]
    machines = machines_of(summaries)
    variants = [variant for summary in summaries for variant in summary["variants"]]
    runs = len({(variant["config_hash"], seed) for variant in variants for seed in variant["seeds"]})
    return f"""\
{markdown_table(header, rows)}

{runs} runs on {"; ".join(machines)}. Mean and 95 % Student interval over n seeds, of the checkpoints that were best on
validation. Every published number beside ours: [{link}/index.md]({link}/index.md)."""


def _headline(summary: Summary, link: str) -> list[str]:
    question = f"[{summary['question']}]({link}/{summary['name']}.md)"
    metric = summary["main_metric"]
    found = [cell for cell in summary["cells"] if cell["metric"] == metric]
    if not found:
        return [question, "not run", *[NOTHING] * 2]
    seeds = sorted({cell["n"] for cell in found})
    if summary["headline"]:
        return [
            question,
            summary["headline"],
            " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1])))),
            _reached(summary),
        ]
    best_name = best_of({cell["variant"]: math.nan if cell["mean"] is None else cell["mean"] for cell in found}, metric)
    best = next(cell for cell in found if cell["variant"] == best_name)
    result = f"{best['variant']}: {metric_name(metric)} {show_values(metric, best['values'].values())}"
    return [question, result, str(best["n"]), _reached(summary)]


def _reached(summary: Summary) -> str:
    """How many of the published numbers that are beside a result, and how many more are within the interval."""
    verdicts = [
        _compared(Claim(**claim), cell)[1]
        for name, claims in summary["published"].items()
        for claim in claims
        for cell in summary["cells"]
        if (cell["variant"], cell["metric"]) == (summary["chosen"].get(name, name), claim["metric"])
    ]
    verdicts = [verdict for verdict in verdicts if verdict in VERDICTS]
    if not verdicts:
        return NOTHING
    within = verdicts.count("within the interval")
    return f"{verdicts.count('yes')} of {len(verdicts)}" + (f", {within} more within the interval" if within else "")


def write_readme(path: Path, folder: Path) -> None:
    """Rewrite what stands between the two markers of a file."""
    path.write_text(with_table(path.read_text(), readme_table(read_summaries(folder), _link(path, folder))))


def _link(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(folder, path.parent)).as_posix()


def with_table(text: str, table: str) -> str:
    """The text with the table between its two markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"
