"""``firstlight report``: the results of finished runs as a table, as one HTML file and as Markdown."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from configs import CONFIGS
from scripts.errors import Parser, UsageError
from studies.index import BEGIN, END, publish, write_index, write_readme
from studies.published import Published
from studies.record import Findings
from studies.report import find_studies, write_html
from studies.summary import Experiment, gather, read_results
from studies.tables import brief_table
from studies.wording import NOTHING, show_values

PUBLISHED = CONFIGS / "published.yaml"


def print_table(experiments: list[Experiment]) -> None:
    """One row an experiment."""
    table = Table(title="Results", title_justify="left")
    for column in ("experiment", "config", "test accuracy", "n", "parameters", "seconds"):
        table.add_column(column, justify="left" if column in ("experiment", "config") else "right", no_wrap=True)
    for experiment in experiments:
        accuracies = experiment.by_seed("test/acc").values()
        table.add_row(
            experiment.name,
            experiment.config_name,
            show_values("test/acc", accuracies) if accuracies else NOTHING,
            str(len(experiment.results)),
            f"{experiment.num_parameters:,}",
            f"{experiment.train_seconds:.1f}",
        )
    _print(table)


def _print(table: Table) -> None:
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width of its own
        console.width = 120
    console.print(table)


def print_findings(findings: Findings) -> None:
    """A study's table."""
    table = Table(title=findings.record["question"], title_justify="left")
    header, rows = brief_table(findings)
    for column in header:
        table.add_column(column, justify="left" if column == "variant" else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    _print(table)


def main(command: str, options: list[str]) -> list[Experiment]:
    """Print the table of all finished runs found, and write the report."""
    parser = Parser(prog=f"firstlight {command}", description=__doc__)
    parser.add_argument("roots", nargs="*", default=["runs"], help="folders to search for runs (default: runs)")
    parser.add_argument(
        "--html", metavar="FILE", help="where to write the report (default: report.html in the first of them)"
    )
    parser.add_argument(
        "--publish",
        metavar="DIR",
        help="write every finished study's summary, figures and page to DIR, and DIR/index.md over all that are there; "
        "needs no runs",
    )
    parser.add_argument("--readme", metavar="FILE", help="rewrite this file's results table; needs --publish")
    args = parser.parse_args(options)
    if args.readme and not args.publish:
        raise UsageError("--readme needs --publish DIR: its table is made of the summaries there")
    if args.readme and not Path(args.readme).is_file():
        raise UsageError(f"--readme {args.readme}: there is no such file")
    if args.readme and not {BEGIN, END} <= set(Path(args.readme).read_text().splitlines()):
        raise UsageError(f"{args.readme} has no lines {BEGIN} and {END} to write the table between")
    roots = list(map(Path, args.roots))
    experiments = gather(read_results(roots))
    if not experiments and not args.publish:
        raise UsageError(f"no finished run below {', '.join(args.roots)}: make one with firstlight fit -c CONFIG")
    if experiments:
        print_table(experiments)
        path = Path(args.html) if args.html else roots[0] / "report.html"
        print(f"-> {path}, {write_html(roots, path)} sections, {path.stat().st_size / 1e6:.1f} MB")
    if args.publish:
        _publish(roots, Path(args.publish), args.readme and Path(args.readme))
    return experiments


def _publish(roots: list[Path], folder: Path, readme: Path | None) -> None:
    for findings in (findings for root in roots for findings in find_studies(root)):
        if findings.num_missing:
            print(f"{findings.record['name']} is not published: {findings.num_missing} of its runs are missing")
        else:
            page = publish(findings, folder)
            print(
                f"-> {page}" if page else f"{findings.record['name']} stays as published: from more runs than are here"
            )
    print(f"-> {write_index(folder, Published(PUBLISHED))}")
    if readme:
        write_readme(readme, folder)
        print(f"-> {readme}")
