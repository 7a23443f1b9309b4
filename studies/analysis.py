"""A study's analysis: sentences that take their numbers from its cells."""

import math
from pathlib import Path

from jinja2 import Environment, TemplateError

from studies.cells import Cell, cells, show_cell
from studies.quotes import QUOTES
from studies.record import Findings
from studies.runs import read_history
from studies.summary import best_of, is_accuracy
from studies.wording import metric_name, p_equals, show, show_claims


class Quotes:
    """What an analysis may call; each of :data:`studies.quotes.QUOTES` is a method.

    A variant may be a group's name, which stands for the group's chosen variant. A number that there is not is NaN or
    an empty text, and its variant is added to ``missing``.

    Args:
        findings: the study's.
    """

    def __init__(self, findings: Findings):
        self.findings = findings
        self.missing: list[str] = []
        self._cells = {(cell.variant, cell.metric): cell for cell in cells(findings)}

    def _cell(self, variant: str, metric: str) -> Cell | None:
        name = self.findings.chosen.get(variant, variant)
        cell = self._cells.get((name, metric))
        if cell is None and variant not in self.missing:
            self.missing.append(variant)
        return cell

    def mean(self, variant: str, metric: str = "test/acc") -> float:
        """As a number, for conditions."""
        cell = self._cell(variant, metric)
        return cell.mean if cell else math.nan

    def value(self, variant: str, metric: str = "test/acc") -> str:
        """Mean and interval as tables show them."""
        return show_cell(self._cell(variant, metric))

    def n(self, variant: str) -> int:
        """Seeds."""
        cell = self._cell(variant, "num_parameters")
        return cell.n if cell else 0

    def ran(self, variant: str) -> bool:
        """Whether there is a result; asking is not quoting."""
        name = self.findings.chosen.get(variant, variant)
        return (name, "num_parameters") in self._cells

    def published(self, variant: str, metric: str = "test/acc") -> str:
        """The published numbers, or words."""
        found = self.findings.record["published"]
        return show_claims(self.findings.claims(variant if variant in found else self.chosen(variant), metric))

    def difference(self, variant: str, metric: str = "test/acc") -> str:
        """To the baseline on the same seeds, with its interval and unit: ``+0.42 ± 0.10 points``."""
        cell = self._cell(variant, metric)
        if cell is None or cell.difference is None:
            return ""
        unit = " points" if is_accuracy(metric) else ""
        return show(metric, cell.difference, cell.difference_half_width, signed=True) + unit

    def p(self, variant: str, metric: str = "test/acc") -> str:
        """Of the paired test against the baseline, after Holm: ``p = 0.003``."""
        cell = self._cell(variant, metric)
        return p_equals(cell.p_holm) if cell and cell.p_holm is not None else "no test with one seed"

    def share(self, variant: str, metric: str, at_least: float) -> str:
        """How many seeds reach a value: ``14 of 20``."""
        cell = self._cell(variant, metric)
        return f"{sum(value >= at_least for value in cell.values.values())} of {cell.n}" if cell else ""

    def lowest(self, variant: str, metric: str = "test/acc") -> str:
        """Of all seeds."""
        cell = self._cell(variant, metric)
        return show(metric, min(cell.values.values())) if cell else ""

    def highest(self, variant: str, metric: str = "test/acc") -> str:
        """Of all seeds."""
        cell = self._cell(variant, metric)
        return show(metric, max(cell.values.values())) if cell else ""

    def turn(self, variant: str, history: str) -> str:
        """The epoch after which a metric of the history, such as ``val/loss``, is best on each seed: ``6, 5, 6``."""
        arm = self.findings.arm(self.chosen(variant))
        found = [read_history(Path(result["path"]), history) for result in arm.results]
        if not all(found) or not found:
            self.missing.append(variant)
        return ", ".join(str(best_of(values, history)) for values in found if values)

    def seconds(self, variant: str) -> str:
        """Of training and validation, mean over the seeds."""
        return self._mean_only(variant, "train_seconds")

    def parameters(self, variant: str) -> str:
        """Of the network."""
        return self._mean_only(variant, "num_parameters")

    def _mean_only(self, variant: str, metric: str) -> str:
        cell = self._cell(variant, metric)
        return show(metric, cell.mean) if cell else ""

    def chosen(self, variant: str) -> str:
        """The variant that a group's name stands for."""
        return self.findings.chosen.get(variant, variant)

    def best(self, metric: str = "test/acc") -> str:
        """The variant with the best mean."""
        return self._extreme(metric)

    def worst(self, metric: str = "test/acc") -> str:
        """The variant with the worst mean."""
        return self._extreme(metric, worst=True)

    def _extreme(self, metric: str, worst: bool = False) -> str:
        means = {cell.variant: cell.mean for (_, name), cell in self._cells.items() if name == metric}
        if not means:
            self.missing.append(metric_name(metric))
            return ""
        return best_of(means, metric, worst)

    def waiting(self, variant: str) -> str:
        """A missing variant with what is known of it."""
        reason = self.findings.not_run.get(variant)
        return f"{variant} (not run: {reason})" if reason else variant


def analysis(findings: Findings) -> str:
    """The study's analysis with its numbers, or what it waits for; empty where the study has none.

    Raises:
        ValueError: the template fails.
    """
    text, quotes = _render(findings, "analysis")
    if quotes.missing:
        return f"The analysis waits for runs of {', '.join(map(quotes.waiting, quotes.missing))}."
    return text


def headline(findings: Findings) -> str:
    """What was found in a few words; empty where the study has none, or not yet the runs that it quotes.

    Raises:
        ValueError: the template fails.
    """
    text, quotes = _render(findings, "headline")
    return "" if quotes.missing else text


def _render(findings: Findings, key: str) -> tuple[str, Quotes]:
    quotes = Quotes(findings)
    template = findings.record.get(key, "")  # records of before have no headline
    try:
        text = Environment().from_string(template).render({name: getattr(quotes, name) for name in QUOTES})
    except (TemplateError, TypeError, ValueError) as error:
        raise ValueError(f"the {key} of {findings.record['name']} fails: {error}") from error
    return " ".join(text.split()), quotes
