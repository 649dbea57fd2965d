import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from storage.pixels import rle


def document(*shapes, **changes):
    size = {"imageHeight": 48, "imageWidth": 64}
    return {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": "a.png", **size} | changes


def shape(kind, points, label="cup", **changes):
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}} | changes


def png(part_HW):
    stream = io.BytesIO()
    Image.fromarray(part_HW).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def test_each_label_is_an_instruction_with_all_its_shapes(write, records, tmp_path):
    polygon = shape("polygon", [[1, 2], [9, 2], [9, 8]])
    rectangle = shape("rectangle", [[30, 20], [10, 4]])
    part_HW = np.array([[1, 0], [1, 1]], np.uint8)
    pasted = shape("mask", [[5, 6], [6, 7]], label="ring", mask=png(part_HW))
    write("labels/a.json", document(polygon, pasted, rectangle))
    (cup, ring), bad = records("labelme", folder=str(tmp_path / "labels"), instruction="Find the {name}.", images="x")
    assert not bad
    assert (cup.image, cup.instruction, ring.instruction) == ("x/a.png", "Find the cup.", "Find the ring.")
    size = {"size": [48, 64]}
    assert cup.targets == ({"polygons": [[1, 2, 9, 2, 9, 8]]} | size, {"box": [10, 4, 30, 20]} | size)
    mask_HW = rle.decode(rle.from_counts(**ring.targets[0]["mask_rle"]))
    assert mask_HW.shape == (48, 64)
    assert (mask_HW[6:8, 5:7] == part_HW).all()
    assert mask_HW.sum() == 3


def test_a_flag_says_that_a_thing_is_not_there(write, records, tmp_path):
    flags = {"no target: a dog": True, "no target: a cat": False, "blurred": True}
    write("labels/a.json", document(flags=flags))
    (pair,), _ = records("labelme", folder=str(tmp_path / "labels"))
    assert (pair.instruction, pair.targets) == ("a dog", ())


def test_only_the_name_of_an_image_counts(write, records, tmp_path):
    write("labels/a.json", document(shape("rectangle", [[1, 2], [3, 4]]), imagePath=r"..\..\secret\a.png"))
    (pair,), _ = records("labelme", folder=str(tmp_path / "labels"))
    assert pair.image == "a.png"


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (document(shape("cuboid", [[1, 2], [3, 4]])), "'cuboid' with 2 points is no mask"),
        (document(shape("polygon", [[1, 2], [3, 4]])), "'polygon' with 2 points"),
        (document(shape("circle", [[1, 2], [1, 2]])), "radii above 0"),
        (document(shape("mask", [[0, 0], [1, 1]], mask=""), imageHeight=None), "needs imageHeight and imageWidth"),
        (document(shape("polygon", [[1, 2], [3]])), "points must be a list of [x, y]"),
        (document({"points": []}), "'label' is missing"),
        (document(shape("rectangle", [[1, 2], [3, 4]]), flags={"no target: cup": True}), "drawn, and flagged"),
        (document(shape("mask", [[63, 0], [64, 1]], mask=png(np.ones((2, 2), np.uint8)))), "leaves the image"),
        (document(shape("mask", [[0, 0], [1, 1]], mask="no PNG")), "Invalid base64"),
        (document(shape("mask", [[0, 0], [1, 1]], mask="AAAA")), "bytes that begin none of"),
        (document(shape("polygon", [[1, 2], ["x", 4]])), "a number is needed, got 'x'"),
        (document(shape("mask", [[0, 0], [1, 1]], mask=""), imageWidth=10**12), "an image of"),
        ({"shapes": []}, "imagePath"),
        ("{torn", "it is no JSON"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_bad_record(broken, why, write, records, tmp_path):
    write("labels/a.json", broken)
    write("labels/b.json", document(shape("rectangle", [[1, 2], [3, 4]])))
    pairs, bad = records("labelme", folder=str(tmp_path / "labels"))
    assert len(pairs) == 1
    assert bad[0].where.startswith("a.json")
    assert why in bad[0].why


SQUARE = shape("polygon", [[1, 2], [9, 2], [9, 8]])


def test_a_shape_that_cannot_be_read_loses_its_label_and_no_other(write, records, tmp_path):
    write(
        "labels/a.json", document(SQUARE, shape("cuboid", [[1, 2]], label="ring"), shape("circle", [[9, 9], [12, 9]]))
    )
    pairs, bad = records("labelme", folder=str(tmp_path / "labels"))
    assert [(pair.instruction, len(pair.targets)) for pair in pairs] == [("cup", 2)]
    assert [record.where for record in bad] == ["a.json: 'ring', shape 1"]


@pytest.mark.parametrize("kind", ["point", "points", "line", "linestrip"])
def test_marks_that_cover_no_area_are_left_out_and_counted(kind, write, left_out, records, tmp_path):
    write("labels/a.json", document(SQUARE, shape(kind, [[1, 2], [5, 5]], label="wire"), shape(kind, [[3, 3]])))
    options = {"folder": str(tmp_path / "labels")}
    (pair,), bad = records("labelme", **options)
    assert (pair.instruction, len(pair.targets), bad) == ("cup", 1, [])
    assert left_out("labelme", **options) == {kind: 2}


def test_a_file_without_any_shape_asks_for_nothing(write, left_out, records, tmp_path):
    write("labels/a.json", document())
    assert records("labelme", folder=str(tmp_path / "labels")) == ([], [])
    assert left_out("labelme", folder=str(tmp_path / "labels")) == {"image without shapes": 1}


@pytest.mark.parametrize(
    ("drawn", "area"),
    [
        (shape("circle", [[32, 24], [42, 24]]), np.pi * 100),
        (shape("rotation", [[20, 24], [32, 12], [44, 24], [32, 36]]), 288),
        (shape("oriented_rectangle", [[20, 24], [32, 12], [44, 24], [32, 36]]), 288),
        (shape("rectangle", [[20, 24], [32, 12], [44, 24], [32, 36]]), 288),
    ],
)
def test_exact_shapes_are_drawn(drawn, area, write, ingest, draw, tmp_path):
    write("labels/a.json", document(drawn))
    (sample,) = ingest("labelme", draw("a.png"), folder=str(tmp_path / "labels"))
    assert rle.area(sample.human_mask) == pytest.approx(area, rel=0.03)


def test_an_upright_rectangle_of_four_points_is_a_box(write, records, tmp_path):
    write("labels/a.json", document(shape("rectangle", [[20, 4], [60, 4], [60, 40], [20, 40]])))
    (pair,), _ = records("labelme", folder=str(tmp_path / "labels"))
    assert pair.targets == ({"box": [20, 4, 60, 40], "size": [48, 64]},)


@pytest.mark.parametrize("changes", [{"imageHeight": None, "imageWidth": None}, {"imageHeight": None}])
def test_a_size_is_needed_for_pasted_masks_alone(changes, write, records, tmp_path):
    write("labels/a.json", document(SQUARE, **changes))
    (pair,), bad = records("labelme", folder=str(tmp_path / "labels"))
    assert (pair.targets, bad) == (({"polygons": [[1, 2, 9, 2, 9, 8]]},), [])


def test_a_byte_order_mark_does_no_harm(records, tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(document(SQUARE)).encode())
    (tmp_path / "b.json").write_bytes(json.dumps(document(SQUARE, imagePath="b.png")).encode("utf-16"))
    pairs, bad = records("labelme", folder=str(tmp_path))
    assert ([pair.image for pair in pairs], bad) == (["a.png", "b.png"], [])


def test_images_are_named_from_where_their_file_lies(write, records, tmp_path):
    for name, path in (
        ("cam1/1.json", "1.png"),
        ("cam2/1.json", "1.png"),
        ("3.json", "cam3\\1.png"),
        ("4.json", "x/../1.png"),
    ):
        write(f"labels/{name}", document(SQUARE, imagePath=path))
    pairs, _ = records("labelme", folder=str(tmp_path / "labels"), images="photos")
    names = ["photos/cam3/1.png", "photos/1.png", "photos/cam1/1.png", "photos/cam2/1.png"]
    assert [pair.image for pair in pairs] == names


def test_two_images_that_would_get_one_name_are_refused(write, records, tmp_path):
    write("labels/a.json", document(SQUARE, imagePath="/cam1/1.png"))
    write("labels/b.json", document(SQUARE, imagePath="C:\\cam2\\1.png"))
    pairs, bad = records("labelme", folder=str(tmp_path / "labels"))
    assert pairs == []
    assert all("two images would be called '1.png'" in record.why for record in bad) and len(bad) == 2


def test_two_files_of_one_image_and_label_are_one_pair(write, ingest, draw, tmp_path):
    write("labels/a.json", document(shape("polygon", [[0, 0], [8, 0], [8, 8], [0, 8]]), imagePath="1.png"))
    write(
        "labels/b.json",
        document(shape("polygon", [[20, 0], [28, 0], [28, 8], [20, 8]], label="cup "), imagePath="1.png"),
    )
    (sample,) = ingest("labelme", draw("1.png"), folder=str(tmp_path / "labels"))
    assert rle.area(sample.human_mask) == 128


def test_an_embedded_image_is_taken_where_no_file_lies_beside(write, ingest, draw, tmp_path):
    data = (draw("a.png") / "a.png").read_bytes()
    write("labels/a.json", document(SQUARE, imageData=base64.b64encode(data).decode()))
    (sample,) = ingest("labelme", folder=str(tmp_path / "labels"))
    assert sample.image == data and sample.image_uri.startswith("images/")
    (beside,) = ingest("labelme", draw("a.png"), folder=str(tmp_path / "labels"), images=".")
    assert beside.image_uri == "a.png"
