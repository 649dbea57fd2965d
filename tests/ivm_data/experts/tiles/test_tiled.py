"""Experts with the option `tiles`, on pictures that their model sees large enough and on larger ones."""

import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest

from ivm_data.engine.pipeline import Pipeline, lineage_of
from ivm_data.experts import registry
from ivm_data.experts.answers.store import AnswersConfig
from ivm_data.experts.common.input_size import InputSize, checkpoint_input
from ivm_data.experts.common.protocols import Detection
from ivm_data.experts.common.usage import metered
from ivm_data.experts.registry import ExpertSpec, answers_of, configured, get, kept, name_of
from ivm_data.experts.tiles.config import TilesConfig
from ivm_data.experts.tiles.tiled import Tiled
from ivm_data.recipes.labeling_recipes import demo
from ivm_data.recipes.tile_costs import tile_costs
from ivm_data.sources.manifest import plan, read_part
from ivm_data.worlds.search import draw_search
from ivm_data.worlds.world import write_world
from storage.errors import ConfigError
from storage.pixels import rle
from storage.pixels.overlap import box_iou
from storage.records import Box
from storage.request import Request

DEMO = demo()


def tiled(spec, **fields):
    return replace(spec, options={**spec.options, "tiles": fields or True})


def whole(spec):
    return replace(spec, options={name: value for name, value in spec.options.items() if name != "tiles"})


GROUNDER, SEGMENTER, EVERYTHING = (whole(one) for one in (DEMO.grounders[0], DEMO.segmenter, DEMO.proposers[0]))


def with_tiles(on):
    change = tiled if on else lambda spec: spec
    return replace(DEMO, grounders=(change(GROUNDER),), segmenter=change(SEGMENTER), proposers=(change(EVERYTHING),))


@pytest.fixture(scope="module")
def canvas():
    """A picture of 256 pixels, and its things."""
    return draw_search(3, 256).scene


def test_labels_of_pictures_that_the_models_see_whole_are_the_same_with_and_without_tiles(tmp_path):
    (part,) = plan(write_world(tmp_path / "world", "val", scenes=3, pairs_per_scene=4, human_share=0))
    samples = read_part(part)
    plain, parted = (Pipeline(with_tiles(on)).run("part", samples) for on in (False, True))
    hashes = {one.lineage.recipe for result in (plain, parted) for one in result.outcomes if hasattr(one, "lineage")}
    assert len(hashes) == 2
    assert sum(timing.tiles for timing in parted.timings) == 0
    lineage = plain.outcomes[0].lineage
    known, same = (
        [replace(one, lineage=lineage) if hasattr(one, "lineage") else one for one in result.outcomes]
        for result in (plain, parted)
    )
    assert known == same


def test_a_tiled_grounder_finds_small_things_of_a_large_picture_where_they_are(canvas):
    small = [thing for thing in canvas.things if thing.size == "small" and thing.visible > 0.9]
    phrases = [f"small {thing.texture} {thing.colour} {thing.shape}" for thing in small]

    def recall(spec):
        with metered() as meter:
            (hits,) = get(spec).ground([canvas.image_HWC], [list(dict.fromkeys(phrases))])
        seen = [
            any(hit.phrase == phrase and box_iou(hit.box, thing.box) > 0.5 for hit in hits)
            for thing, phrase in zip(small, phrases, strict=True)
        ]
        return np.mean(seen), meter.used.tiles

    (plain, none), (parted, count) = recall(GROUNDER), recall(tiled(GROUNDER))
    assert none == 0 and count == len(TilesConfig().parts((256, 256), InputSize(128, 256)).windows) == 9
    assert parted >= 0.7 and parted > plain + 0.3


def test_the_mask_of_a_small_box_is_drawn_on_the_picture_around_it_and_pasted_where_it_was(canvas):
    small = [thing for thing in canvas.things if thing.size == "small" and thing.visible > 0.9][:6]
    boxes = [thing.box for thing in small]
    (parted,) = get(tiled(SEGMENTER)).segment([canvas.image_HWC], [boxes])
    (plain,) = get(SEGMENTER).segment([canvas.image_HWC], [boxes])
    assert parted.mask_NHW.shape == plain.mask_NHW.shape == (len(small), 256, 256)
    truths = [rle.encode(thing.mask_HW) for thing in small]
    good, poor = (
        np.mean([rle.iou(rle.encode(mask_HW), truth) for mask_HW, truth in zip(one.mask_NHW, truths, strict=True)])
        for one in (parted, plain)
    )
    assert good > 0.85 and good > poor


def test_a_pasted_mask_is_the_one_of_the_part_alone(canvas):
    box = Box(20, 30, 38, 47)
    (parted,) = get(tiled(SEGMENTER)).segment([canvas.image_HWC], [[box]])
    (alone,) = get(SEGMENTER).segment([canvas.image_HWC[:128, :128].copy()], [[box]])
    np.testing.assert_array_equal(parted.mask_NHW[0, :128, :128], alone.mask_NHW[0])
    assert not parted.mask_NHW[0, 128:].any() and not parted.mask_NHW[0, :, 128:].any()
    assert parted.predicted_iou_N == alone.predicted_iou_N


def test_a_tiled_proposer_finds_a_small_thing_and_asks_the_whole_picture_what_lies_left_of_what(canvas):
    thing = next(t for t in canvas.things if t.size == "small" and t.visible > 0.9)
    phrase = f"small {thing.texture} {thing.colour} {thing.shape}"
    local, related = Request.of((phrase,)), Request.of((phrase,), "big red star", "left of")
    (near, far), (_, plain) = (
        get(spec).propose([canvas.image_HWC] * 2, [local, related]) for spec in (tiled(EVERYTHING), EVERYTHING)
    )
    same = [t for t in canvas.things if (t.texture, t.colour, t.shape) == (thing.texture, thing.colour, thing.shape)]
    assert max(rle.iou(rle.encode(near[0]), rle.encode(t.mask_HW)) for t in same) > 0.5
    np.testing.assert_array_equal(far[0], plain[0])


def test_what_was_bought_of_a_tile_is_read_the_next_time(canvas, tmp_path):
    registry.unload()
    answers, spec = AnswersConfig(str(tmp_path)), tiled(GROUNDER)
    first = kept(spec, answers).ground([canvas.image_HWC], [["small red star"]])
    with metered() as meter:
        again = kept(spec, answers).ground([canvas.image_HWC.copy()], [["small red star"]])
    assert again == first and meter.used.answers_asked == 0 and meter.used.answers_read == 10
    assert answers_of(spec, answers) == 10


def test_a_tiled_expert_keeps_its_name_and_changes_the_recipe():
    assert name_of(tiled(GROUNDER)) == name_of(GROUNDER)
    plain, parted = (lineage_of(with_tiles(on), name_of) for on in (False, True))
    assert plain.experts == parted.experts and plain.recipe != parted.recipe


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (tiled(DEMO.verifier), "takes no 'tiles'"),
        (replace(GROUNDER, options={**GROUNDER.options, "tiles": "yes"}), "JSON"),
        (replace(GROUNDER, options={**GROUNDER.options, "tiles": 3}), "must be true, false"),
        (tiled(GROUNDER, overlap=0.95), r"overlap must lie in \[0, 0.9\]"),
        (tiled(GROUNDER, width=3), "no option 'width'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(spec, message):
    with pytest.raises(ConfigError, match=message):
        configured(spec)


def test_an_expert_of_unknown_input_needs_a_side(canvas):
    with pytest.raises(ConfigError, match=r"tiles\.side"):
        Tiled(BrightSpots(), TilesConfig()).ground([canvas.image_HWC], [["spot"]])


class BrightSpots:
    """A grounder of another package: white rectangles in every so many-th pixel, 800 at most."""

    name = "bright-spots@1"

    def load(self):
        pass

    def ground(self, images, phrases):
        return [
            [Detection(phrase, box, 0.9) for phrase in row for box in spots(image)]
            for image, row in zip(images, phrases, strict=True)
        ]


def spots(image_HWC):
    step = -(-max(image_HWC.shape) // 800)
    bright_HW = (image_HWC[::step, ::step, 0] > 200).astype(np.uint8)
    found = cv2.connectedComponentsWithStats(bright_HW)[2][1:, :4] * step
    return [Box(float(x), float(y), float(x + w), float(y + h)) for x, y, w, h in found]


def test_the_tiles_of_a_huge_picture_are_never_held_together():
    image_HWC = np.zeros((6000, 8000, 3), np.uint8)
    image_HWC[3001:3011, 790:812] = 255

    expert = Tiled(BrightSpots(), TilesConfig(side=800))
    tracemalloc.start()
    try:
        began = tracemalloc.get_traced_memory()[0]
        (hits,) = expert.ground([image_HWC], [["spot"]])
        peak = tracemalloc.get_traced_memory()[1] - began
    finally:
        tracemalloc.stop()
    assert [hit.box for hit in hits] == [Box(790, 3001, 812, 3011)]
    assert peak < image_HWC.nbytes / 2


def test_a_picture_that_needs_more_tiles_than_most_gets_larger_ones():
    few, many = TilesConfig(most=20), TilesConfig(most=10_000)
    model = InputSize(128, 256)
    assert len(few.parts((3000, 4000), model).windows) <= 20 < len(many.parts((3000, 4000), model).windows)
    assert few.parts((3000, 4000), model).longest > many.parts((3000, 4000), model).longest == 32


def test_sizes_are_read_from_the_files_of_a_processor():
    assert checkpoint_input(str(registry.EMBEDDED / "grounder")) == InputSize(128, 256)
    assert checkpoint_input(str(registry.EMBEDDED / "segmenter")) == InputSize(128, 128)


def test_the_cost_of_tiles_is_told_without_loading_a_model():
    costs = {cost.role: cost for cost in tile_costs(with_tiles(True))}
    assert costs["grounders.0"].sees == InputSize(128, 256) and costs["segmenter"].forwards == (1, 1, 1)
    assert costs["grounders.0"].forwards[0] == 1 + len(TilesConfig().parts((474, 632), InputSize(128, 256)).windows)
    assert not tile_costs(with_tiles(False))
    missing = replace(DEMO, grounders=(ExpertSpec("owlv2", {"path": "nowhere/at-all", "tiles": True}),))
    assert next(cost for cost in tile_costs(missing) if cost.role == "grounders.0").sees is None
