"""COCO as tools and pandas write it: ids, names, polygons and sizes that are not those of the paper's files."""

import json
from pathlib import Path

import pytest
from PIL import Image

from storage.errors import ConfigError
from storage.pixels import rle
from storage.records import Box

SQUARE = [4.0, 4.0, 20.0, 4.0, 20.0, 20.0, 4.0, 20.0]
IMAGE = {"id": 1, "file_name": "a.png", "width": 64, "height": 48}


def annotation(number=1, segmentation=(SQUARE,), **more):
    given = segmentation if isinstance(segmentation, dict | None) else list(segmentation)
    return {"id": number, "image_id": 1, "category_id": 1, "bbox": [4, 4, 16, 16], "segmentation": given, **more}


def document(*annotations, images=(IMAGE,), categories=({"id": 1, "name": "cup"},), **more):
    return {"images": list(images), "annotations": list(annotations), "categories": list(categories), **more}


@pytest.fixture
def coco(write, records):
    """The pairs and the bad records of a document."""
    return lambda *annotations, **more: records("coco", instances=write("c.json", document(*annotations, **more)))


@pytest.fixture
def sample(write, ingest, draw):
    """The one outcome of a document, over an image of 64 by 48."""

    def sample(*annotations, **more):
        (outcome,) = ingest("coco", draw("a.png"), instances=write("c.json", document(*annotations, **more)))
        return outcome

    return sample


@pytest.mark.parametrize("segmentation", [[SQUARE, [5, 5, 6, 6]], [[5, 5], SQUARE], SQUARE, [list(map(int, SQUARE))]])
def test_parts_of_fewer_than_three_points_are_dropped_as_users_of_pycocotools_do(segmentation, sample):
    assert rle.area(sample(annotation(segmentation=segmentation)).human_mask) == 256


def test_what_is_dropped_is_counted(write, left_out):
    path = write("c.json", document(annotation(segmentation=[SQUARE, [5, 5, 6, 6], [7, 7]])))
    assert left_out("coco", instances=path) == {"polygon of fewer than 3 points": 2}


@pytest.mark.parametrize("segmentation", [[[4, 4, 20, 20]], [[4, 4, 16, 16]], [4, 4, 20, 20], [], None, [[5, 5]]])
def test_a_box_instead_of_a_polygon_is_a_box(segmentation, sample):
    assert sample(annotation(segmentation=segmentation)).human_boxes == (Box(4, 4, 20, 20),)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (annotation(segmentation=[[1, 1, 9, 9]]), "two points and is not the box"),
        (annotation(segmentation=[[4, 4, 20, 20]], bbox=None), "two points and is not the box None"),
        (annotation(segmentation=None, bbox=None), "neither a segmentation nor a box"),
        (annotation(segmentation=[], bbox=[]), "neither a segmentation nor a box"),
        (annotation(segmentation=[[1, 1, 9, 1, 9, 9, 3]]), "odd number of coordinates, 7"),
        (annotation(segmentation=[["1", 1, 9, 1, 9, 9]]), "a number is needed, got '1'"),
        (annotation(segmentation={"counts": "x"}), "run lengths need 'size' and 'counts'"),
        (annotation(segmentation=None, bbox=[1, 2, 0, 4]), "covers nothing"),
        (annotation(segmentation=None, bbox=[1, 2, 3]), "a box must be [x, y, width, height]"),
    ],
)
def test_an_annotation_without_a_shape_says_what_is_missing(broken, why, coco):
    pairs, (bad,) = coco(
        broken, annotation(2, category_id=2), categories=[{"id": 1, "name": "x"}, {"id": 2, "name": "y"}]
    )
    assert [pair.instruction for pair in pairs] == ["Find every y."]
    assert bad.where == "c.json: image 1, category 1" and bad.why.startswith("annotation 1: ") and why in bad.why


@pytest.mark.parametrize("text", ["7", "a-b", "0f8fad5b-d9cb-469f-a165-70867728950e", " 7 ", "007"])
def test_ids_may_be_text(text, coco):
    pairs, bad = coco(
        annotation(text, image_id=text, category_id=text),
        annotation(text + "x", image_id=text, category_id=text),
        images=[IMAGE | {"id": text}],
        categories=[{"id": text, "name": "cup"}],
    )
    assert ([len(pair.targets) for pair in pairs], bad) == ([2], [])


def test_a_number_and_its_text_are_one_id_and_a_whole_float_too(coco):
    pairs, bad = coco(annotation("1", image_id="1", category_id=1.0), annotation(2.0))
    assert ([len(pair.targets) for pair in pairs], bad) == ([2], [])


@pytest.mark.parametrize("value", [1.5, float("nan"), True, None, [], "", 2**70])
def test_other_ids_are_refused_and_never_cut_to_whole_numbers(value, coco):
    pairs, bad = coco(
        annotation(1), annotation(value, image_id=2), images=[IMAGE, IMAGE | {"id": 2, "file_name": "b.png"}]
    )
    assert [pair.image for pair in pairs] == ["a.png"]
    assert [record.where for record in bad] == ["c.json: annotations[1]"]
    assert "an id must be" in bad[0].why


def test_annotations_of_one_id_are_targets_each(coco):
    cups = [{"id": 1, "name": "cup"}, {"id": 2, "name": "ring"}]
    other = annotation(1, [[edge + 20 for edge in SQUARE]])
    pairs, bad = coco(annotation(1), other, annotation(1, category_id=2), categories=cups)
    assert ([len(pair.targets) for pair in pairs], bad) == ([2, 1], [])


def test_a_category_of_which_an_annotation_cannot_be_used_is_lost_whole(coco):
    cups = [{"id": 1, "name": "cup"}, {"id": 2, "name": "ring"}]
    pairs, bad = coco(annotation(1), annotation(1.5), annotation(2, category_id=2), categories=cups)
    assert [pair.instruction for pair in pairs] == ["Find every ring."]
    assert [record.where for record in bad] == ["c.json: annotations[1]", "c.json: image 1, category 1"]


def test_dangling_ids_are_named(coco):
    pairs, bad = coco(annotation(1), annotation(2, image_id=77), annotation(3, category_id="no-such"))
    assert len(pairs) == 1
    assert [record.why for record in bad] == [
        "no category of the file has the id no-such", "no image of the file has the id 77",
    ]  # fmt: skip


def test_two_images_with_one_id_are_not_one(coco):
    _, (bad,) = coco(annotation(1), images=[IMAGE, IMAGE | {"file_name": "b.png"}, IMAGE])
    assert (bad.where, bad.why) == ("c.json: images[1]", "another one has the id 1 too")


def test_an_image_without_a_name_is_called_by_the_end_of_its_url(coco):
    lvis = {"id": 1, "coco_url": "http://images.cocodataset.org/val2017/000000397133.jpg", "width": 64, "height": 48}
    (pair,), bad = coco(annotation(1), images=[lvis])
    assert (pair.image, bad) == ("000000397133.jpg", [])


def test_urls_of_one_name_are_refused_and_more_parts_tell_them_apart(write, records):
    images = [{"id": n, "coco_url": f"http://x/{folder}/1.jpg"} for n, folder in ((1, "train2017"), (2, "val2017"))]
    path = write("lvis.json", document(annotation(1), annotation(2, image_id=2), images=images))
    pairs, bad = records("coco", instances=path)
    assert pairs == [] and len(bad) == 2 and "set url_parts" in bad[0].why
    pairs, bad = records("coco", instances=path, url_parts=2, images="coco")
    assert ([pair.image for pair in pairs], bad) == (["coco/train2017/1.jpg", "coco/val2017/1.jpg"], [])


def test_categories_that_lvis_did_not_mark_exhaustively_are_unlabeled(coco):
    (pair,), _ = coco(annotation(1), images=[IMAGE | {"not_exhaustive_category_ids": [1]}])
    assert pair.targets is None


def test_a_url_is_no_path_below_the_images(write, records):
    path = write("c.json", document(annotation(1), images=[IMAGE | {"file_name": "https://x.org/a.png"}]))
    (pair,), _ = records("coco", instances=path, images="images")
    assert pair.image == "https://x.org/a.png"


def test_an_image_without_any_name_is_a_bad_record(coco):
    _, (first, second) = coco(annotation(1), images=[{"id": 1}, IMAGE | {"id": 2}])
    assert first.why == "it has neither 'file_name' nor 'coco_url'"
    assert second.why == "no image of the file has the id 1"


def test_a_byte_order_mark_does_no_harm(records, tmp_path):
    (tmp_path / "c.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(document(annotation(1))).encode())
    pairs, bad = records("coco", instances=str(tmp_path / "c.json"))
    assert (len(pairs), bad) == (1, [])
    (tmp_path / "d.json").write_bytes(json.dumps(document(annotation(1))).encode("utf-16"))
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        records("coco", instances=str(tmp_path / "d.json"))


def test_categories_and_images_that_come_twice_make_one_pair_with_all_targets(sample):
    right = [30.0, 4.0, 40.0, 4.0, 40.0, 14.0, 30.0, 14.0]
    low = [30.0, 30.0, 40.0, 30.0, 40.0, 40.0, 30.0, 40.0]
    found = sample(
        annotation(1),
        annotation(2, [right], category_id=7),
        annotation(3, [low], image_id=2),
        images=[IMAGE, IMAGE | {"id": 2}],
        categories=[{"id": 1, "name": "cup"}, {"id": 7, "name": "cup"}],
    )
    assert rle.area(found.human_mask) == 256 + 100 + 100


def test_annotations_of_a_larger_image_are_scaled_and_others_refused(sample):
    large = [IMAGE | {"width": 128, "height": 96}]
    assert rle.bbox(sample(annotation(1), images=large).human_mask) == Box(2, 2, 10, 10)
    assert sample(annotation(1, None), images=large).human_boxes == (Box(2, 2, 10, 10),)
    refused = sample(annotation(1), images=[IMAGE | {"width": 128, "height": 100}])
    assert refused.reason == "bad_human_mask" and "(100, 128)" in refused.detail and "(48, 64)" in refused.detail


@pytest.mark.parametrize("sizes", [{"width": None}, {"height": None, "width": None}])
def test_an_image_without_a_size_is_taken_as_it_is(sizes, sample):
    assert rle.area(sample(annotation(1), images=[IMAGE | sizes]).human_mask) == 256


@pytest.mark.parametrize("size", [0, -3, 4.5, "64"])
def test_a_size_that_is_none_is_a_bad_record(size, coco):
    _, bad = coco(annotation(1), images=[IMAGE | {"width": size}])
    assert bad[0].where == "c.json: images[0]"


@pytest.fixture
def turned(tmp_path):
    """The root of a photo that EXIF turns: 64 by 48 as it is stored, 48 by 64 as it is shown."""
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "photos" / "a.png", exif=exif)
    return tmp_path / "photos"


LOW = [4.0, 50.0, 20.0, 50.0, 20.0, 60.0, 4.0, 60.0]
FAR = [50.0, 4.0, 60.0, 4.0, 60.0, 20.0, 50.0, 20.0]


def test_exchanged_sides_do_no_harm_where_the_marks_lie_in_the_frame_that_is_shown(write, ingest, turned):
    for polygon in (SQUARE, LOW):
        path = write("c.json", document(annotation(1, [polygon])))
        (found,) = ingest("coco", turned, instances=path)
        assert rle.bbox(found.human_mask) == Box(polygon[0], polygon[1], polygon[4], polygon[5])


def test_marks_in_the_frame_that_is_stored_are_refused_with_all_others_of_the_image(write, ingest, turned):
    cups = [{"id": 1, "name": "cup"}, {"id": 2, "name": "ring"}]
    path = write("c.json", document(annotation(1, [FAR]), annotation(2, category_id=2), categories=cups))
    outcomes = ingest("coco", turned, instances=path)
    assert [outcome.reason for outcome in outcomes] == ["bad_human_mask"] * 2
    assert all("exchanged" in outcome.detail and "EXIF" in outcome.detail for outcome in outcomes)


def test_polygons_of_label_studio_are_scaled_by_the_size_that_it_wrote(write, ingest, turned):
    """It multiplies percents of the photo as it is shown with the sides of the photo as it is stored; boxes not so."""
    shown = [[0.25 * 64, 0.5 * 48, 0.5 * 64, 0.5 * 48, 0.5 * 64, 0.75 * 48, 0.25 * 64, 0.75 * 48]]
    cups = [{"id": 1, "name": "cup"}, {"id": 2, "name": "ring"}]
    box = annotation(2, [], bbox=[4, 50, 16, 10], category_id=2)
    info = {"info": {"contributor": "Label Studio"}}
    polygon, boxed = ingest(
        "coco", turned, instances=write("c.json", document(annotation(1, shown), box, categories=cups, **info))
    )
    assert rle.bbox(polygon.human_mask) == Box(12, 32, 24, 48)
    assert boxed.human_boxes == (Box(4, 50, 20, 60),)


def test_label_studio_files_of_upright_photos_are_as_any_other(write, ingest, draw):
    info = {"info": {"contributor": "Label Studio"}}
    (found,) = ingest("coco", draw("a.png"), instances=write("c.json", document(annotation(1), **info)))
    assert rle.bbox(found.human_mask) == Box(4, 4, 20, 20)


def test_the_manifest_has_no_path_of_this_machine(write, records, tmp_path):
    pairs, _ = records("coco", instances=write("c.json", document(annotation(1))))
    assert str(Path(tmp_path)) not in repr(pairs)
