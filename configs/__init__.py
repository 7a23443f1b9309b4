"""The YAML files that ship with the project."""

from pathlib import Path

CONFIGS = Path(__file__).resolve().parent
