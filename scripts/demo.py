"""``make demo``: the toy tasks and the digits, start to finish, on data that need no download."""

from pathlib import Path

from scripts.cli import CONFIGS
from scripts.main import main
from scripts.report import print_table
from studies.summary import gather, read_results

EXPERIMENTS = ("moons/numpy_mlp", "moons/mlp", "moons/mlp_best", "xor/mlp", "digits/mlp")


def demo() -> None:
    """Train each experiment, then name the results and the pictures."""
    run_dirs = []
    for number, name in enumerate(EXPERIMENTS, start=1):
        print(f"\n[{number}/{len(EXPERIMENTS)}] firstlight fit -c configs/{name}.yaml", flush=True)
        run_dirs.append(main(["fit", "-c", str(CONFIGS / f"{name}.yaml")]).run_dir)
    print()
    print_table(gather(read_results(run_dirs)))
    print("\nPictures:")
    for picture in sorted(picture for run_dir in run_dirs for picture in Path(run_dir, "figures").glob("*.png")):
        print(f"  {picture}")
    print("\nCurves, figures and hyper-parameters side by side: .venv/bin/tensorboard --logdir runs")


if __name__ == "__main__":
    demo()
