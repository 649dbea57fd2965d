import numpy as np
import pytest
from PIL import Image

from ivm_data.sources.foreign.common.manifest_writer import write_manifest
from ivm_data.sources.foreign.readers import read
from ivm_data.sources.manifest import plan, read_part
from storage.errors import ConfigError
from storage.pixels import rle
from storage.records import Box

CAT, DOG, BORDER = 8, 12, 255


def xml(*objects, name="a.png", size=(64, 48)):
    things = "".join(
        f"<object><name>{label}</name><difficult>0</difficult><bndbox>"
        + "".join(f"<{side}>{edge}</{side}>" for side, edge in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        + "</bndbox><part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"
        for label, box in objects
    )
    shape = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation><folder>VOC2012</folder><filename>{name}</filename>{shape}{things}</annotation>"


def voc_palette():
    """The palette of VOC's devkit (VOCcolormap)."""
    colours = []
    for index in range(256):
        channels, rest = [0, 0, 0], index
        for bit in range(7, -1, -1):
            for channel in range(3):
                channels[channel] |= (rest >> channel & 1) << bit
            rest >>= 3
        colours += channels
    return colours


def save_mask(path, values_HW, form="P"):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.frombytes("P", values_HW.shape[::-1], values_HW.astype(np.uint8).tobytes())
    image.putpalette(voc_palette())
    image.convert(form).save(path)


@pytest.fixture
def voc(tmp_path, draw):
    """A folder in the layout of VOC, with one image a.png and a mask of it; returns the folder."""
    draw("a.png")
    (tmp_path / "images").rename(tmp_path / "JPEGImages")
    (tmp_path / "Annotations").mkdir()
    return tmp_path


@pytest.fixture
def values():
    """A cat with a border around, and a dog."""
    values_HW = np.zeros((48, 64), np.uint8)
    values_HW[9:21, 9:31] = BORDER
    values_HW[10:20, 10:30] = CAT
    values_HW[30:40, 40:60] = DOG
    return values_HW


def samples(folder, **options):
    out = folder / "m.jsonl"
    counts = write_manifest(read("pascal-voc", {"folder": str(folder), **options}), out, "voc")
    return [outcome for part in plan(out) for outcome in read_part(part)], counts


def test_boxes_count_pixels_from_one_and_the_last_ones_are_inside(voc):
    boxes = [("cat", (11, 11, 30, 20)), ("cat", (1, 1, 64, 48)), ("dog", (40.5, 30.0, 60.0, 40.0))]
    zero_based = [("cow", (0, 0, 9, 9)), ("bus", ("1.0", "1.0", "9.0", "9.0"))]
    (voc / "Annotations" / "a.xml").write_text(xml(*boxes, *zero_based))
    (cat, dog, cow, bus), counts = samples(voc)
    assert (cat.image_uri, cat.instruction, counts.bad) == ("JPEGImages/a.png", "Find every cat.", 0)
    assert cat.human_boxes == (Box(10, 10, 30, 20), Box(0, 0, 64, 48))
    assert dog.human_boxes == (Box(40.5, 30, 60, 40),)
    assert (cow.human_boxes, bus.human_boxes) == ((Box(0, 0, 9, 9),), (Box(1, 1, 9, 9),))


@pytest.mark.parametrize("form", ["P", "RGB"])
def test_a_class_with_a_mask_has_it_and_the_border_counts_for_nobody(voc, values, form):
    (voc / "Annotations" / "a.xml").write_text(xml(("cat", (11, 11, 30, 20)), ("cow", (1, 1, 9, 9))))
    save_mask(voc / "SegmentationClass" / "a.png", values, form)
    (cat, dog, cow), _ = samples(voc)
    assert (rle.decode(cat.human_mask) == (values == CAT)).all()
    assert (rle.decode(dog.human_mask) == (values == DOG)).all()
    assert cow.human_boxes == (Box(0, 0, 9, 9),)
    first = next(iter(read("pascal-voc", {"folder": str(voc)})))
    assert (rle.decode(rle.from_counts(**first.ignore[0]["mask_rle"])) == (values == BORDER)).all()
    (boxed, _), _ = samples(voc, masks=False)
    assert boxed.human_boxes == (Box(10, 10, 30, 20),)


def test_objects_are_named_by_their_order_in_the_xml_where_classes_have_no_picture(voc, values):
    (voc / "Annotations" / "a.xml").write_text(xml(("cat", (11, 11, 30, 20)), ("dog", (41, 31, 60, 40))))
    numbered_HW = np.select([values == CAT, values == DOG, values == BORDER], [1, 2, BORDER])
    save_mask(voc / "SegmentationObject" / "a.png", numbered_HW)
    (cat, dog), _ = samples(voc)
    assert rle.area(cat.human_mask) == rle.area(dog.human_mask) == 200
    (voc / "Annotations" / "a.xml").write_text(xml(("cat", (11, 11, 30, 20))))
    _, counts = samples(voc)
    assert counts.bad == 1 and "the number 2, but the XML has 1 objects" in counts.first_bad


def test_the_masks_of_cvat_are_named_by_its_labelmap(voc, values):
    (voc / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncup:250,50,83::\nring:1,2,3::\n"
    )
    colour_HW3 = np.zeros((48, 64, 3), np.uint8)
    colour_HW3[values == CAT], colour_HW3[values == DOG] = (250, 50, 83), (1, 2, 3)
    (voc / "SegmentationClass").mkdir()
    Image.fromarray(colour_HW3).save(voc / "SegmentationClass" / "a.png")
    found = {sample.instruction: rle.area(sample.human_mask) for sample in samples(voc)[0]}
    assert found == {"Find every cup.": 200, "Find every ring.": 200}


def test_a_labelmap_without_colours_numbers_the_palette_of_voc(voc, values):
    names = ["background", *(f"thing {number}" for number in range(1, 21))]
    (voc / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "".join(f"{name}:::\n" for name in names))
    save_mask(voc / "SegmentationClass" / "a.png", values, "RGB")
    found = {sample.instruction: rle.area(sample.human_mask) for sample in samples(voc)[0]}
    assert found == {f"Find every thing {CAT}.": 200, f"Find every thing {DOG}.": 200}


def test_a_value_that_no_class_has_loses_the_image(voc, values):
    values[0, 0] = 33
    save_mask(voc / "SegmentationClass" / "a.png", values)
    _, counts = samples(voc)
    assert (counts.pairs, counts.bad) == (0, 1) and "value 33" in counts.first_bad


def test_lists_choose_the_images(voc):
    for name in ("a", "b"):
        (voc / "Annotations" / f"{name}.xml").write_text(xml(("cat", (11, 11, 30, 20))))
    (voc / "ImageSets" / "Main").mkdir(parents=True)
    (voc / "ImageSets" / "Main" / "cat_train.txt").write_text("a  1\n")
    (sample,), counts = samples(voc, split="cat_train", held_out=True)
    assert sample.held_out and counts.bad == 0
    with pytest.raises(ConfigError, match="no list 'val'"):
        samples(voc, split="val")


def test_xml_files_beside_their_images_are_enough(tmp_path, draw, records):
    folder = draw("a.png", "sub/b.png")
    for name in ("a", "sub/b"):
        (folder / f"{name}.xml").write_text(xml(("cat", (11, 11, 30, 20)), name=f"{name.split('/')[-1]}.png"))
    pairs, bad = records("pascal-voc", folder=str(folder))
    assert [pair.image.relative_to(folder).as_posix() for pair in pairs] == ["a.png", "sub/b.png"]
    pairs, bad = records("pascal-voc", folder=str(folder), images="voc")
    assert ([pair.image for pair in pairs], bad) == (["voc/a.png", "voc/sub/b.png"], [])


def test_boxes_of_an_image_of_another_size_are_scaled_or_refused(voc):
    (voc / "Annotations" / "a.xml").write_text(xml(("cat", (21, 21, 60, 40)), size=(128, 96)))
    (sample,), _ = samples(voc)
    assert sample.human_boxes == (Box(10, 10, 30, 20),)
    (voc / "Annotations" / "a.xml").write_text(xml(("cat", (21, 21, 60, 40)), size=(128, 128)))
    (refused,), _ = samples(voc)
    assert refused.reason == "bad_human_mask"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<annotation><object>", "it is no XML"),
        ("<html></html>", "its root is <html>"),
        (xml(("cat", (9, 9, 5, 5))), "covers nothing"),
        (xml(("cat", ("x", 9, 5, 5))), "could not convert"),
        (xml(("", (1, 1, 5, 5))), "has no label"),
        ("<annotation><filename>a.png</filename><object><name>cat</name></object></annotation>", "without <bndbox>"),
        (xml(("cat", (1, 1, 5, 5)), name="gone.jpg"), "its image is not in"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_bad_record(text, why, voc, records):
    name = "z" if "gone" in text else "a"
    (voc / "Annotations" / f"{name}.xml").write_text(text)
    pairs, bad = records("pascal-voc", folder=str(voc))
    assert pairs == [] and len(bad) == 1
    assert why in bad[0].why


def test_an_image_without_objects_asks_for_nothing(voc, left_out):
    (voc / "Annotations" / "a.xml").write_text(xml())
    assert left_out("pascal-voc", folder=str(voc)) == {"image without shapes": 1}


def test_a_folder_without_anything_of_voc_is_a_configuration_error(tmp_path, records):
    with pytest.raises(ConfigError, match="neither Annotations"):
        records("pascal-voc", folder=str(tmp_path))
