"""What a worker process does for a study: resolve its variants, and train one run after the other."""

import os
import tempfile
from pathlib import Path
from typing import Any

import yaml

from scripts.errors import UsageError
from studies.spec import SpecError, Variant


def resolve(variants: tuple[Variant, ...]) -> list[dict[str, Any]]:
    """Each variant's config as a run of it would save it.

    Raises:
        SpecError: the first mistake.
    """
    from scripts.quiet import quieten
    from scripts.resolver import ConfigResolver

    quieten()
    resolver = ConfigResolver()
    return [_resolve(resolver, variant) for variant in variants]


def _resolve(resolver: Any, variant: Variant) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, layer in enumerate(variant.layers):
            if isinstance(layer, dict):
                path = Path(folder, f"overrides-{number}.yaml")
                path.write_text(yaml.safe_dump(layer, sort_keys=False))
                layer = path
            files.append(layer)
        try:
            return resolver.resolve(files)
        except UsageError as error:
            raise SpecError(f"variant {variant.name!r}: {error}") from error


def train(run_dir: Path) -> None:
    """Start the run whose ``config.yaml`` lies in the directory, or continue it from its last checkpoint.

    Raises:
        SystemExit: with the message, where the run's config or data are wrong.
    """
    import torch

    from scripts.main import main

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # which was read for all workers when torch was imported
    try:
        main(["fit", "--run", str(run_dir)])
    except SystemExit as error:
        if isinstance(error.__cause__, UsageError):
            raise SystemExit(str(error.__cause__)) from error.__cause__
        raise
