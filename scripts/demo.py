"""``make demo``: the study configs/studies/demo.yaml and its report, on data that need no download."""

from scripts.main import main
from scripts.study import CONFIGS


def demo() -> None:
    """Train what is missing, then name the report."""
    main(["study", str(CONFIGS / "studies/demo.yaml")])
    main(["report"])
    print("Open it in a browser. Curves of all runs side by side: .venv/bin/tensorboard --logdir runs/studies/demo")


if __name__ == "__main__":
    demo()
