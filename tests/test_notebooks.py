"""The notebooks' sources run on embedded data, and the committed notebooks are executions of these sources."""

import runpy
import tempfile
from pathlib import Path

import jupytext
import matplotlib
import matplotlib.pyplot as plt
import nbformat
import pytest

SOURCES = sorted((Path(__file__).parent.parent / "notebooks").glob("[0-9]_*.py"))
each_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


@pytest.mark.slow
@each_notebook
def test_source_runs_in_quick_mode_and_writes_to_a_temporary_folder_alone(source, tmp_path, monkeypatch):
    monkeypatch.setenv("FIRSTLIGHT_QUICK", "1")
    monkeypatch.delenv("PATH_DATASETS", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    monkeypatch.chdir(source.parent)
    before = set(source.parent.iterdir())
    with matplotlib.rc_context({"backend": "agg"}):
        runpy.run_path(str(source), run_name="__main__")
    assert set(source.parent.iterdir()) == before
    assert list(tmp_path.glob("firstlight-*/runs/*/*/result.json"))


@each_notebook
def test_committed_notebook_has_the_cells_of_its_source(source):
    committed, fresh = nbformat.read(source.with_suffix(".ipynb"), 4), jupytext.read(source)
    assert [(cell.cell_type, cell.source) for cell in committed.cells] == [
        (cell.cell_type, cell.source) for cell in fresh.cells
    ]


@each_notebook
def test_committed_notebook_was_executed_in_order_without_errors_and_is_small(source):
    path = source.with_suffix(".ipynb")
    code = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert not [text for text in map(str, outputs) if "/tmp/" in text or "runs/" in text]  # of one machine, one day
    assert path.stat().st_size < 400_000
