"""How a metric is called and how its numbers are shown, in tables, sentences and figures alike."""

import math
from collections.abc import Iterable

from studies.published import Claim
from studies.summary import is_accuracy, is_gap, piles_up, student_interval

NAMES = {
    "train_seconds": "seconds", "num_parameters": "parameters", "best_epoch": "best epoch",
    "gradient/decades": "decades of gradient lost",
}  # fmt: skip
NOTHING = "-"
SPLITS = {"train": "training", "val": "validation", "test": "test", "gap": "training minus test"}


def metric_name(metric: str) -> str:
    """``test/acc`` is test accuracy."""
    if metric in NAMES or "/" not in metric:
        return NAMES.get(metric, metric)
    split, name = metric.split("/", 1)
    short = name.removeprefix("eval_")
    mode = "" if short == name else " in evaluation mode"
    return f"{SPLITS[split]} {'accuracy' if short == 'acc' else short}{mode}"


def show(metric: str, mean: float, half_width: float | None = None, signed: bool = False) -> str:
    """A number in the metric's unit: accuracies in percent, differences of them in points."""
    sign = "+" if signed else ""
    if is_accuracy(metric):
        text = f"{_rounded(100 * mean, 2):{sign}.2f}" + ("" if signed or is_gap(metric) else "%")
        return text if half_width is None else f"{text} ± {100 * half_width:.2f}"
    if metric in ("num_parameters", "steps", "epochs"):
        return f"{mean:{sign},.0f}"
    digits = {"train_seconds": 1, "best_epoch": 1, "gradient/decades": 2}.get(metric, 4)
    text = f"{_rounded(mean, digits):{sign}.{digits}f}"
    return text if half_width is None else f"{text} ± {half_width:.{digits}f}"


def _rounded(number: float, digits: int) -> float:
    """Without a negative zero."""
    return round(number, digits) + 0.0


def show_values(metric: str, values: Iterable[float]) -> str:
    """Mean and 95 % Student interval over seeds.

    Student's interval takes the values for normal. Where accuracies pile up at 100 % there stands in its place how many
    seeds reach 100 %, if half of them or more do, else the lowest and the highest.
    """
    values = list(values)
    interval = student_interval(values)
    if piles_up(metric, values):
        perfect = values.count(1.0)
        if 2 * perfect >= interval.n:
            return f"{show(metric, interval.mean)} ({perfect} of {interval.n} at 100%)"
        return f"{show(metric, interval.mean)} ({show(metric, min(values))[:-1]} to {show(metric, max(values))})"
    return show(metric, interval.mean, None if math.isnan(interval.half_width) else interval.half_width)


def show_claims(claims: Iterable[Claim]) -> str:
    """Published numbers of one metric, or the report's words."""
    texts = [claim.value if isinstance(claim.value, str) else show(claim.metric, claim.value) for claim in claims]
    return " / ".join(dict.fromkeys(texts)) or NOTHING


def p_text(p: float | None) -> str:
    """A p-value as papers print it."""
    if p is None:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def p_equals(p: float) -> str:
    """As a sentence has it."""
    text = p_text(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"
