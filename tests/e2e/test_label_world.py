"""The whole path on the procedural world with the embedded experts: manifest -> labels -> shards -> SQL."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.upkeep.digest import content_hash

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"), "test", scenes=16, pairs_per_scene=3, human_share=0.25)


@pytest.fixture(scope="module")
def labeled(world, tmp_path_factory):
    run = prepare(world, tmp_path_factory.mktemp("data"), recipe("demo"), part_size=12)
    label_manifest(run)
    return run


def test_every_pair_ends_as_exactly_one_label_or_rejection(world, labeled):
    with Catalog(labeled.data) as catalog:
        outcomes = catalog.sql("select sample_id, count(*) as n from outcomes group by all").to_pylist()
    assert len(outcomes) == len(world.read_text().splitlines())
    assert {row["n"] for row in outcomes} == {1}


def test_labels_are_much_better_than_chance_and_the_gate_makes_them_better_still(labeled):
    with Catalog(labeled.data) as catalog:
        (row,) = catalog.sql(
            "select avg(human_iou) as every, avg(human_iou) filter (status = 'accepted') as accepted,"
            " count(*) filter (status = 'accepted') as n from labels where status <> 'no_target'"
        ).to_pylist()
    assert row["every"] > 0.4
    assert row["n"] >= 5
    assert row["accepted"] > row["every"]


def test_every_score_that_the_gate_may_look_at_is_a_column_with_values(labeled):
    with Catalog(labeled.data) as catalog:
        rows = catalog.query("missing_scores").to_pylist()
    never = {row["score"] for row in rows if row["share"] == 1}
    assert never == {"witnessed", "in_context", "consistency"}, "one grounder, nothing judged in context, no video"


def test_a_label_carries_two_proposals_and_its_whole_lineage(labeled):
    labels = [label for label in DataSet.open(labeled.data).labels() if label.proposals]
    assert {len(label.proposals) for label in labels} == {2}
    assert {role for role, _ in labels[0].lineage.experts} == {
        "rewriter", "grounder", "segmenter", "verifier", "proposer", "calibration",
    }  # fmt: skip
    assert all("@" in name for _, name in labels[0].lineage.experts)


def test_labeling_again_skips_every_part_and_labeling_anew_gives_the_same_rows(world, labeled, tmp_path):
    assert all(not summary.fresh for summary in label_manifest(labeled))
    again = prepare(world, tmp_path / "again", recipe("demo"), part_size=12)
    label_manifest(again)
    assert content_hash(again.data) == content_hash(labeled.data)


def test_bad_inputs_become_rejections_and_the_run_goes_on(tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    png = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(png, "PNG")
    (folder / "good.png").write_bytes(png.getvalue())
    (folder / "torn.png").write_bytes(png.getvalue()[:-300])
    (folder / "empty.png").write_bytes(b"")
    rows = [
        {"image": "good.png", "instruction": "Find the red ring."},
        {"image": "good.png", "instruction": "Find the red ring."},
        {"image": "torn.png", "instruction": "Find the red ring."},
        {"image": "empty.png", "instruction": "Find the red ring."},
        {"image": "absent.png", "instruction": "Find the red ring."},
        {"image": "../secret.png", "instruction": "Find the red ring."},
        {"image": "good.png", "instruction": "  "},
        {"image": "good.png", "instruction": "ring " * 1000},
        {"image": "good.png", "instruction": "Wo ist der rote Ring?"},
    ]
    (folder / "mixed.jsonl").write_text("\n".join([*map(json.dumps, rows), "{broken", ""]))
    run = prepare(folder / "mixed.jsonl", tmp_path / "data", recipe("demo"), part_size=4)
    summaries = label_manifest(run)
    assert sum(summary.rows for summary in summaries) == len(rows) + 1
    with Catalog(run.data) as catalog:
        reasons = catalog.sql("select reason from rejections where stage = 'ingest' order by part, position")
    assert sorted(reasons["reason"].to_pylist()) == sorted(
        ["duplicate", "image_unreadable", "image_unreadable", "image_missing", "image_outside_root",
         "instruction_empty", "instruction_too_long", "bad_manifest_line"]
    )  # fmt: skip


def test_photographs_run_to_the_end_and_unknown_words_keep_them_from_being_accepted(photos_dev, tmp_path):
    lines = (photos_dev / "manifest.jsonl").read_text().splitlines()[::26]
    manifest = tmp_path / "photos.jsonl"
    manifest.write_text("\n".join(lines))
    run = prepare(manifest, tmp_path / "data", recipe("demo"), part_size=8, image_root=photos_dev)
    label_manifest(run)
    with Catalog(run.data) as catalog:
        statuses = catalog.sql("select status, human_iou from outcomes").to_pylist()
    assert len(statuses) == len(lines)
    assert not any(row["status"] == "accepted" for row in statuses)


def test_an_image_root_that_is_not_there_is_refused_before_any_work(world, tmp_path):
    with pytest.raises(ConfigError, match="image root"):
        prepare(world, tmp_path / "data", recipe("demo"), part_size=8, image_root=tmp_path / "nowhere")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_of_a_notebook_runs_beside_a_demo(notebook, labeled, tmp_path, monkeypatch):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "data").symlink_to(labeled.data)
    (tmp_path / "examples").mkdir()
    monkeypatch.chdir(tmp_path / "examples")
    namespace = {}
    for source in code_cells(notebook):
        exec(compile(source, notebook.name, "exec"), namespace)
    assert (tmp_path / "demo" / "area.png").stat().st_size > 1000


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_as_one_run_from_top_to_bottom_left_it(notebook):
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]


def code_cells(notebook):
    return [
        "".join(cell["source"]) for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"
    ]
