"""The notebook's cells run, from the first to the last, on what a small demo would leave."""

import json
from pathlib import Path

import pytest

from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world

NOTEBOOK = Path(__file__).parents[2] / "examples" / "look_at_labels.ipynb"


@pytest.mark.slow
def test_every_cell_of_the_notebook_runs(tmp_path, monkeypatch):
    manifest = write_world(tmp_path / "demo" / "world", "test", scenes=6, pairs_per_scene=3, human_share=0.25)
    label_manifest(prepare(manifest, tmp_path / "demo" / "data", recipe("demo"), part_size=18))
    (tmp_path / "examples").mkdir()
    monkeypatch.chdir(tmp_path / "examples")
    names = {}
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    for cell in cells:
        exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), names)
    assert (tmp_path / "demo" / "area.png").is_file()
    assert names["recipe"] and len(cells) > 5
