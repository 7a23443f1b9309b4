"""Configs resolved and checked as ``firstlight fit`` would, with nothing trained and nothing written."""

import contextlib
from pathlib import Path
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from datamodules import DataError
from scripts.cli import RUN_OPTIONS, FirstlightCLI
from scripts.errors import UsageError, one_line
from scripts.run_directory import experiment_name
from scripts.trained import load_weights


class _ParserReady(Exception):
    """Ends the construction of a command line that is only to parse."""


class ConfigResolver(FirstlightCLI):
    """The parser of ``fit`` alone: resolves and checks configs, trains nothing and writes nothing."""

    def __init__(self) -> None:
        with contextlib.suppress(_ParserReady):
            super().__init__(["fit"])

    def parse_arguments(self, parser: LightningArgumentParser, args: list[str]) -> None:
        """The parser stands; there are no arguments yet."""
        raise _ParserReady

    def resolve(self, files: list[Path]) -> dict[str, Any]:
        """Config files, each over those before it, as the plain config that a run of them would save.

        Raises:
            UsageError: a file is wrong, or a constructor of the data or the model refuses its arguments.
        """
        words = [word for path in files for word in ("-c", str(path))]
        super().parse_arguments(self.parser, ["fit", *words])
        config = self.config["fit"]
        config.experiment = config.experiment or experiment_name([str(files[0])], config)
        plain = self.plain_config()
        try:
            objects = self.parser.instantiate_classes(self.config)
        except (ValueError, TypeError, OSError, DataError, MisconfigurationException) as error:
            raise UsageError(one_line(error)) from error
        if config.weights:
            load_weights(objects["fit"].model, Path(config.weights))
        return {name: value for name, value in plain.items() if name not in RUN_OPTIONS}
