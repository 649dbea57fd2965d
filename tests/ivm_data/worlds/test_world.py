import json
from collections import Counter, defaultdict

import cv2
import numpy as np
import pytest

from ivm_data.sources.manifest import plan, read_part
from ivm_data.worlds.grammar import KINDS
from ivm_data.worlds.scene import draw_scene
from ivm_data.worlds.world import generate, is_human, write_world
from storage.errors import ConfigError
from storage.pixels import rle
from storage.records import Rle, Sample


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("world")
    manifest = write_world(directory, "test", scenes=40, pairs_per_scene=4, human_share=0.3, start=100)
    return manifest, [json.loads(line) for line in manifest.read_text().splitlines()]


def test_generate_repeats_itself_wherever_it_starts():
    whole = [(scene.index, number, pair) for scene, pair, number in generate("train", 0, 12, per_scene=3)]
    tail = [(scene.index, number, pair) for scene, pair, number in generate("train", 7, 5, per_scene=3)]
    assert tail == [entry for entry in whole if entry[0] >= 7]
    assert tail


def test_generate_gives_every_kind_its_share():
    counts = Counter(pair.kind for _, pair, _ in generate("val", 0, 120, per_scene=2))
    assert set(counts) == set(KINDS)
    assert min(counts.values()) > 0.75 * 40


def test_generate_keeps_to_the_kinds_that_are_asked_for():
    assert {pair.kind for _, pair, _ in generate("val", 0, 10, kinds=("relation", "absent"))} == {"relation", "absent"}


def test_no_instruction_comes_twice_in_a_scene():
    instructions = Counter((scene.index, pair.instruction) for scene, pair, _ in generate("val", 0, 20, per_scene=12))
    assert set(instructions.values()) == {1}


def test_the_written_images_are_the_scenes(written):
    manifest, rows = written
    for image in sorted({row["image"] for row in rows})[:10]:
        pixels = cv2.cvtColor(cv2.imread(str(manifest.parent / image)), cv2.COLOR_BGR2RGB)
        assert np.array_equal(pixels, draw_scene("test", int(image[-10:-4])).image_HWC)


def test_the_written_masks_are_the_things_that_the_pair_names(written):
    _, rows = written
    pairs = [(scene, pair) for scene, pair, _ in generate("test", 100, 40, per_scene=4)]
    assert len(rows) == len(pairs)
    for row, (scene, pair) in zip(rows, pairs, strict=True):
        assert (row["instruction"], row["kind"], row["answer"]) == (pair.instruction, pair.kind, pair.answer)
        assert len(row["targets"]) == len(pair.targets)
        for target, index in zip(row["targets"], pair.targets, strict=True):
            height, width = target["mask_rle"]["size"]
            mask = rle.decode(Rle(height, width, target["mask_rle"]["counts"].encode()))
            assert np.array_equal(mask, scene.things[index].mask_HW)
            ys, xs = np.nonzero(mask)
            assert target["bbox_xyxy"] == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            assert target["phrase"] in row["phrases"]


def test_the_manifest_reader_takes_every_row_with_its_mask(written):
    manifest, rows = written
    samples = [sample for part in plan(manifest) for sample in read_part(part)]
    assert len(samples) == len(rows)
    for sample, row in zip(samples, rows, strict=True):
        assert isinstance(sample, Sample)
        assert (sample.instruction, sample.kind, sample.held_out) == (row["instruction"], row["kind"], row["held_out"])
        masks = [Rle(128, 128, target["mask_rle"]["counts"].encode()) for target in row["targets"]]
        assert rle.area(sample.human_mask) == sum(rle.area(mask) for mask in masks)


def test_ids_are_unique_and_rows_carry_every_key(written):
    _, rows = written
    assert len({row["id"] for row in rows}) == len(rows)
    keys = "id image width height instruction source kind difficulty novel answer phrases anchor relation quantity"
    for row in rows:
        assert list(row) == [*keys.split(), "targets", "held_out"]
        assert (row["width"], row["height"], row["source"]) == (128, 128, "world-test")


def test_no_image_is_both_human_and_held_out(written):
    _, rows = written
    flags = defaultdict(set)
    for row in rows:
        flags[row["image"]].add(row["held_out"])
    assert all(len(values) == 1 for values in flags.values())
    assert {value for values in flags.values() for value in values} == {True, False}


def test_the_human_share_is_met_and_grows_by_adding_scenes():
    scenes = [draw_scene("train", index) for index in range(300)]
    human = {share: {s.index for s in scenes if is_human(s, share)} for share in (0.0, 0.1, 0.4, 1.0)}
    assert human[0.0] == set()
    assert human[0.1] < human[0.4]
    assert 0.33 < len(human[0.4]) / 300 < 0.47
    assert len(human[1.0]) == 300


def test_writing_twice_gives_the_same_bytes(written, tmp_path):
    manifest, rows = written
    again = write_world(tmp_path, "test", scenes=40, pairs_per_scene=4, human_share=0.3, start=100)
    assert again.read_bytes() == manifest.read_bytes()
    assert (tmp_path / rows[0]["image"]).read_bytes() == (manifest.parent / rows[0]["image"]).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".ivm-output.json", "images", "manifest.jsonl"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scenes": 0}, "scenes must be at least 1, got 0"),
        ({"pairs_per_scene": 0}, "pairs_per_scene must be at least 1, got 0"),
        ({"human_share": 1.5}, r"human_share must lie in \[0, 1\], got 1.5"),
        ({"split": "dev"}, "'dev'"),
        ({"start": -1}, "-1"),
    ],
)
def test_a_wrong_argument_is_named_before_a_manifest_appears(wrong, said, tmp_path):
    given = {"split": "test", "scenes": 1, "pairs_per_scene": 1, "human_share": 0.5} | wrong
    with pytest.raises(ConfigError, match=said):
        write_world(tmp_path, **given)
    assert not (tmp_path / "manifest.jsonl").exists()


def test_no_kinds_are_refused():
    with pytest.raises(ConfigError, match="kinds must name"):
        next(generate("test", 0, 1, kinds=()))
