"""Boxes that a person drew, through the whole pipeline with the embedded experts."""

import json

import numpy as np
import pytest

from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.experts.registry import get
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.sources.foreign.common.foreign_reader import ForeignPair
from ivm_data.sources.foreign.common.manifest_writer import write_manifest
from ivm_data.stages.ground import GroundStage
from ivm_data.stages.stage import Draft
from ivm_data.worlds.world import write_world
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.pixels import rle
from storage.records import HUMAN, Box, Sample
from storage.request import Request

SCENES, PAIRS = 2, 3


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    manifest = write_world(tmp_path_factory.mktemp("world"), "val", SCENES, PAIRS, human_share=1)
    rows = [json.loads(line) | {"folder": manifest.parent} for line in manifest.read_text().splitlines()]
    return {row["instruction"] + row["image"]: row for row in rows if row["targets"]}


@pytest.fixture(scope="module")
def labeled(rows, tmp_path_factory):
    """The same pairs with boxes in place of the masks; one of them is held out."""
    folder = next(iter(rows.values()))["folder"]
    pairs = [
        ForeignPair(
            row["image"],
            row["instruction"],
            targets=tuple({"box": target["bbox_xyxy"]} for target in row["targets"]),
            held_out=position == 0,
        )
        for position, row in enumerate(rows.values())
    ]
    write_manifest(pairs, folder / "boxes.jsonl", "boxes")
    run = prepare(folder / "boxes.jsonl", tmp_path_factory.mktemp("data"), recipe("demo"), part_size=64)
    label_manifest(run)
    return run.data


class Listening:
    """The real grounder, and what it was asked."""

    def __init__(self, grounder):
        self.grounder, self.name, self.asked = grounder, grounder.name, []

    def ground(self, images, phrases):
        self.asked += phrases
        return self.grounder.ground(images, phrases)

    def known_words(self, phrase):
        return self.grounder.known_words(phrase)


def labels_of(data, rows):
    """Label and manifest row of every pair with a human box."""
    return [
        (label, rows[label.sample.instruction + label.sample.image_uri])
        for label in DataSet.open(data).labels()
        if not label.sample.held_out
    ]


def test_no_box_is_lost_or_added_and_every_one_is_chosen(labeled, rows):
    with Catalog(labeled) as catalog:
        assert catalog.sql("FROM rejections").num_rows == 0
    found = labels_of(labeled, rows)
    assert len(found) == len(rows) - 1
    for label, row in found:
        assert {(c.expert, c.score, c.chosen) for c in label.candidates} == {(HUMAN, 1.0, True)}
        boxes = [Box(*map(float, target["bbox_xyxy"])) for target in row["targets"]]
        assert [candidate.box for candidate in label.candidates] == boxes
        assert label.sample.human_boxes == tuple(boxes)


def test_the_segmenter_turns_them_into_the_mask(labeled, rows):
    overlaps = []
    for label, row in labels_of(labeled, rows):
        assert label.proposals[0].expert.startswith("human+")
        assert label.proposals[0].score == 1
        assert label.proposals[0].iou_with_label == 1
        truth = rle.union([rle.from_counts(**target["mask_rle"]) for target in row["targets"]])
        overlaps.append(rle.iou(label.mask, truth))
    assert np.mean(overlaps) > 0.75


def test_a_held_out_box_leaves_the_search_to_the_grounder(labeled):
    (label,) = [label for label in DataSet.open(labeled).labels() if label.sample.held_out]
    assert not label.sample.human_boxes
    assert all(candidate.expert != HUMAN for candidate in label.candidates)


def test_the_grounder_is_asked_about_the_others_only():
    def draft(colour, *boxes):
        sample = Sample(colour, b"", "a.png", 64, 64, "the star", "test", human_boxes=boxes)
        return Draft(sample, np.zeros((64, 64, 3), np.uint8), request=Request.of((f"{colour} star", "ring")))

    stage = GroundStage([grounder := Listening(get(recipe("demo").grounders[0]))])
    drawn = [Box(0, 0, 2, 2), Box(1, 1, 4, 4)]
    first, second, third = stage.run([draft("red", *drawn), draft("blue"), draft("green", drawn[0])]).kept
    assert grounder.asked == [["blue star", "ring"]]
    assert [c.box for c in first.candidates] == drawn
    assert {c.expert for c in second.candidates} <= {grounder.name}
    assert [c.box for c in third.candidates] == drawn[:1]
    assert first.candidates[0].phrase == "red star and ring"
    stage.run([draft("red", *drawn)])
    assert len(grounder.asked) == 1
