"""The published numbers of ``configs/published.yaml``, each by its dotted place and the metric that it is one of."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from studies.spec import ALWAYS_SHOWN, METRIC
from studies.summary import higher_is_better

Places = dict[str, tuple[str, ...]] | tuple[str, ...]
INHERITED = ("report", "protocol", "note")
CONTEXT = ("reports", "not_compared", *INHERITED)


@dataclass(frozen=True)
class Claim:
    """One published number.

    Attributes:
        place: dotted keys that lead to the mapping that holds it.
        metric: its key there.
        value: the number, or words where the report has no number; of a list, an epoch each, the best.
        report: the letter of the report.
        title: the report's.
        protocol: how it was measured, as far as the report says.
        note: what else is known about it.
    """

    place: str
    metric: str
    value: float | str
    report: str
    title: str
    protocol: dict[str, Any] | None
    note: str | None


class Published:
    """A file of published numbers.

    Args:
        path: the file.
    """

    def __init__(self, path: Path):
        everything = yaml.safe_load(path.read_text())
        self.reports: dict[str, dict[str, Any]] = everything["reports"]
        self.not_compared: dict[str, str] = everything["not_compared"]
        self.places: set[str] = set()
        self.claims = list(self._claims(everything, "", {}))

    def _claims(self, node: dict[Any, Any], place: str, context: dict[str, Any]) -> Iterator[Claim]:
        self.places.add(place)
        context = context | {key: node[key] for key in INHERITED if key in node}
        for key, value in node.items():
            if METRIC.fullmatch(str(key)) or key in ALWAYS_SHOWN:
                yield self._claim(place, key, value, context)
            elif isinstance(value, dict) and key not in CONTEXT:
                yield from self._claims(value, f"{place}.{key}".lstrip("."), context)

    def _claim(self, place: str, metric: str, value: Any, context: dict[str, Any]) -> Claim:
        note = context.get("note")
        if isinstance(value, list):
            best = (max if higher_is_better(metric) else min)(value)
            note = "; ".join(filter(None, [f"the best of {len(value)} epochs, epoch {value.index(best) + 1}", note]))
            value = best
        title = self.reports[context["report"]]["title"]
        return Claim(place, metric, value, context["report"], title, context.get("protocol"), note)

    def at(self, place: str) -> list[Claim]:
        """What a place holds.

        Raises:
            KeyError: there is no such place, or no number there.
        """
        found = [claim for claim in self.claims if claim.place == place]
        if not found:
            known = place in self.places
            raise KeyError(f"{'there is no number at' if known else 'there is no'} {place} in the published results")
        return found

    def of(self, places: Places, names: tuple[str, ...]) -> dict[str, list[Claim]]:
        """What a study's ``published`` names.

        Args:
            places: of each variant; or places whose children are looked up by the names.
            names: of variants and groups.

        Raises:
            KeyError: a place holds no number, or none of its children is named as a variant is.
        """
        if isinstance(places, dict):
            return {name: [claim for place in found for claim in self.at(place)] for name, found in places.items()}
        found = {
            name: [claim for claim in self.claims if claim.place in {f"{place}.{name}" for place in places}]
            for name in names
        }
        for place in places:
            if place not in self.places:
                self.at(place)
            if not any(claim.place.startswith(f"{place}.") for claims in found.values() for claim in claims):
                raise KeyError(f"no variant is named as a number below {place} in the published results")
        return {name: claims for name, claims in found.items() if claims}

    def why_not_compared(self, claim: Claim) -> str | None:
        """The stated reason: of its metric, of its place, or of a place that it lies in."""
        for key, reason in self.not_compared.items():
            if claim.metric == key or f"{claim.place}.".startswith(f"{key}."):
                return reason
        return None
