"""In a notebook: progress in one output of the cell, and the result as a page. Needs a kernel, which the lock does not hold."""

import os
import re

import pytest

from tests.studies import ROOT, STUDY, write_tiny_data

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

pytestmark = pytest.mark.slow

CELL = "import sweep\nresult = sweep.run('tiny.toml')\nresult"


def test_a_cell_shows_progress_in_one_place_and_then_the_result(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    write_tiny_data(tmp_path)
    (tmp_path / "tiny.toml").write_text(STUDY)
    cells = [nbformat.v4.new_code_cell(CELL), nbformat.v4.new_code_cell("print(result.champion.classes_)")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    # Without ipywidgets, tqdm, which Optuna loads, says so on stderr.
    progress, result = [one for one in notebook.cells[0].outputs if one.output_type != "stream"]
    assert progress.output_type == "display_data"
    picture = progress.data["text/html"]
    assert re.search(r"^9 of about \d+: \d complete", picture, re.M), picture  # all that have ended
    assert picture.startswith("<pre>running")
    assert "\x1b" not in picture
    assert result.output_type == "execute_result"
    assert "<table>" in result.data["text/html"]
    assert "<p>Champion: " in result.data["text/html"]
    assert "Champion: " in result.data["text/plain"]
    assert notebook.cells[1].outputs[0].text == "[0 1 2]\n"
