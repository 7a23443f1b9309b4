"""A study of 8 MNIST runs of 2 epochs with one and with two jobs, against the bare sum of the runs' training times.

Random images of MNIST's size and number, so that no download is needed; the arithmetic is the same.

    python -m benchmarks.study_jobs [mnist/cnn.yaml]

Two epochs of the default, ``mnist/mlp.yaml``, take about as long as importing PyTorch and Lightning.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

PROJECT = Path(__file__).parent.parent
STUDY = """
question: How fast is a study?
base: {config}
seeds: 8
overrides:
  trainer: {{max_epochs: 2, accelerator: cpu}}
  data: {{class_path: benchmarks.mnist_epoch.RandomMNIST}}
"""


def study(config: str, jobs: int) -> tuple[float, float]:
    """Wall-clock seconds of the whole command, and the sum of its runs' own training seconds."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "speed.yaml").write_text(STUDY.format(config=config))
        command = [sys.executable, "-m", "scripts.main", "study", "speed.yaml", "--jobs", str(jobs)]
        started = time.perf_counter()
        environment = os.environ | {"PYTHONPATH": str(PROJECT)}
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env=environment)
        wall_seconds = time.perf_counter() - started
        results = [json.loads(path.read_text()) for path in Path(folder, "runs").glob("*/*/result.json")]
        assert len(results) == 8
        return wall_seconds, sum(result["train_seconds"] for result in results)


def main(config: str = "mnist/mlp.yaml") -> None:
    table = Table(title=f"8 runs of 2 epochs of {config}, one thread each", title_justify="left")
    for column in (
        "jobs",
        "seconds",
        "sum of training seconds",
        "seconds / (sum / jobs)",
        "seconds / those of one job",
    ):
        table.add_column(column, justify="right")
    one = None
    for jobs in (1, 2):
        wall_seconds, train_seconds = study(config, jobs)
        one = one or wall_seconds
        ratio = wall_seconds / (train_seconds / jobs)
        table.add_row(
            str(jobs), f"{wall_seconds:.1f}", f"{train_seconds:.1f}", f"{ratio:.2f}", f"{wall_seconds / one:.2f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
