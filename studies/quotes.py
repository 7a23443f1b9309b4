"""What a study's analysis may call, and a look at its template before anything is trained."""

from collections.abc import Iterable

from jinja2 import Environment, TemplateError, nodes
from jinja2.meta import find_undeclared_variables

# With the names of its arguments; studies/analysis.py says what each returns.
QUOTES = {
    "mean": ("variant", "metric"), "value": ("variant", "metric"), "n": ("variant",), "ran": ("variant",),
    "published": ("variant", "metric"), "difference": ("variant", "metric"), "p": ("variant", "metric"),
    "share": ("variant", "metric", "at_least"), "lowest": ("variant", "metric"), "highest": ("variant", "metric"),
    "seconds": ("variant",), "parameters": ("variant",), "chosen": ("variant",), "turn": ("variant", "history"),
    "best": ("metric",), "worst": ("metric",),
}  # fmt: skip


def check_template(value: str, key: str, names: Iterable[str], metrics: Iterable[str]) -> None:
    """Look at everything that an analysis or a headline names.

    Args:
        value: the Jinja2 template.
        key: of the study's file, where it stands.
        names: of variants and groups.
        metrics: that may be quoted.

    Raises:
        ValueError: the template is none, or names what there is not.
    """
    environment = Environment()
    try:
        tree = environment.parse(value)
        environment.compile(tree)  # finds filters and tests that there are not
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise ValueError(f"{key}: {error}" + (f", its line {line}" if line else "")) from error
    for name in sorted(find_undeclared_variables(tree) - QUOTES.keys()):
        raise ValueError(f"{key}: there is no {name!r}: one of {', '.join(QUOTES)}")
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name in QUOTES:
            _check_quote(call, key, names, metrics)


def _check_quote(call: nodes.Call, key: str, names: Iterable[str], metrics: Iterable[str]) -> None:
    place = f"{key}, its line {call.lineno}: {call.node.name}"
    arguments = QUOTES[call.node.name]
    given = [*zip(arguments, call.args, strict=False), *((word.key, word.value) for word in call.kwargs)]
    if len(call.args) > len(arguments) or any(name not in arguments for name, _ in given):
        raise ValueError(f"{place} takes {', '.join(arguments)}")
    for name, argument in given:
        allowed = {"variant": names, "metric": metrics}.get(name)
        if allowed and isinstance(argument, nodes.Const) and argument.value not in allowed:
            raise ValueError(f"{place}: there is no {name} {argument.value!r}: one of {', '.join(allowed)}")
