import base64
import io

import numpy as np
import pytest
from PIL import Image

from ivm_data.sources.foreign.tools import brush
from storage.pixels import rle

SIZE = {"original_width": 64, "original_height": 48, "image_rotation": 0}


def task(*results, **changes):
    data = {"image": "/data/local-files/?d=photos/a.png", "instruction": "Find the cup."}
    return {"id": 1, "data": data, "annotations": [{"result": list(results)}]} | changes


def result(value, kind="polygonlabels", **changes):
    return {"type": kind, "from_name": "l", "to_name": "image", "value": value, **SIZE} | changes


BOX = result({"x": 25, "y": 50, "width": 50, "height": 25, "rotation": 0}, "rectanglelabels")


SIZED = {"size": [48, 64]}


def drawn(targets):
    """The pixels of targets, on the image of 64 by 48."""
    from pathlib import Path

    from ivm_data.sources.human_mask import human_label

    return rle.decode(human_label(list(targets), None, (48, 64), Path(".")).mask)


def test_strokes_polygons_and_rectangles_are_the_targets(write, records):
    mask_HW = np.zeros((48, 64), bool)
    mask_HW[4:20, 8:30] = True
    stroke = result({"rle": brush.encode(mask_HW.astype(np.uint8) * 255).tolist(), "format": "rle"}, "brushlabels")
    polygon = result({"points": [[0, 0], [50, 0], [50, 50]], "closed": True})
    (pair,), bad = records("label-studio", tasks=write("tasks.json", [task(stroke, polygon, BOX)]))
    assert not bad
    assert (pair.image, pair.instruction) == ("photos/a.png", "Find the cup.")
    first, second, third = pair.targets
    assert (rle.decode(rle.from_counts(**first["mask_rle"])) == mask_HW).all()
    assert second == {"polygons": [[0, 0, 32, 0, 32, 24]]} | SIZED
    assert third == {"box": [16, 24, 48, 36]} | SIZED


def test_a_turned_rectangle_is_the_polygon_that_the_screen_shows(write, records):
    turned = result({"x": 50, "y": 0, "width": 25, "height": 50, "rotation": 90}, "rectanglelabels")
    (pair,), _ = records("label-studio", tasks=write("tasks.json", [task(turned)]))
    (target,) = pair.targets
    assert np.allclose(target["polygons"], [[32, 0, 32, 16, 8, 16, 8, 0]])


def test_the_last_annotation_that_was_not_skipped_counts(write, records):
    annotations = [{"result": []}, {"result": [BOX]}, {"result": [], "was_cancelled": True}]
    (pair,), _ = records("label-studio", tasks=write("tasks.json", [task(annotations=annotations)]))
    assert pair.targets == ({"box": [16, 24, 48, 36]} | SIZED,)


def test_an_empty_annotation_says_that_nothing_is_there_and_none_that_nobody_looked(write, records):
    tasks = [task(), task(annotations=[]), task(annotations=[], predictions=[{"result": [BOX]}])]
    path = write("tasks.json", tasks)
    box = {"box": [16, 24, 48, 36]} | SIZED
    assert [pair.targets for pair in records("label-studio", tasks=path)[0]] == [(), None, None]
    predicted = records("label-studio", tasks=path, predictions=True)[0]
    assert [pair.targets for pair in predicted] == [(), None, (box,)]


CHOICE = {"type": "choices", "value": {"choices": ["blurred"]}}
RELATION = {"type": "relation", "from_id": "a", "to_id": "b"}
KEYPOINT = result({"x": 20, "y": 30, "width": 0.5, "keypointlabels": ["cup"]}, "keypointlabels")
OPEN = result({"vertices": [{"x": 1, "y": 1}, {"x": 9, "y": 1}, {"x": 9, "y": 9}], "closed": False}, "vectorlabels")


def test_what_marks_nothing_says_nothing_of_what_is_there(write, records, left_out):
    path = write("tasks.json", [task(CHOICE, RELATION), task(KEYPOINT), task(OPEN), task(BOX, KEYPOINT, CHOICE)])
    pairs, bad = records("label-studio", tasks=path)
    assert not bad
    assert [pair.targets for pair in pairs[:3]] == [None, None, None]
    assert pairs[3].targets == ({"box": [16, 24, 48, 36]} | SIZED,)
    assert left_out("label-studio", tasks=path) == {"choices": 2, "relation": 1, "keypoint": 2, "open vector": 1}


def data_url(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "1", "L"])
def test_a_bitmask_is_what_its_picture_covers(mode, write, records):
    mask_HW = np.zeros((48, 64), np.uint8)
    mask_HW[4:20, 8:30] = 255
    if mode in ("RGBA", "LA"):
        image = Image.merge("LA", [Image.new("L", (64, 48)), Image.fromarray(mask_HW)]).convert(mode)
    else:
        image = Image.fromarray(mask_HW).convert(mode)
    (pair,), _ = records(
        "label-studio", tasks=write("t.json", [task(result({"imageDataURL": data_url(image)}, "bitmasklabels"))])
    )
    assert (drawn(pair.targets) == (mask_HW > 0)).all()


def test_closed_vectors_and_ellipses_are_drawn(write, records):
    vertices = [
        {"id": "a", "x": 25, "y": 25},
        {"id": "b", "prevPointId": "a", "x": 50, "y": 25},
        {"id": "c", "x": 50, "y": 50},
    ]
    vector = result({"vertices": vertices, "closed": True}, "vectorlabels")
    ellipse = result({"x": 50, "y": 50, "radiusX": 25, "radiusY": 12.5, "rotation": 90}, "ellipselabels")
    pairs, bad = records("label-studio", tasks=write("tasks.json", [task(vector), task(ellipse)]))
    assert not bad
    assert pairs[0].targets == ({"polygons": [[16, 12, 32, 12, 32, 24]]} | SIZED,)
    mask_HW = drawn(pairs[1].targets)
    assert mask_HW.sum() == pytest.approx(np.pi * 16 * 6, rel=0.03)
    y_N, x_N = mask_HW.nonzero()
    assert (np.ptp(y_N) + 1, np.ptp(x_N) + 1) == (32, 12)


def test_marks_without_a_size_stay_in_shares_of_the_image(write, records):
    ellipse = result({"x": 50, "y": 50, "radiusX": 25, "radiusY": 25, "rotation": 0}, "ellipselabels")
    sized = [BOX, result({"points": [[0, 0], [50, 0], [50, 50]]}), ellipse]
    shapes = [{name: value for name, value in shape.items() if not name.startswith("original_")} for shape in sized]
    (pair,), bad = records("label-studio", tasks=write("tasks.json", [task(*shapes)]))
    assert not bad
    box, polygon, round_ = pair.targets
    assert box == {"box": [0.25, 0.5, 0.75, 0.75], "frame": "image"}
    assert polygon == {"polygons": [[0, 0, 0.5, 0, 0.5, 0.5]], "frame": "image"}
    assert drawn([round_]).sum() == pytest.approx(np.pi * 16 * 12, rel=0.03)


def test_regions_of_another_image_are_left_out(write, records, left_out):
    data = {"image": "a.png", "image2": "b.png", "instruction": "Find the cup."}
    other = BOX | {"to_name": "image2"}
    path = write("tasks.json", [task(BOX, other, data=data), task(other, data=data)])
    (pair,), (bad,) = records("label-studio", tasks=path)
    assert len(pair.targets) == 1
    assert bad.why == "every region is of another image of the task"
    (second,), _ = records("label-studio", tasks=write("one.json", [task(BOX, other, data=data)]), image="image2")
    assert (second.image, len(second.targets)) == ("b.png", 1)
    tags = [task(BOX | {"to_name": "left"}, BOX | {"to_name": "right"}, data=data)]
    assert "set to_name" in records("label-studio", tasks=write("tags.json", tags))[1][0].why
    (named,), _ = records("label-studio", tasks=write("tags.json", tags), to_name="left")
    assert len(named.targets) == 1


def test_two_images_of_one_name_are_refused_and_a_prefix_tells_them_apart(write, records):
    tasks = [
        task(BOX, data={"image": f"s3://bucket/{cam}/a.png", "instruction": "Find it."}) for cam in ("cam1", "cam2")
    ]
    path = write("tasks.json", tasks)
    pairs, bad = records("label-studio", tasks=path)
    assert pairs == [] and len(bad) == 2
    assert "set prefix" in bad[0].why
    pairs, bad = records("label-studio", tasks=path, prefix="s3://bucket/", images="photos")
    assert ([pair.image for pair in pairs], bad) == (["photos/cam1/a.png", "photos/cam2/a.png"], [])
    assert "does not start with the prefix" in records("label-studio", tasks=path, prefix="gs://")[1][0].why


def test_labels_are_the_instructions_of_a_project_without_any(write, records, left_out):
    cup = result({"points": [[0, 0], [50, 0], [50, 50]], "polygonlabels": ["cup"]})
    both = result({"x": 0, "y": 0, "width": 50, "height": 50, "rectanglelabels": ["cup", "red"]}, "rectanglelabels")
    bare = result({"x": 0, "y": 0, "width": 50, "height": 50}, "rectangle")
    path = write("tasks.json", [task(cup, both, bare, data={"image": "a.png"}), task(data={"image": "b.png"})])
    pairs, bad = records("label-studio", tasks=path)
    assert not bad
    assert [(p.image, p.instruction, len(p.targets)) for p in pairs] == [
        ("a.png", "Find every cup.", 2), ("a.png", "Find every red.", 1),
    ]  # fmt: skip
    assert left_out("label-studio", tasks=path) == {"rectangle without a label": 1, "task without shapes": 1}


def test_a_region_may_be_drawn_by_one_control_and_named_by_another(write, records):
    shape = {"x": 25, "y": 50, "width": 50, "height": 25, "rotation": 0}
    region = [result(shape, "rectangle", id="r"), result(shape | {"labels": ["cup"]}, "labels", id="r")]
    (pair,), bad = records("label-studio", tasks=write("tasks.json", [task(*region, data={"image": "a.png"})]))
    assert (pair.instruction, pair.targets, bad) == ("Find every cup.", ({"box": [16, 24, 48, 36]} | SIZED,), [])


def test_a_task_without_the_instruction_that_others_have_is_bad(write, records):
    pairs, bad = records("label-studio", tasks=write("tasks.json", [task(BOX), task(BOX, data={"image": "b.png"})]))
    assert len(pairs) == 1
    assert "no 'instruction', which others have" in bad[0].why


def flat(number, created_at, **regions):
    return {"image": "/data/upload/1/a.png", "id": number, "annotation_id": number, "created_at": created_at, **regions}


def test_json_min_gives_the_regions_of_each_tasks_last_annotation(write, records, left_out):
    size = {"original_width": 64, "original_height": 48}
    box = {"x": 25, "y": 50, "width": 50, "height": 25, "rotation": 0, "rectanglelabels": ["cup"]} | size
    mask_HW = np.zeros((48, 64), np.uint8)
    mask_HW[4:20, 8:30] = 255
    stroke = {"format": "rle", "rle": brush.encode(mask_HW).tolist(), "brushlabels": ["ring"]} | size
    rows = [
        flat(1, "2024-05-02", label=[box], mask=[stroke]),
        flat(1, "2024-05-01", label=[box]),
        flat(2, "2024", choice="x"),
    ]
    path = write("min.json", rows)
    pairs, bad = records("label-studio", tasks=path)
    assert not bad
    assert [(pair.image, pair.instruction) for pair in pairs] == [
        ("a.png", "Find every cup."),
        ("a.png", "Find every ring."),
    ]
    assert pairs[0].targets == ({"box": [16, 24, 48, 36]} | SIZED,)
    assert (drawn(pairs[1].targets) == (mask_HW > 0)).all()
    assert left_out("label-studio", tasks=path) == {"earlier annotation of a task": 1, "task without shapes": 1}


def test_json_min_does_not_say_that_nothing_is_there(write, records):
    rows = [
        flat(1, "2024", instruction="Find the cup."),
        flat(2, "2024", instruction="Find it.", l=[{"original_width": 6}]),
    ]
    pairs, bad = records("label-studio", tasks=write("min.json", rows))
    assert [pair.targets for pair in pairs] == [None]
    assert "not known" in bad[0].why


@pytest.mark.parametrize(
    ("reference", "file"),
    [
        ("photos/a.png", "sets/photos/a.png"),
        ("/data/local-files/?d=photos/a%20b.png", "sets/photos/a b.png"),
        ("/data/upload/3/1f2e-a%20b.png", "sets/1f2e-a b.png"),
        ("s3://bucket/deep/a.png", "sets/a.png"),
        ("C:\\photos\\a.png", "sets/a.png"),
    ],
)
def test_images_are_found_by_what_a_task_calls_them(reference, file, write, records):
    tasks = [task(data={"image": reference, "instruction": "Find it."})]
    (pair,), _ = records("label-studio", tasks=write("tasks.json", tasks), images="sets")
    assert pair.image == file


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (result({"x": 1, "y": 2, "radiusX": 3, "radiusY": 0}, "ellipselabels"), "radii above 0"),
        (result({"sequence": []}, "videorectangle"), "'videorectangle' is not known"),
        (result({"radiusX": 3}, "ellipselabels"), "'x' is missing"),
        (result({"x": 1}, "somelabels"), "'somelabels' is no mask"),
        (result({"vertices": [{"x": 1, "y": 1, "isBezier": True}], "closed": True}), "Bezier"),
        (result({"vertices": [{"x": 1, "y": 1, "prevPointId": "z"}], "closed": True}), "branch"),
        (result({"imageDataURL": "http://x/a.png"}), "data URL"),
        (result({"imageDataURL": "data:image/png;base64,AAAA"}), "it is none of"),
        (result({"x": 1, "y": 1, "width": 0, "height": 5}), "covers nothing"),
        ("text", "not of the form"),
        (result({"rle": [0, 0, 0, 8]}, "brushlabels"), "cut off after 4 bytes"),
        (result({"rle": [999]}, "brushlabels"), "bytes must be in range"),
        (result({"points": [[1, 2, 3]]}), "points must be a list of [x, y]"),
        (BOX | {"image_rotation": 90}, "turned by 90 degrees"),
        (BOX | {"original_width": 10**9}, "an image of"),
    ],
)
def test_a_result_that_cannot_be_used_makes_its_task_a_bad_record(broken, why, write, records):
    pairs, bad = records("label-studio", tasks=write("tasks.json", [task(broken), task(BOX)]))
    assert len(pairs) == 1
    assert bad[0].where == "tasks.json: [0]"
    assert why in bad[0].why
