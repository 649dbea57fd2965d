"""Corrections of key frames, carried to their neighbours; the masks are made by hand, and tracked by optical flow."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from ivm_data.engine.pipeline import lineage_of, make_gate
from ivm_data.engine.retracking import REVIEWER, Retracked, retrack
from ivm_data.engine.tracking import Tracks
from ivm_data.experts.registry import ExpertSpec, get, name_of
from ivm_data.recipes.labeling_recipes import recipe, with_tracker
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import ConfigError, WeightsError
from storage.parts.shards import commit_part
from storage.pixels import rle
from storage.records import Input, PartResult
from storage.tables import reviews
from storage.tables.recipes import write_recipe
from storage.upkeep.verify import verify

SPEC = importlib.util.spec_from_file_location("tracking_builders", Path(__file__).with_name("test_tracking.py"))
FRAMES, EVERY, WRONG = 25, 8, 8


def tracking_builders():
    """What `test_tracking` makes samples and drafts with."""
    module = importlib.util.module_from_spec(SPEC)
    SPEC.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made():
    return tracking_builders()


def wrong_mask(size):
    mask_HW = np.zeros((size, size), bool)
    mask_HW[44:60, 40:60] = True
    return mask_HW


@pytest.fixture
def labeled(made, tmp_path):
    return write_labeled(tmp_path / "data", made)


def write_labeled(data, made):
    """(data set, sample ids of the first by frame, recipe): two episodes of 25 frames, one with a wrong key frame 8."""
    chosen = with_tracker(recipe("demo", {"track.every": EVERY, "track.budget": 0.0}), "flow")
    lineage = lineage_of(chosen, name_of)
    first = [made.sample(frame) for frame in range(FRAMES)]
    samples = first + [made.sample(frame, "toy/1") for frame in range(FRAMES)]
    tracks = Tracks(samples, chosen.track, get(ExpertSpec("flow")))
    asked = tracks.first()
    tracks.keep(
        made.draft(one, wrong_mask(made.SIZE) if one.id == first[WRONG].id else made.truth(one.moment.frame))
        for one in asked
    )
    assert not tracks.further()
    labels = {one.sample.id: one for drafts, _ in tracks.ended() for one in make_gate(chosen, lineage).run(drafts)}
    inputs = tuple(Input(one.id[:16].encode(), one.id, 7, 9) for one in samples)
    outcomes = tuple(labels[one.id] for one in samples)
    commit_part(data, PartResult("part", lineage.recipe, outcomes, inputs=inputs))
    experts = {"experts": [{"role": role, "name": name} for role, name in lineage.experts]}
    write_recipe(data, lineage.recipe, chosen.to_dict() | experts)
    return data, [one.id for one in first], lineage.recipe


def labels_of(data):
    with DataSet.open(data) as opened:
        return {label.sample.id: label for label in opened.labels()}


def fix(labeled, made, frame, mask_HW=None):
    data, ids, recipe_hash = labeled
    mask = rle.encode(made.truth(frame) if mask_HW is None else mask_HW)
    return reviews.append(data, recipe_hash, ids[frame], "anna", "wrong", mask=mask)


def test_the_frames_beside_a_corrected_one_are_carried_anew_and_no_others(labeled, made):
    data, ids, _ = labeled
    before = labels_of(data)
    assert rle.iou(before[ids[7]].mask, rle.encode(made.truth(7))) < 0.1
    review = fix(labeled, made, WRONG)
    done = retrack(data)
    after = labels_of(data)
    assert done == Retracked(1, 14, 14, 0, ("part@1",)) and verify(data) == ()
    assert before.keys() == after.keys()
    for name, label in after.items():
        frame = label.sample.moment.frame
        if name not in ids or not 0 < frame < 16 or frame == WRONG:
            assert label == before[name]
            continue
        assert rle.iou(label.mask, rle.encode(made.truth(frame))) > 0.8 and label.scores.consistency > 0.7
        assert label.tracked_from == before[name].tracked_from and label.sample == before[name].sample
        assert (REVIEWER, f"anna@{review.reviewed_at}") in label.lineage.experts
        if label.tracked_from[0] == ids[WRONG]:
            assert (label.scores.presence, label.scores.grounding) == (1, 1) and np.isnan(label.scores.verification)


def test_carrying_twice_writes_nothing_and_taking_the_correction_back_brings_the_masks_back(labeled, made):
    data, ids, recipe_hash = labeled
    before = labels_of(data)
    fix(labeled, made, WRONG)
    retrack(data)
    assert retrack(data) == Retracked(1, 14, 0, 0, ())
    reviews.append(data, recipe_hash, ids[WRONG], "anna", "withdrawn")
    done = retrack(data)
    assert (done.corrected, done.changed, done.parts) == (0, 14, ("part@2",))
    again = labels_of(data)
    assert {name: label.mask for name, label in again.items()} == {name: label.mask for name, label in before.items()}
    assert all(REVIEWER not in dict(label.lineage.experts) for label in again.values())
    with Catalog(data) as catalog:
        assert catalog.sql("SELECT count(*) AS n FROM superseded")["n"].to_pylist() == [28]
        stood = catalog.sql(
            "SELECT part, count(DISTINCT record) AS n FROM inputs GROUP BY part ORDER BY part"
        ).to_pylist()
    assert stood == [{"part": "part", "n": 50}, {"part": "part@1", "n": 14}, {"part": "part@2", "n": 14}]


def test_a_corrected_frame_that_was_carried_itself_is_a_key_frame_from_then_on(labeled, made):
    data, ids, _ = labeled
    fix(labeled, made, 5)
    assert retrack(data).carried == 6
    after = labels_of(data)
    assert after[ids[6]].tracked_from == (ids[5], ids[8]) and after[ids[7]].tracked_from == (ids[8], ids[5])
    assert rle.iou(after[ids[6]].mask, rle.encode(made.truth(6))) > 0.8


def test_nothing_is_there_is_carried_too(labeled, made):
    data, ids, _ = labeled
    fix(labeled, made, WRONG, np.zeros((made.SIZE, made.SIZE), bool))
    retrack(data)
    after = labels_of(data)
    for frame in range(5, 8):
        label = after[ids[frame]]
        assert not rle.area(label.mask) and label.scores.presence == 0 and label.candidates == ()


def test_what_a_person_has_judged_between_stays(labeled, made):
    data, ids, recipe_hash = labeled
    before = labels_of(data)
    fix(labeled, made, WRONG)
    reviews.append(data, recipe_hash, ids[10], "bert", "wrong")
    done = retrack(data)
    assert (done.changed, done.kept) == (13, 1) and labels_of(data)[ids[10]] == before[ids[10]]


def test_only_the_corrections_that_are_named_are_carried(labeled, made):
    data, ids, _ = labeled
    fix(labeled, made, WRONG)
    assert retrack(data, only=[ids[16]]) == Retracked(0)
    assert retrack(data, only=[ids[WRONG]]).changed == 14


def test_a_recipe_without_a_tracker_and_another_calibration_are_refused(labeled, made):
    data, _, recipe_hash = labeled
    assert retrack(data) == Retracked(0), "nobody has corrected anything"
    fix(labeled, made, WRONG)
    path = data / "recipes" / f"{recipe_hash}.json"
    whole = path.read_text()
    path.write_text(whole.replace('"calibration@', '"calibration@0'))
    with pytest.raises(WeightsError, match="calibration of recipe"):
        retrack(data)
    path.write_text(whole.replace('"track":', '"track ":'))
    with pytest.raises(ConfigError, match="--track flow"):
        retrack(data)
