"""docs/demo.ipynb runs from its first cell to its last, and ends in a figure."""

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "demo.ipynb"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # what Jupyter's own libraries warn of
def test_it_runs_to_its_figure(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    progress = [output["data"]["text/plain"] for output in outputs if output.output_type == "display_data"]
    assert any("scoring eomt on DemoScenes (store 2 of 2): " in str(line) for line in progress)


def test_it_is_kept_small_and_without_a_trace_of_a_machine():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert NOTEBOOK.stat().st_size < 600_000
    assert notebook["metadata"].keys() <= {"kernelspec", "language_info"}
    assert "Traceback" not in NOTEBOOK.read_text(encoding="utf-8")
