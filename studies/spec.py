"""A study's file: a question, variants of a config, seeds, and what answers the question."""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from studies.quotes import check_template

RESULT_FIELDS = ("train_seconds", "num_parameters", "epochs", "steps", "best_epoch")
ALWAYS_SHOWN = ("num_parameters", "train_seconds")
METRIC = re.compile(r"(train|val|test|gap)/\w+|gradient/decades")
PLOTS = {  # and their options
    "curves": ("x",), "bars": ("x",), "against": ("x", "metric", "series"), "gradients": (), "depth": (),
    "share": ("x", "at_least"), "cost": (),
}  # fmt: skip
KEYS = (
    "question", "base", "seeds", "overrides", "variants", "grid", "baseline", "metrics", "select", "optional",
    "not_run", "plots", "figures", "published", "headline", "analysis",
)  # fmt: skip


class SpecError(ValueError):
    """The study's file is wrong; the message says where and how."""


@dataclass(frozen=True)
class Variant:
    """One arm: config files and mappings of overrides, each applied over those before it."""

    name: str
    layers: tuple[Path | dict[str, Any], ...]


@dataclass(frozen=True)
class Study:
    """What a study's file says, checked as far as it can be without the training code.

    Attributes:
        baselines: the variant, or group, that each compared one is compared with.
        select: the validation metric that chooses variants, whose test results alone are reported; or None.
        groups: the group of each variant; one variant of each group is chosen. Empty without ``select``.
        optional: variants that may fail without the study failing.
        not_run: why a variant is not trained unless ``--only`` names it.
        plots: name and options of each plot.
        figures: the runs' own pictures to show, and of which variants.
        published: for each variant or group, dotted places in ``configs/published.yaml``; or places whose children
            are named as variants or groups are.
        headline: what was found, in a few words for a table over all studies; a Jinja2 template, empty where the best
            variant says it.
        analysis: a Jinja2 template that quotes the study's numbers; may be empty.
    """

    name: str
    path: Path
    question: str
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    baselines: dict[str, str]
    metrics: tuple[str, ...]
    select: str | None
    groups: dict[str, str]
    optional: tuple[str, ...]
    not_run: dict[str, str]
    plots: tuple[tuple[str, dict[str, Any]], ...]
    figures: dict[str, list[str]]
    published: dict[str, tuple[str, ...]] | tuple[str, ...]
    headline: str
    analysis: str

    @property
    def names(self) -> tuple[str, ...]:
        """Of variants and of groups: what a published number or a sentence may belong to."""
        return _names([variant.name for variant in self.variants], self.groups)


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets the second of two equal keys win without a word; here it is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        merge = "tag:yaml.org,2002:merge"
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != merge]
        for key in keys:
            if keys.count(key) > 1:
                raise SpecError(f"{key!r} stands twice in one mapping, line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep)


def nested(mapping: dict[str, Any], place: str) -> dict[str, Any]:
    """Dotted keys as nested mappings: ``{"a.b": 1, "a": {"c": 2}}`` is ``{"a": {"b": 1, "c": 2}}``.

    Raises:
        SpecError: a key is given twice, or both as a value and as a mapping.
    """
    result: dict[str, Any] = {}
    for dotted, value in mapping.items():
        if not isinstance(dotted, str):
            raise SpecError(f"{place}: a key must be text, got {dotted!r}")
        for part in reversed(dotted.split(".")):
            value = {part: nested(value, place) if isinstance(value, dict) else value}
        _merge(result, value, place)
    return result


def _merge(into: dict[str, Any], other: dict[str, Any], place: str, path: str = "") -> None:
    for key, value in other.items():
        dotted = f"{path}{key}"
        if key in into and not (isinstance(into[key], dict) and isinstance(value, dict)):
            raise SpecError(f"{place}: {dotted} is given twice")
        if key in into:
            _merge(into[key], value, place, f"{dotted}.")
        else:
            into[key] = value


def read_study(path: Path, configs: Path) -> Study:
    """Read and check a study's file.

    Args:
        path: the file.
        configs: the folder that ``base`` is looked up in, before the file's own.

    Raises:
        SpecError: the file is missing or says something that cannot be.
    """
    try:
        raw = yaml.load(path.read_text(), _UniqueKeys)
    except (OSError, yaml.YAMLError) as error:
        raise SpecError(f"{path}: {' '.join(str(error).split())}") from error
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    try:
        return _study(path, raw, configs)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def _study(path: Path, raw: Any, configs: Path) -> Study:
    if not isinstance(raw, dict):
        raise SpecError(f"expected the keys {', '.join(KEYS)}")
    for key in raw:
        if key not in KEYS:
            raise SpecError(f"unknown key {key!r}: one of {', '.join(KEYS)}")
    if not isinstance(raw.get("question"), str):
        raise SpecError("question is missing: say in one sentence what the study asks")
    variants = tuple(_variants(raw, [configs, path.parent, Path()]))
    names = [variant.name for variant in variants]
    metrics = tuple(_words(raw.get("metrics", ["test/acc"]), "metrics"))
    for metric in metrics:
        if not METRIC.fullmatch(metric) and metric not in RESULT_FIELDS:
            raise SpecError(
                f"metrics: {metric!r} is no metric: train/, val/ or test/NAME, gap/acc, gradient/decades, or "
                + ", ".join(RESULT_FIELDS)
            )
    select, groups = _select(raw.get("select"), names)
    known = _names(names, groups)
    return Study(
        name=path.stem,
        path=path,
        question=" ".join(raw["question"].split()),
        variants=variants,
        seeds=seeds_of(raw.get("seeds", 1)),
        baselines=_baselines(raw.get("baseline"), known, list(dict.fromkeys(groups.values())) or names),
        metrics=metrics,
        select=select,
        groups=groups,
        optional=tuple(_known(_words(raw.get("optional", []), "optional"), names, "optional")),
        not_run=_reasons(raw.get("not_run"), names),
        plots=tuple(_plots(raw.get("plots", ["curves", "bars"]))),
        figures=_figures(raw.get("figures", []), names),
        published=_published(raw.get("published", {}), known),
        headline=_template(raw.get("headline", ""), "headline", known, (*metrics, *ALWAYS_SHOWN)),
        analysis=_template(raw.get("analysis", ""), "analysis", known, (*metrics, *ALWAYS_SHOWN)),
    )


def seeds_of(value: Any) -> tuple[int, ...]:
    """``n`` stands for 0 to n - 1; a list for itself.

    Raises:
        SpecError: neither, or a seed is negative or given twice.
    """
    seeds = list(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise SpecError(f"seeds must be a number >= 1 or a list of numbers >= 0, got {value}")
    if len(set(seeds)) < len(seeds):
        raise SpecError(f"seeds must differ, got {value}")
    return tuple(seeds)


def _mapping(value: Any, place: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SpecError(f"{place} must be a mapping, got {value!r}")
    return value


def _words(value: Any, place: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise SpecError(f"{place} must be a list of names, got {value!r}")
    return value


def _figures(value: Any, names: list[str]) -> dict[str, list[str]]:
    """A list shows pictures of all variants, a mapping those of the variants that it names."""
    if not isinstance(value, dict):
        return {picture: names for picture in _words(value, "figures")}
    places = {picture: f"figures: {picture}" for picture in value}
    return {picture: _known(_words(value[picture], place), names, place) for picture, place in places.items()}


def _base(value: Any, folders: list[Path], place: str) -> tuple[Path, ...]:
    names = [value] if isinstance(value, str) else _words(value, f"{place}base")
    return tuple(_find(name, folders, f"{place}base") for name in names)


def _find(name: str, folders: list[Path], place: str) -> Path:
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise SpecError(f"{place}: there is no {name} in {', '.join(str(folder) for folder in folders)}")


def _variants(raw: dict[str, Any], folders: list[Path]) -> Iterator[Variant]:
    shared = nested(_mapping(raw.get("overrides"), "overrides"), "overrides")
    arms = _mapping(raw.get("variants"), "variants") or {"": {}}
    points = list(_grid_points(_mapping(raw.get("grid"), "grid")))
    base = _base(raw["base"], folders, "") if "base" in raw else ()
    for name, value in arms.items():
        place = f"variant {name!r}"
        changes = dict(_mapping(value, place))
        files = _base(changes.pop("base"), folders, f"{place}: ") if "base" in changes else base
        if not files:
            raise SpecError(f"{place}: no base: name a config such as mnist/mlp.yaml")
        changes = nested(changes, place)
        for label, point in points:
            full = " ".join(part for part in (str(name), label) if part) or files[0].stem
            yield Variant(full, (*files, *(layer for layer in (shared, changes, point) if layer)))


def _grid_points(grid: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise SpecError(f"grid: {key} must be a list of values, got {values!r}")
    short = [key.rsplit(".", 1)[-1] for key in grid]
    labels = [key if short.count(last) > 1 else last for key, last in zip(grid, short, strict=True)]
    for values in itertools.product(*grid.values()):
        label = " ".join(f"{label}={value}" for label, value in zip(labels, values, strict=True))
        yield label, nested(dict(zip(grid, values, strict=True)), "grid")


def _known(given: Iterable[str], names: Iterable[str], place: str) -> list[str]:
    for name in given:
        if name not in names:
            raise SpecError(f"{place}: there is no variant {name!r}: one of {', '.join(names)}")
    return list(given)


def _names(variants: list[str], groups: dict[str, str]) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys([*variants, *groups.values()]) if name)


def _select(value: Any, names: list[str]) -> tuple[str | None, dict[str, str]]:
    """The metric and each variant's group: one group of all, or those that ``within`` names."""
    if value is None:
        return None, {}
    metric, within = value, None
    if isinstance(value, dict) and value.keys() == {"metric", "within"}:
        metric, within = value["metric"], _words(value["within"], "select: within")
    if not isinstance(metric, str) or not metric.startswith("val/"):
        raise SpecError(
            "select must be a validation metric such as val/acc, or {metric: val/acc, within: [names that variants' "
            f"names begin with]}}, got {value!r}"
        )
    groups = {name: _group(name, within) if within else "" for name in names}
    for group in within or []:
        if group not in groups.values():
            raise SpecError(f"select: within: no variant's name begins with {group!r}")
    return metric, groups


def _group(name: str, groups: list[str]) -> str:
    found = [group for group in groups if name == group or name.startswith(f"{group} ")]
    if not found:
        raise SpecError(f"select: within: the name of variant {name!r} begins with none of {', '.join(groups)}")
    return max(found, key=len)


def _reasons(value: Any, names: list[str]) -> dict[str, str]:
    reasons = _mapping(value, "not_run")
    for name in _known(reasons, names, "not_run"):
        if not isinstance(reasons[name], str):
            raise SpecError(f"not_run: say why {name!r} is not run, got {reasons[name]!r}")
    return reasons


def _baselines(value: Any, known: Iterable[str], compared: list[str]) -> dict[str, str]:
    if value is None:
        return {}
    pairs = value if isinstance(value, dict) else {name: value for name in compared if name != value}
    _known([*pairs, *pairs.values()], known, "baseline")
    return dict(pairs)


def _plots(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(value, list):
        raise SpecError(f"plots must be a list, got {value!r}")
    for entry in value:
        name, options = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else (entry, {})
        if name not in PLOTS:
            raise SpecError(f"plots: there is no plot {name!r}: one of {', '.join(PLOTS)}")
        options = {"x": options} if isinstance(options, str) else _mapping(options, f"plots: {name}")
        if unknown := sorted(options.keys() - set(PLOTS[name])):
            known = ", ".join(PLOTS[name]) or "none"
            raise SpecError(f"plots: {name} has no option {unknown[0]!r}: its options are: {known}")
        if name == "against" and "x" not in options:
            raise SpecError("plots: against needs a config's key, such as against: data.init_args.length")
        yield name, options


def _published(value: Any, names: Iterable[str]) -> dict[str, tuple[str, ...]] | tuple[str, ...]:
    """A list of places whose children are named as variants are, or each variant's own place or places."""
    if isinstance(value, list):
        return tuple(_words(value, "published"))
    places = _mapping(value, "published")
    _known(places, names, "published")
    return {
        name: tuple([place] if isinstance(place, str) else _words(place, f"published: {name}"))
        for name, place in places.items()
    }


def _template(value: Any, place: str, names: Iterable[str], metrics: Iterable[str]) -> str:
    if not isinstance(value, str):
        raise SpecError(f"{place} must be text, got {value!r}")
    try:
        check_template(value, place, names, metrics)
    except ValueError as error:
        raise SpecError(str(error)) from error
    return value
