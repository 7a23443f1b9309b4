"""``firstlight report``: the results of finished runs as a table, as one HTML file and as Markdown."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from scripts.errors import Parser, UsageError
from studies.record import Findings
from studies.report import publish, write_html
from studies.summary import HEADER, Experiment, as_markdown, gather, read_results, table_rows
from studies.tables import brief_table

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def print_table(experiments: list[Experiment]) -> None:
    """One row an experiment."""
    table = Table(title="Results", title_justify="left")
    for column in HEADER:
        table.add_column(column, justify="left" if column in HEADER[:2] else "right", no_wrap=True)
    for row in table_rows(experiments):
        table.add_row(*row)
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


def replace_table(path: Path, experiments: list[Experiment]) -> None:
    """Rewrite what stands between the two markers.

    Raises:
        UsageError: the file has no markers.
    """
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"{path} has no lines {BEGIN} and {END} to write the table between")
    path.write_text(f"{before}{BEGIN}\n{as_markdown(experiments)}\n{END}{after}")


def main(command: str, options: list[str]) -> list[Experiment]:
    """Print the table of all finished runs found, and write the report."""
    parser = Parser(prog=f"firstlight {command}", description=__doc__)
    parser.add_argument("roots", nargs="*", default=["runs"], help="folders to search for runs (default: runs)")
    parser.add_argument("--readme", metavar="FILE", help="rewrite the results table in this Markdown file")
    parser.add_argument("--html", metavar="FILE", help="where to write the report (default: ROOT/report.html)")
    parser.add_argument(
        "--publish", metavar="DIR", help="also write Markdown and figures of every study, to docs/results"
    )
    args = parser.parse_args(options)
    experiments = gather(read_results(map(Path, args.roots)))
    if not experiments:
        raise UsageError(f"no finished run below {', '.join(args.roots)}: make one with firstlight fit -c CONFIG")
    print_table(experiments)
    if args.readme:
        replace_table(Path(args.readme), experiments)
    root = Path(args.roots[0])
    path = Path(args.html) if args.html else root / "report.html"
    print(f"-> {path}, {write_html(root, path)} sections, {path.stat().st_size / 1e6:.1f} MB")
    if args.publish:
        for page in publish(root, Path(args.publish)):
            print(f"-> {page}")
    return experiments
