"""One HTML file with every study and single run found, and Markdown for the repository; nothing is trained."""

import base64
import html
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from studies.analysis import analysis
from studies.answer import answer
from studies.axes import INK
from studies.pages import write_summary
from studies.plots import draw
from studies.protocol import protocol
from studies.record import FOLDER, Findings, read_findings
from studies.runs import complete_runs
from studies.summary import Experiment, gather, read_results
from studies.tables import table, trials
from studies.wording import metric_name, show, show_values

PICTURE_SIZE, PICTURE_COLOURS = (640, 720), 256


@dataclass(frozen=True)
class LayerTable:
    """What a run's ``layers.md`` holds: one row a layer, the sum of parameters, the chain of shapes."""

    header: list[str]
    rows: list[list[str]]
    notes: list[str]


def read_layers(path: Path) -> LayerTable | None:
    """None if the run has no layer table."""
    if not path.exists():
        return None
    lines = path.read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return LayerTable(cells[0], cells[2:], [line for line in lines if line and not line.startswith("|")])


@dataclass(frozen=True)
class Section:
    """A study or a single experiment, ready for the template."""

    anchor: str
    title: str
    question: str
    answer: str
    analysis: str
    missing: int
    not_run: dict[str, str]
    tables: list[tuple[str, list[str], list[list[str]]]]
    figures: list[Markup]
    pictures: list[tuple[str, str]]
    layers: list[tuple[str, LayerTable]]
    protocol: list[str]
    command: str


def find_studies(root: Path) -> list[Findings]:
    """Every study with a record below ``root``, in alphabetical order."""
    complete = complete_runs(root)
    return [read_findings(path.parent, root, complete) for path in sorted((root / FOLDER).glob("*/study.json"))]


def study_section(findings: Findings) -> Section:
    """Draws the study's figures and rewrites its tables on the way."""
    drawn = draw(findings, findings.folder)
    write_summary(findings, findings.folder)
    first = [(arm.name, Path(arm.results[0]["path"])) for arm in findings.reported if arm.results]
    tables = [("", *table(findings))]
    if findings.record["select"]:
        tables.append(("All trials on validation", *trials(findings)))
    return Section(
        anchor=f"study-{findings.record['name']}",
        title=findings.record["name"],
        question=findings.record["question"],
        answer=answer(findings),
        analysis=analysis(findings),
        missing=findings.num_missing,
        not_run=findings.not_run,
        tables=tables,
        figures=[inline_svg(caption, path) for caption, path in drawn],
        pictures=[(caption, data_uri(path)) for caption, path in run_pictures(findings)],
        layers=list(_distinct_layers(first)),
        protocol=protocol(findings),
        command=findings.record["command"],
    )


def run_pictures(findings: Findings) -> list[tuple[str, Path]]:
    """Caption and file of the runs' own pictures that the study asks for, of each reported variant's first seed."""
    first = [(arm.name, arm.results[0]) for arm in findings.reported if arm.results]
    return [
        (f"{name}, seed {result['seed']}: {picture.replace('_', ' ')}", path)
        for picture, names in findings.record["figures"].items()
        for name, result in first
        if name in names and (path := Path(result["path"], "figures", f"{picture}.png")).exists()
    ]


def _distinct_layers(runs: Iterable[tuple[str, Path]]) -> Iterable[tuple[str, LayerTable]]:
    """One table for all variants with the same layers."""
    names: dict[str, list[str]] = {}
    paths: dict[str, Path] = {}
    for name, run in runs:
        path = run / "layers.md"
        if path.exists():
            text = path.read_text()
            names.setdefault(text, []).append(name)
            paths.setdefault(text, path)
    return [("; ".join(names[text]), read_layers(path)) for text, path in paths.items()]


def run_section(experiment: Experiment) -> Section:
    """Runs of one config that belong to no study."""
    first = experiment.results[-1]
    run = Path(first["path"])
    metrics = first["metrics"]
    splits = [split for split in ("train", "val", "test") if f"{split}/acc" in metrics]
    names = [f"{split}/{name}" for split in splits for name in ("acc", "loss")]
    rows = [
        [f"seed {result['seed']}", *(show(name, result["metrics"][name]) for name in names)]
        for result in experiment.results
    ]
    layers = read_layers(run / "layers.md")
    versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    accuracies = experiment.by_seed("test/acc").values()
    return Section(
        anchor=f"run-{experiment.name}-{experiment.config_hash}-{experiment.num_processes}",
        title=f"{experiment.name} ({experiment.config_name})",
        question="",
        answer=f"Test accuracy {show_values('test/acc', accuracies)} (n = {len(accuracies)}), "
        f"{experiment.num_parameters:,} parameters, {experiment.train_seconds:.1f} s of training.",
        analysis="",
        missing=0,
        not_run={},
        tables=[("", ["run", *map(metric_name, names)], rows)],
        figures=[],
        pictures=[(path.stem.replace("_", " "), data_uri(path)) for path in sorted((run / "figures").glob("*.png"))],
        layers=[(experiment.name, layers)] if layers else [],
        protocol=[
            f"{first['epochs']} epochs, {first['steps']:,} steps; best on validation: epoch {first['best_epoch'] + 1}.",
            f"Machine: {first['device']}, {first['num_threads']} thread(s).",
            f"Versions: {versions}.",
        ],
        command=f"firstlight fit -c {run / 'config.yaml'}",
    )


def unbroken(cell: str) -> str:
    """A number's words kept on one line, but for what follows it in brackets; a report's words may break."""
    if cell[:1].isalpha():
        return cell
    return cell.replace(" ", "\u00a0").replace("\u00a0(", " (")


def inline_svg(caption: str, path: Path) -> Markup:
    """The SVG without its prologue, as wide as its place, its ink in the page's text colour."""
    text = path.read_text()
    text = text[text.index("<svg") :]
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', rf'\1 role="img" aria-label="{html.escape(caption)}"', text, count=1)
    return Markup(re.sub(INK, "currentColor", text, flags=re.IGNORECASE))


def data_uri(path: Path) -> str:
    """A picture inside the page."""
    return f"data:image/png;base64,{base64.b64encode(small(path)).decode()}"


def small(path: Path) -> bytes:
    """A picture for a page or the repository: in ``PICTURE_SIZE`` (width, height), with ``PICTURE_COLOURS`` colours."""
    picture = Image.open(path).convert("RGB")
    picture.thumbnail(PICTURE_SIZE)
    data = io.BytesIO()
    picture.quantize(PICTURE_COLOURS, dither=Image.Dither.NONE).save(data, "png", optimize=True)
    return data.getvalue()


def _identity(result: dict[str, Any]) -> tuple[str, int, int]:
    return result["config_hash"], result["seed"], result.get("num_processes", 1)


def write_html(roots: list[Path], path: Path) -> int:
    """Write the report over folders of runs; returns the number of its sections."""
    studies = [findings for root in roots for findings in find_studies(root)]
    shown = {_identity(result) for findings in studies for arm in findings.arms for result in arm.results}
    alone = gather(result for result in read_results(roots) if _identity(result) not in shown)
    sections = {
        "Studies": [study_section(findings) for findings in studies],
        "Single experiments": [run_section(experiment) for experiment in alone],
    }
    environment = Environment(loader=PackageLoader("studies", "."), autoescape=True, undefined=StrictUndefined)
    environment.filters["unbroken"] = unbroken
    page = environment.get_template("report.html.j2").render(parts=sections)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page)
    return sum(map(len, sections.values()))
