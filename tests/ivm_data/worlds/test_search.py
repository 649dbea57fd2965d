import json

import numpy as np
import pytest
from PIL import Image

from ivm_data.evaluation.vstar import read_vstar
from ivm_data.worlds.phrases import parse
from ivm_data.worlds.relations import stands, stands_not
from ivm_data.worlds.scene import ATTRIBUTES
from ivm_data.worlds.search import ASKED, draw_search, write_search
from storage.errors import ConfigError
from storage.pixels import rle


@pytest.mark.parametrize("index", range(4))
def test_the_asked_thing_is_small_clear_and_alone_fits_what_is_said_of_it(index, tmp_path):
    search = draw_search(index, 256)
    scene, target, asked = search.scene, search.target, search.asked
    write_search(tmp_path, 1, 256, start=index)
    record = json.loads((tmp_path / "direct_attributes" / f"{index:06d}.json").read_text())
    thing, told = scene.things[target], parse(record["target_object"][0])
    assert [told.fits(other) for other in scene.things].count(True) == 1 and told.fits(thing)
    assert thing.size == "small" and thing.visible >= 0.9 and asked in ASKED and not getattr(told, asked)
    assert record["options"][0] == getattr(thing, asked) and record["target_object"][0] in record["question"]
    assert len(set(record["options"])) == 4 and set(record["options"]) <= set(ATTRIBUTES[asked])
    mask = rle.from_counts(record["mask_rle"]["size"], record["mask_rle"]["counts"])
    np.testing.assert_array_equal(rle.decode(mask), thing.mask_HW)
    (x, y, width, height) = record["bbox"][0]
    assert thing.mask_HW[y : y + height, x : x + width].sum() == thing.mask_HW.sum()


def test_every_call_draws_the_same_and_a_larger_canvas_holds_more_things_of_the_same_size(tmp_path):
    first, again = (draw_search(7, 192).scene for _ in range(2))
    np.testing.assert_array_equal(first.image_HWC, again.image_HWC)
    larger = draw_search(7, 384).scene
    assert larger.image_HWC.shape == (384, 384, 3) and len(larger.things) > 2 * len(first.things)
    write_search(tmp_path, 1, 192, start=7)
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "direct_attributes" / "000007.png")), first.image_HWC)


@pytest.mark.parametrize("index", range(4))
def test_by_relation_one_of_two_things_alike_is_asked_about_and_the_other_would_be_another_answer(index, tmp_path):
    search = draw_search(index, 256, "relation")
    things, (target, anchor) = search.scene.things, map(parse, search.phrases)
    alike = [thing for thing in things if target.fits(thing)]
    (there,) = (thing for thing in things if anchor.fits(thing))
    assert len(alike) == 2 and [stands(one.box, search.relation, there.box) for one in alike].count(True) == 1
    (right,) = (one for one in alike if stands(one.box, search.relation, there.box))
    (wrong,) = (one for one in alike if one is not right)
    assert right is things[search.target] and stands_not(wrong.box, search.relation, there.box)
    assert getattr(right, search.asked) != getattr(wrong, search.asked)
    assert {right.size, wrong.size, there.size} == {"small"} and right.visible == there.visible == 1
    write_search(tmp_path, 1, 256, start=index, kinds=["relation"])
    (question,), bad = read_vstar(tmp_path)
    assert not bad and question.group == "relative_position" and question.options[0] == getattr(right, search.asked)
    assert f"{search.phrases[0]} {search.relation} the {search.phrases[1]}" in question.question
    np.testing.assert_array_equal(question.truth((256, 256)), right.mask_HW)


def test_both_kinds_are_written_and_another_one_is_refused(tmp_path):
    write_search(tmp_path / "both", 2, 192)
    questions, _ = read_vstar(tmp_path / "both")
    assert [question.group for question in questions] == ["direct_attributes"] * 2 + ["relative_position"] * 2
    with pytest.raises(ConfigError, match="no kind 'place'"):
        write_search(tmp_path / "other", 1, 192, kinds=["place"])


@pytest.mark.parametrize(("number", "side"), [(0, 256), (1, 64)])
def test_numbers_out_of_range_are_refused(tmp_path, number, side):
    with pytest.raises(ConfigError, match="at least"):
        write_search(tmp_path, number, side)
