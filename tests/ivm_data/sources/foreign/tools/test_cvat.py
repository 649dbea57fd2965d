import numpy as np
import pytest

from storage.errors import ConfigError
from storage.pixels import rle
from storage.records import Box


def image(*shapes, name="a.png", width=64, height=48, number=0):
    return f'<image id="{number}" name="{name}" width="{width}" height="{height}">{"".join(shapes)}</image>'


def document(*images):
    meta = "<version>1.1</version><meta><task><name>toys</name></task></meta>"
    return f'<?xml version="1.0" encoding="utf-8"?><annotations>{meta}{"".join(images)}</annotations>'


def shape(kind, label="cup", **given):
    attributes = " ".join(f'{name}="{value}"' for name, value in given.items())
    inner = '<attribute name="c">red</attribute>'
    return f'<{kind} label="{label}" source="manual" occluded="0" {attributes} z_order="0">{inner}</{kind}>'


BOX = shape("box", xtl="10.00", ytl="5.00", xbr="30.00", ybr="25.00")
POLYGON = shape("polygon", points="10.00,5.00;30.00,5.00;30.00,25.00;10.00,25.00")


def test_each_label_of_an_image_is_an_instruction_with_all_its_shapes(write, records):
    path = write(
        "a.xml", document(image(BOX, POLYGON, shape("box", "ring", xtl=1, ytl=2, xbr=3, ybr=4), name="x/a.png"))
    )
    (cup, ring), bad = records("cvat", annotations=path, images="photos")
    assert not bad
    assert (cup.image, cup.instruction, ring.instruction) == ("photos/x/a.png", "Find every cup.", "Find every ring.")
    assert cup.targets == (
        {"box": [10, 5, 30, 25], "size": [48, 64]},
        {"polygons": [[10, 5, 30, 5, 30, 25, 10, 25]], "size": [48, 64]},
    )


def test_masks_are_runs_of_a_box_row_by_row_from_the_background_on(write, ingest, draw):
    mask_HW = np.zeros((48, 64), bool)
    mask_HW[7:9, 11:14] = [[0, 1, 1], [1, 1, 0]]
    mask = shape("mask", rle="1, 4, 1", left=11, top=7, width=3, height=2)
    (sample,) = ingest("cvat", draw("a.png"), annotations=write("a.xml", document(image(mask))))
    assert (rle.decode(sample.human_mask) == mask_HW).all()


def test_ellipses_and_turned_boxes_are_drawn(write, ingest, draw):
    ellipse = shape("ellipse", cx=32, cy=24, rx=16, ry=6, rotation=90)
    turned = shape("box", "ring", xtl=22, ytl=14, xbr=42, ybr=34, rotation="45.00")
    cup, ring = ingest("cvat", draw("a.png"), annotations=write("a.xml", document(image(ellipse, turned))))
    assert rle.area(cup.human_mask) == pytest.approx(np.pi * 16 * 6, rel=0.03)
    box = rle.bbox(cup.human_mask)
    assert (box.x1 - box.x0, box.y1 - box.y0) == (12, 32)
    assert rle.area(ring.human_mask) == pytest.approx(400, rel=0.05)
    assert rle.bbox(ring.human_mask).center == pytest.approx((32, 24), abs=1)


@pytest.mark.parametrize("kind", ["polyline", "points", "cuboid", "skeleton", "tag"])
def test_marks_that_cover_no_known_area_are_left_out(kind, write, records, left_out):
    path = write("a.xml", document(image(shape(kind, points="1,2;3,4"), BOX)))
    (pair,), bad = records("cvat", annotations=path)
    assert (len(pair.targets), bad) == (1, [])
    assert left_out("cvat", annotations=path) == {kind: 1}


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (shape("blob"), "<blob> is not known"),
        (shape("polygon", points="1,2;3,4"), "needs 3 points"),
        (shape("polygon", points="1;3,4"), "not enough values"),
        (shape("polygon"), "'points' is missing"),
        (shape("box", xtl=9, ytl=5, xbr=3, ybr=9), "covers nothing"),
        (shape("ellipse", cx=1, cy=1, rx=0, ry=1), "radii above 0"),
        (shape("mask", rle="1,4", left=11, top=7, width=3, height=2), "do not cover 6 pixels"),
        (shape("mask", rle="1,-4,9", left=11, top=7, width=3, height=2), "do not cover 6 pixels"),
        (shape("mask", rle="6", left=63, top=7, width=3, height=2), "leaves the image"),
        (shape("mask", rle="", left=1, top=7, width=3, height=2), "invalid literal"),
    ],
)
def test_a_shape_that_cannot_be_read_loses_its_label_alone(broken, why, write, records):
    ring = shape("box", "ring", xtl=1, ytl=2, xbr=3, ybr=4)
    pairs, (bad,) = records("cvat", annotations=write("a.xml", document(image(BOX, ring, broken, number=7))))
    assert [pair.instruction for pair in pairs] == ["Find every ring."]
    assert bad.where.startswith("a.xml: image 7: 'cup'") and why in bad.why


@pytest.mark.parametrize("changes", [{"width": "x"}, {"height": 0}, {"width": 10**9}, {"name": ""}])
def test_an_image_that_is_none_is_a_bad_record_and_the_others_go_on(changes, write, records):
    pairs, bad = records("cvat", annotations=write("a.xml", document(image(BOX, **changes), image(BOX, name="b.png"))))
    assert ([pair.image for pair in pairs], len(bad)) == (["b.png"], 1)


def test_shapes_of_an_image_of_another_size_are_scaled(write, ingest, draw):
    (sample,) = ingest("cvat", draw("a.png"), annotations=write("a.xml", document(image(BOX, width=128, height=96))))
    assert sample.human_boxes == (Box(5, 2.5, 15, 12.5),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotations><track id='0' label='x'></track></annotations>", "export the task as 'CVAT for images 1.1'"),
        ("<annotations></annotations>", "has no <image>"),
        ("<annotation></annotation>", "not <annotations>"),
        ("<annotations><image>", "is no XML"),
        ("{}", "is no XML"),
        ("", "is no XML"),
    ],
)
def test_another_kind_of_file_is_a_configuration_error(text, message, write, records):
    with pytest.raises(ConfigError, match=message):
        records("cvat", annotations=write("a.xml", text))


def test_entities_that_grow_are_refused(write, records):
    bomb = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    text = f'<!DOCTYPE x [<!ENTITY a0 "xxxxxxxxxx">{bomb}]><annotations><image name="&a11;"/></annotations>'
    with pytest.raises(ConfigError, match="is no XML"):
        records("cvat", annotations=write("a.xml", text))
