import numpy as np
import pytest
from PIL import Image

from storage.errors import ConfigError
from storage.pixels import rle

HEADER = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
ROW = "{image}_{label}_{box}.png,{image},/m/{label},{box},0.1,0.5,0.2,0.6,0.77,0.2 0.3 1;0.4 0.5 0\n"
CLASSES = '/m/01g317,Person\n/m/0k4j,Car\n/m/0cmf2,"Fixed-wing aircraft, Airplane"\n'


@pytest.fixture
def files(write):
    rows = [("a1", "0k4j", "bbb"), ("b2", "01g317", "ccc"), ("a1", "01g317", "ddd"), ("a1", "0k4j", "aaa")]
    rows += [("b2", "0cmf2", "eee"), ("b2", "404", "fff")]
    body = "".join(ROW.format(image=image, label=label, box=box) for image, label, box in rows)
    return {
        "masks_csv": write("train-annotations-object-segmentation.csv", HEADER + body),
        "classes": write("class-descriptions-boxable.csv", CLASSES),
    }


def test_each_class_of_an_image_is_an_instruction_with_all_its_mask_files(records, files):
    pairs, (bad,) = records("openimages", **files, images="train", masks="masks")
    assert [(p.image, p.instruction, [t["mask"] for t in p.targets]) for p in pairs] == [
        ("train/a1.jpg", "Find every person.", ["masks/a1_01g317_ddd.png"]),
        ("train/a1.jpg", "Find every car.", ["masks/a1_0k4j_aaa.png", "masks/a1_0k4j_bbb.png"]),
        ("train/b2.jpg", "Find every person.", ["masks/b2_01g317_ccc.png"]),
        ("train/b2.jpg", "Find every fixed-wing aircraft, airplane.", ["masks/b2_0cmf2_eee.png"]),
    ]
    assert bad.where == "train-annotations-object-segmentation.csv: image b2, /m/404"


def test_masks_of_another_size_are_brought_to_the_images_by_nearest_neighbour(ingest, files, draw):
    root = draw("train/a1.jpg")
    small_HW = np.zeros((24, 32), bool)
    small_HW[2:10, 3:9] = True
    (root / "masks").mkdir()
    Image.fromarray(small_HW).save(root / "masks" / "a1_01g317_ddd.png")
    person, *others = ingest("openimages", root, **files, images="train", masks="masks")
    assert (rle.decode(person.human_mask) == small_HW.repeat(2, axis=0).repeat(2, axis=1)).all()
    assert [o.reason for o in others] == ["bad_human_mask", "image_missing", "image_missing", "bad_source_record"]


def test_a_line_that_is_no_row_is_a_bad_record(records, files, write):
    body = (
        HEADER
        + ROW.format(image="a1", label="0k4j", box="aaa")
        + "a,b\n"
        + ROW.format(image="b2", label="0k4j", box="c")
    )
    pairs, bad = records("openimages", masks_csv=write("torn.csv", body), classes=files["classes"])
    assert [pair.image for pair in pairs] == ["openimages/train/a1.jpg", "openimages/train/b2.jpg"]
    assert [record.where for record in bad] == ["torn.csv: line 3"]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\x00\x01\x02"])
def test_another_file_is_a_configuration_error(records, files, write, text):
    with pytest.raises(ConfigError, match="no CSV with ImageID"):
        records("openimages", masks_csv=write("other.csv", text), classes=files["classes"])
