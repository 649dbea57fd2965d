import io
import os
import pickle
import struct

import pytest

from storage.errors import ConfigError
from storage.pixels import rle

REFS = [
    {
        "sent_ids": [0, 1], "file_name": "COCO_train2014_000000057870_11.jpg", "ann_id": 11, "ref_id": 0,
        "image_id": 57870, "split": "train", "category_id": 18,
        "sentences": [
            {"tokens": ["the", "left", "dog"], "raw": "The left dog!", "sent_id": 0, "sent": "the left dog"},
            {"tokens": ["dog", "lying"], "raw": "dog lying", "sent_id": 1, "sent": "dog lying"},
        ],
    },
    {
        "sent_ids": [2], "file_name": "COCO_train2014_000000000009_12.jpg", "ann_id": 12, "ref_id": 1,
        "image_id": 9, "split": "testA", "category_id": 18,
        "sentences": [{"tokens": ["dog"], "raw": "dog", "sent_id": 2, "sent": "dog"}],
    },
]  # fmt: skip
IMAGES = ("COCO_train2014_000000057870.jpg", "COCO_train2014_000000000009.jpg")


class Python2Pickler(pickle._Pickler):
    """Writes text as Python 2 wrote its byte strings: opcodes SHORT_BINSTRING and BINSTRING."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_str(self, text):
        data = text.encode()
        self.write(b"U" + bytes([len(data)]) + data if len(data) < 256 else b"T" + struct.pack("<i", len(data)) + data)
        self.memoize(text)

    dispatch[str] = save_str


@pytest.fixture
def pickled(tmp_path):
    def pickled(value, protocol=2):
        stream = io.BytesIO()
        Python2Pickler(stream, protocol).dump(value)
        path = tmp_path / "refs(unc).p"
        path.write_bytes(stream.getvalue())
        return str(path)

    return pickled


@pytest.mark.parametrize("protocol", [1, 2])
def test_each_sentence_is_a_pair_with_its_split(records, pickled, instances, protocol):
    pairs, bad = records("refcoco", refs=pickled(REFS, protocol), instances=instances)
    assert not bad
    assert [(p.image, p.instruction, p.difficulty, p.held_out) for p in pairs] == [
        ("coco/train2014/COCO_train2014_000000057870.jpg", "the left dog", "train", False),
        ("coco/train2014/COCO_train2014_000000057870.jpg", "dog lying", "train", False),
        ("coco/train2014/COCO_train2014_000000000009.jpg", "dog", "testA", True),
    ]


def test_the_annotation_is_the_mask_and_held_out_masks_only_score(ingest, pickled, instances, draw):
    root = draw(*(f"coco/train2014/{name}" for name in IMAGES))
    first, second, test = ingest("refcoco", root, refs=pickled(REFS), instances=instances)
    assert first.human_mask == second.human_mask
    box = rle.bbox(first.human_mask)
    assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx((4, 4, 20.5, 18.25), abs=1)
    assert test.held_out and test.human_mask is not None


def test_which_splits_are_read_and_which_are_held_out_can_be_said(records, pickled, instances):
    refs = pickled(REFS)
    (pair,), _ = records("refcoco", refs=refs, instances=instances, splits="val testA", held_out="val")
    assert (pair.difficulty, pair.held_out) == ("testA", False)


def test_refs_that_cannot_be_used_are_bad_records(records, pickled, instances):
    broken = [{**REFS[0], "ann_id": 404}, {**REFS[0], "image_id": 404}, {"ref_id": 3}, "text", REFS[1]]
    pairs, bad = records("refcoco", refs=pickled(broken), instances=instances)
    assert [pair.instruction for pair in pairs] == ["dog"]
    assert [record.where for record in bad] == [f"refs(unc).p: ref {position}" for position in range(4)]
    assert "annotation 404 is not in 'instances.json'" in bad[0].why


class Hostile:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("nested", [False, True])
def test_a_hostile_pickle_runs_nothing(records, tmp_path, instances, protocol, nested):
    mark = tmp_path / "it ran"
    bomb = Hostile(os.system, f"touch '{mark}'")
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps([{"ref_id": bomb}] if nested else bomb, protocol))
    with pytest.raises(ConfigError, match=r"more than plain data.*do not trust"):
        records("refcoco", refs=str(path), instances=instances)
    assert not mark.exists()


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Hostile(eval, "1 + 1")),
        pickle.dumps(Hostile(getattr, "", "join")),
        pickle.dumps(range(3)),
        pickle.dumps({1, 2}, 2),
        b"(S'echo'\nios\nsystem\n.",
        b"\x80\x02\x82\x01.",
        b"P1\n.",
        b"",
        b"\x80",
        b"hello",
        pickle.dumps(REFS)[:-40],
        pickle.dumps({"a": 1}),
    ],
)
def test_a_file_that_is_not_a_pickle_of_a_plain_list_is_a_configuration_error(records, tmp_path, instances, data):
    path = tmp_path / "refs.p"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"refs\.p"):
        records("refcoco", refs=str(path), instances=instances)


def test_grefcoco_has_several_targets_or_none(ingest, records, write, instances, draw):
    several = {**REFS[0], "ann_id": [11, 14], "category_id": [18, 18]}
    none = {**REFS[1], "ann_id": [-1], "category_id": [-1], "split": "val"}
    also_none = {**REFS[0], "ann_id": -1, "sentences": [{"sent": "a red bus"}]}
    refs = write("grefs(unc).json", [several, none, also_none])
    pairs, bad = records("grefcoco", refs=refs, instances=instances)
    assert not bad
    assert [(p.kind, len(p.targets), p.held_out) for p in pairs] == [
        ("several", 2, False), ("several", 2, False), ("none", 0, True), ("none", 0, False),
    ]  # fmt: skip
    outcomes = ingest("grefcoco", draw(*(f"coco/train2014/{name}" for name in IMAGES)), refs=refs, instances=instances)
    assert [rle.area(sample.human_mask) > 200 for sample in outcomes] == [True, True, False, False]
