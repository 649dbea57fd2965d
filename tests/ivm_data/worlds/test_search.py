import json

import numpy as np
import pytest
from PIL import Image

from ivm_data.worlds.phrases import parse
from ivm_data.worlds.scene import ATTRIBUTES
from ivm_data.worlds.search import ASKED, draw_search, write_search
from storage.errors import ConfigError
from storage.pixels import rle


@pytest.mark.parametrize("index", range(4))
def test_the_asked_thing_is_small_clear_and_alone_fits_what_is_said_of_it(index, tmp_path):
    scene, target, asked = draw_search(index, 256)
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
    first, again = draw_search(7, 192)[0], draw_search(7, 192)[0]
    np.testing.assert_array_equal(first.image_HWC, again.image_HWC)
    larger = draw_search(7, 384)[0]
    assert larger.image_HWC.shape == (384, 384, 3) and len(larger.things) > 2 * len(first.things)
    write_search(tmp_path, 1, 192, start=7)
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "direct_attributes" / "000007.png")), first.image_HWC)


@pytest.mark.parametrize(("number", "side"), [(0, 256), (1, 64)])
def test_numbers_out_of_range_are_refused(tmp_path, number, side):
    with pytest.raises(ConfigError, match="at least"):
        write_search(tmp_path, number, side)
