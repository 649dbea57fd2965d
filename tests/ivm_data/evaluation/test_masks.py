"""Systems in one table: on the procedural world, and on small copies of ReasonSeg and gRefCOCO."""

import json

import numpy as np
import pytest
from PIL import Image

from ivm_data.evaluation.mask_table import evaluate_masks
from ivm_data.evaluation.report import masks_markdown, write
from ivm_data.evaluation.systems import system
from ivm_data.evaluation.testset import TestSet
from ivm_data.outputs import check
from ivm_data.sources.foreign.common.manifest_writer import write_manifest
from ivm_data.sources.foreign.readers import read
from ivm_data.worlds.world import write_world
from storage.errors import ConfigError


class Fixed:
    """Answers every question with the same pixels."""

    def __init__(self, name, window):
        self.name, self.window = name, window

    def masks(self, samples):
        masks = [np.zeros((sample.height, sample.width), bool) for sample in samples]
        for mask_HW in masks:
            mask_HW[self.window] = True
        return masks


EVERYTHING, NOTHING = Fixed("everything", np.s_[:, :]), Fixed("nothing", np.s_[:0])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"), "test", 3, 3, 0.0)


def shape(label, x0, y0, x1, y1):
    return {"label": label, "points": [[x0, y0], [x1, y0], [x1, y1], [x0, y1]], "labels": [label]}


@pytest.fixture
def reasonseg(tmp_path):
    folder = tmp_path / "ReasonSeg" / "val"
    folder.mkdir(parents=True)
    Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(folder / "1.jpg")
    shapes = [shape("target", 0, 0, 9, 29), shape("ignore", 10, 0, 39, 29), shape("flag", 0, 0, 39, 29)]
    record = {"text": ["what one sits on", "the seat"], "is_sentence": True, "shapes": shapes}
    (folder / "1.json").write_text(json.dumps(record))
    written = write_manifest(read("reasonseg", {"folder": str(folder), "images": "val"}), tmp_path / "r.jsonl", "rs")
    assert written.pairs == 2 and not written.bad
    return tmp_path / "r.jsonl"


def test_every_kind_of_system_answers_on_the_world_in_one_table(world, tmp_path, tiny):
    tiny.ivm(tmp_path / "model")
    names = [f"model:{tmp_path / 'model'}?threshold=0.4", "recipe:demo", "boxes:demo", "proposer:demo.0"]
    table = evaluate_masks(TestSet(world), [*map(system, names), NOTHING])
    scores = table.overall()
    assert list(scores) == [*names, "nothing"] and len(table.ids) == 9
    assert scores["recipe:demo"]["giou"].value > scores["nothing"]["giou"].value
    assert scores["boxes:demo"]["giou"].value > 0.2
    assert set(table.by("source")) == {"world-test"} and set(table.by("difficulty")) <= {"easy", "medium", "hard"}
    text = masks_markdown(table)
    assert "## Difference to model:" in text and "| boxes:demo |" in text and "## By area" in text


@pytest.mark.slow
def test_committed_labels_score_as_the_recipe_that_made_them(world, tmp_path):
    from ivm_data.engine.labeling import label_manifest
    from ivm_data.engine.labeling_run import prepare
    from ivm_data.recipes.labeling_recipes import recipe

    label_manifest(prepare(world, tmp_path / "data", recipe("demo"), 4))
    table = evaluate_masks(TestSet(world, limit=4), [system(f"labels:{tmp_path / 'data'}"), system("recipe:demo")])
    first, second = table.tallies.values()
    np.testing.assert_array_equal(first, second)
    assert len(table.ids) == 4


def test_an_expert_by_itself_is_asked_in_the_rewriters_words(world, tmp_path, tiny):
    tiny.ivm(tmp_path / "model")
    table = evaluate_masks(TestSet(world, limit=3), [system(f"expert:ivm?path={tmp_path / 'model'}&threshold=0.4")])
    assert len(table.ids) == 3


def test_regions_that_reasonseg_ignores_count_for_nobody(reasonseg):
    table = evaluate_masks(TestSet(reasonseg, reasonseg.parent / "ReasonSeg"), [EVERYTHING, NOTHING])
    scores = table.overall()
    assert scores["everything"]["giou"].value == 1.0 and scores["nothing"]["giou"].value == 0.0
    assert len(table.ids) == 2 and len(set(table.images)) == 1


def test_sentences_of_grefcoco_without_a_target_are_scored_as_such(tmp_path):
    image = "COCO_train2014_000000000009.jpg"
    (tmp_path / "coco" / "train2014").mkdir(parents=True)
    Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(tmp_path / "coco" / "train2014" / image)
    sentences = [{"tokens": [text], "raw": text, "sent_id": i, "sent": text} for i, text in enumerate(["dog", "pup"])]
    ref = {"image_id": 9, "split": "val", "file_name": image, "ref_id": 1, "sent_ids": [0, 1], "sentences": sentences}
    absent = ref | {"ann_id": [-1], "category_id": [-1], "sentences": [sentences[0] | {"sent": "a cat"}]}
    (tmp_path / "grefs(unc).json").write_text(json.dumps([ref | {"ann_id": [12], "category_id": [18]}, absent]))
    annotation = {"id": 12, "image_id": 9, "category_id": 18, "bbox": [0, 0, 32, 48], "area": 1536, "iscrowd": 0}
    annotation["segmentation"] = [[0, 0, 32, 0, 32, 48, 0, 48]]
    images = [{"id": 9, "file_name": image, "height": 48, "width": 64}]
    coco = {"images": images, "annotations": [annotation], "categories": [{"id": 18, "name": "dog"}]}
    (tmp_path / "instances.json").write_text(json.dumps(coco))
    options = {"refs": str(tmp_path / "grefs(unc).json"), "instances": str(tmp_path / "instances.json")}
    write_manifest(read("grefcoco", options | {"splits": "val"}), tmp_path / "g.jsonl", "grefcoco")
    left = Fixed("left", np.s_[:, :32])
    table = evaluate_masks(TestSet(tmp_path / "g.jsonl"), [left, NOTHING])
    scores = table.overall()
    assert scores["left"]["pmf1"].value == 1.0 and scores["left"]["none_acc"].value == 0.0
    assert scores["nothing"]["giou"].value == pytest.approx(1 / 3) and scores["nothing"]["none_acc"].value == 1.0
    assert set(table.by("area")) == {"none", "over 20 %"} and set(table.by("kind")) == {"none", "one"}


def test_records_that_cannot_be_used_are_counted_and_the_rest_is_scored(world, tmp_path):
    lines = world.read_text().splitlines()
    unmarked = json.loads(lines[1])
    del unmarked["targets"]
    torn_ignore = json.loads(lines[2]) | {"ignore": [{"mask_rle": {"size": [1, 1], "counts": "1"}}]}
    manifest = world.with_name("mixed.jsonl")
    manifest.write_text("\n".join([lines[0], json.dumps(unmarked), json.dumps(torn_ignore), "{", lines[3]]))
    table = evaluate_masks(TestSet(manifest), [NOTHING])
    assert (len(table.ids), table.unmarked, len(table.bad)) == (2, 1, 2)
    facts = json.loads(write(table, tmp_path / "t.json").read_text())
    check("evaluate", tmp_path / "t.json")
    check("evaluate", write(table, tmp_path / "t.md"))
    assert len(facts["samples"]) == 2 and facts["unmarked"] == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("demo", "model:..., recipe:"),
        ("recipe:dmeo", "choose one of"),
        ("model:nowhere?treshold=1", "has no option 'treshold'"),
        ("proposer:demo.3", "has 1 proposers"),
        ("expert:sam?path=zoo:segmenter", "proposes no masks"),
        ("labels:x?colour=red", "no option but"),
    ],
)
def test_a_system_that_is_not_there_is_refused_with_the_choices(name, message):
    with pytest.raises(ConfigError, match=message):
        system(name)


def test_the_command_prints_the_table_writes_it_and_says_by_its_status_that_records_were_bad(ivm, world, tmp_path):
    manifest = world.with_name("torn.jsonl")
    manifest.write_text(world.read_text().splitlines()[0] + "\n{\n")
    report = tmp_path / "scores.md"
    status, out, err = ivm("evaluate", "--manifest", manifest, "--on", "boxes:demo", "-o", report)
    assert status == 3 and "gIoU" in out and "bad_manifest_line" in err
    assert report.read_text().startswith("# Masks on torn.jsonl")
    status, _, err = ivm("evaluate", "--manifest", manifest, "--on", "boxes:demo", "--on", "boxes:demo", "-o", report)
    assert status == 2 and "name each system once" in err


def test_a_manifest_without_any_mask_is_refused(tmp_path):
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "i.png")
    (tmp_path / "m.jsonl").write_text(json.dumps({"image": "i.png", "instruction": "the ring"}))
    with pytest.raises(ConfigError, match="no record with a mask"):
        evaluate_masks(TestSet(tmp_path / "m.jsonl"), [NOTHING])
