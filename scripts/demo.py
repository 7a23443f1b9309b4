"""``make demo``: the study configs/studies/demo.yaml and its report, on data that need no download."""

from pathlib import Path

from configs import CONFIGS
from scripts.main import main


def demo() -> None:
    """Train what is missing, then name the pictures and the report."""
    main(["study", str(CONFIGS / "studies/demo.yaml")])
    main(["report"])
    print("\nPictures:")
    for picture in sorted(Path("runs/studies/demo").glob("*/seed0/figures/*.png")):
        print(f"  {picture}")
    print("\nThe report, for a browser: runs/report.html")
    print("Curves of all runs side by side: .venv/bin/tensorboard --logdir runs/studies/demo")


if __name__ == "__main__":
    demo()
