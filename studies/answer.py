"""What a study found, in a sentence or two."""

from collections.abc import Iterable

from studies.cells import Cell, cells, main_metric, show_cell
from studies.record import Findings
from studies.summary import best_of, higher_is_better, is_accuracy
from studies.wording import metric_name, p_equals, show


def answer(findings: Findings) -> str:
    """What was found, in a sentence or two with the numbers; a difference is claimed only by the paired test."""
    select, metric = findings.record["select"], main_metric(findings)
    found = [cell for cell in cells(findings) if cell.metric == metric]
    if not found:
        return "No run is complete yet."
    compared = any(cell.baseline for cell in found)
    sentences = " ".join(_versus(found, metric)) if compared else _ranking(found, metric)
    return f"Chosen on {metric_name(select)}: {sentences}" if select else sentences


def _ranking(found: list[Cell], metric: str) -> str:
    best_name = best_of({cell.variant: cell.mean for cell in found}, metric)
    best = next(cell for cell in found if cell.variant == best_name)
    name = metric_name(metric)
    if len(found) == 1:
        return f"{best.variant}: {name} {show_cell(best)}{_seeds(best)}."
    rest = sorted((cell for cell in found if cell is not best), key=lambda cell: cell.mean)
    others = "; ".join(f"{cell.variant} {show_cell(cell)}" for cell in rest)
    if len(rest) > 4:
        low, high = (f"{show(metric, cell.mean)} ({cell.variant})" for cell in (rest[0], rest[-1]))
        others = f"the other {len(rest)} lie between {low} and {high}"
    if best.mean == rest[-1 if higher_is_better(metric) else 0].mean:
        return f"No variant has a better mean {name} than {best.variant}, {show_cell(best)}{_seeds(best)}; {others}."
    return f"{best.variant} has the best mean {name}, {show_cell(best)}{_seeds(best)}; {others}."


def _seeds(cell: Cell) -> str:
    """n, where the number does not say it."""
    return "" if " of " in show_cell(cell) else f" (n = {cell.n})"


def _versus(found: list[Cell], metric: str) -> Iterable[str]:
    """A sentence for each baseline, then its variants: told apart, or not."""
    by_name = {cell.variant: cell for cell in found}
    for baseline in dict.fromkeys(cell.baseline for cell in found if cell.baseline):
        base = by_name[baseline]
        parts = [_against(base, cell) for cell in found if cell.baseline == baseline]
        yield f"{baseline}: {metric_name(metric)} {show_cell(base)}{_seeds(base)}; {'; '.join(parts)}."


def _against(base: Cell, cell: Cell) -> str:
    unit = " points" if is_accuracy(cell.metric) else ""
    if cell.n == 1:
        return f"{cell.variant} {show(cell.metric, cell.mean)} (one seed: no test)"
    if all(base.values.get(seed, value) == value for seed, value in cell.values.items()):
        return f"{cell.variant} equals it on every seed"
    if cell.p_holm is None:
        return f"{cell.variant} {show(cell.metric, cell.mean)} (no test)"
    if cell.p_holm < 0.05:
        size = show(cell.metric, abs(cell.difference), cell.difference_half_width).replace("%", "")
        where = "above" if cell.difference > 0 else "below"
        return f"{cell.variant} is {size}{unit} {where} it ({p_equals(cell.p_holm)})"
    difference = show(cell.metric, cell.difference, cell.difference_half_width, signed=True)
    return f"{cell.variant} is not told apart from it ({difference}{unit}, {p_equals(cell.p_holm)})"
