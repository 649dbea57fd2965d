"""What the engine kept takes a label's place: the embedded experts' labels of the procedural world."""

import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from ivm_data.cli.app import app
from ivm_data.engine import selecting
from ivm_data.engine.choices import choices
from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.experts.registry import embedded
from ivm_data.quality.chooser import Alternatives, teach_chooser
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world
from ivm_model.predictor import Predictor
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.pixels import rle
from storage.records import Status
from storage.tables import reviews
from storage.upkeep.verify import verify


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    """Ninety pairs of new scenes; the true masks of two thirds may teach."""
    root = tmp_path_factory.mktemp("selecting")
    manifest = write_world(root / "world", "test", scenes=30, pairs_per_scene=3, human_share=0.67, start=7000)
    label_manifest(prepare(manifest, root / "data", recipe("demo"), part_size=45))
    return root / "data"


@pytest.fixture(scope="module")
def model():
    return Predictor.from_pretrained(embedded("zoo:ivm")).model


@pytest.fixture
def data(labeled, tmp_path):
    return shutil.copytree(labeled, tmp_path / "data")


def rows(data):
    with DataSet.open(data) as opened:
        return {label.sample.id: label for label in opened.labels()}


ANYWAY = -1.0
"""A margin with which every best alternative takes its label's place, so that there is something to look at."""


def test_choices_are_the_label_its_proposals_boxes_and_nothing_each_once(data):
    for label in rows(data).values():
        targets = [one for one in label.candidates if one.role == "target"]
        mask_NHW = np.zeros((len(targets), label.sample.height, label.sample.width), bool)
        for n, one in enumerate(targets):
            mask_NHW[n, int(one.box.y0) : int(one.box.y1) + 1, int(one.box.x0) : int(one.box.x1) + 1] = True
        found = choices(label, mask_NHW)
        assert found[0] == label.mask and len(set(found)) == len(found) <= 10
        assert sum(rle.area(one) == 0 for one in found) == 1
        assert {one.mask for one in label.proposals} <= set(found)


def test_a_chooser_learns_which_alternatives_are_right_and_replaces_nothing_where_it_does_not_pay():
    rng = np.random.default_rng(0)
    labels, right = [], []
    for n in range(200):
        right_K = rng.random(4) < 0.4
        fit_KC = right_K[:, None] * 0.5 + rng.random((4, 1)) * 0.4
        labels.append(Alternatives(str(n), rng.random(3), fit_KC))
        right.append(right_K)
    chooser = teach_chooser(labels, right)
    taken = [one.best if chooser.replaces(one) else 0 for one in map(chooser.choose, labels)]
    gained = sum(int(right_K[k]) - int(right_K[0]) for right_K, k in zip(right, taken, strict=True))
    possible = sum(int(right_K.any()) - int(right_K[0]) for right_K in right)
    assert gained == chooser.gained > 0.8 * possible
    assert teach_chooser(labels, right).name == chooser.name
    blind = [Alternatives(one.group, one.row_F, rng.random((4, 1))) for one in labels]
    sure = [np.array([True, *one[1:]]) for one in right]
    none = teach_chooser(blind, sure)
    assert none.gained == 0 and not any(none.replaces(none.choose(one)) for one in blind)


def test_a_preview_writes_nothing_and_says_what_changes(data, model):
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*.parquet")}
    seen = selecting.select(data, model, margin=ANYWAY)
    assert seen.replaced and not seen.parts and seen.chooser.taught >= selecting.LEAST
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*.parquet")} == before


def test_what_is_chosen_takes_the_place_of_the_label_and_is_taken_back(data, model):
    old = rows(data)
    open_ids = [name for name, one in old.items() if one.sample.held_out]
    reviews.append(data, next(iter(old.values())).lineage.recipe, open_ids[0], "ada", "wrong")
    done = selecting.select(data, model, apply=True, margin=ANYWAY)
    new, changed = rows(data), {one.sample_id: one for one in done.replaced}
    assert done.parts and changed and set(changed) <= set(open_ids[1:]) and new.keys() == old.keys()
    assert done.looked == len(open_ids) - 1
    for name, label in new.items():
        if name not in changed:
            assert label == old[name]
            continue
        absent = rle.area(label.mask) == 0
        assert label.mask == changed[name].mask != old[name].mask
        assert ("chooser", done.chooser.name) in label.lineage.experts
        assert bool(label.proposals) != absent and (label.status is Status.NO_TARGET) <= absent
        assert label.scores.quality == changed[name].choice.other and np.isnan(label.scores.verification)
        assert label.human_iou == rle.iou(label.mask, label.sample.human_mask)
    assert verify(data) == ()
    with Catalog(data) as catalog:
        chosen = catalog.sql("SELECT count(DISTINCT sample_id) AS n FROM lineage WHERE role = 'chooser'").to_pylist()
    assert chosen == [{"n": len(changed)}]
    count, _ = selecting.undo(data)
    assert count == len(changed) and rows(data) == old
    assert selecting.undo(data) == (0, ())


def test_too_few_true_masks_are_refused(tmp_path, model):
    manifest = write_world(tmp_path / "world", "test", scenes=2, pairs_per_scene=2, human_share=1.0, start=7000)
    label_manifest(prepare(manifest, tmp_path / "data", recipe("demo"), part_size=4))
    with pytest.raises(ConfigError, match=r"needs 50 labels whose true mask is known, .* got \d; fix masks"):
        selecting.select(tmp_path / "data", model)


def test_the_command_shows_what_would_change(data):
    shown = CliRunner().invoke(app, ["select", "--data", str(data)])
    assert shown.exit_code == 0 and "true masks taught it" in shown.output
    assert CliRunner().invoke(app, ["select", "--data", str(data), "--apply", "--undo"]).exit_code != 0
