"""Execute notebook sources and write them with their outputs: ``python notebooks/execute.py [SOURCE.py ...]``.

Each ``notebooks/N_name.py`` (jupytext's percent format) becomes ``notebooks/N_name.ipynb`` beside it. What would differ
from one execution to the next for no reason of the notebook's, cell ids and times, is left out.
"""

import base64
import io
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def main(sources: list[Path]) -> None:
    """Execute every source; the first error of a cell ends it."""
    for source in sources:
        started = time.perf_counter()
        notebook = execute(source)
        target = source.with_suffix(".ipynb")
        nbformat.write(notebook, target)
        print(f"{target}  {time.perf_counter() - started:.0f} s  {target.stat().st_size / 1000:.0f} kB", flush=True)


def execute(source: Path) -> nbformat.NotebookNode:
    """The executed notebook of a source."""
    notebook = jupytext.read(source)
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i}"
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    folder = {"metadata": {"path": str(source.parent)}}
    NotebookClient(notebook, timeout=None, record_timing=False, coalesce_streams=True, resources=folder).execute()
    notebook.metadata.language_info = {"name": "python"}  # without the version of this machine's Python
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = with_palette(output.data["image/png"])
    return notebook


def with_palette(png: str) -> str:
    """A base64 PNG with 256 colours, which suffice for a figure and fill a third of the space."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    smaller = io.BytesIO()
    picture.save(smaller, "PNG", optimize=True)
    return base64.b64encode(smaller.getvalue()).decode()


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]] or sorted(HERE.glob("[0-9]_*.py")))
