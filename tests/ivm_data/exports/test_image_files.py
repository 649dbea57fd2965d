"""Every format writes image files that the tool it is for opens, with the pixels that were labeled."""

import io
from itertools import count

import datasets
import numpy as np
import pytest
import webdataset
from PIL import Image

from ivm_data.exports.run import Selection, export
from storage.parts.shards import commit_part
from storage.pixels import rle
from storage.pixels.images import decode
from storage.records import Label, Lineage, PartResult, Sample, Scores, Status, sample_id
from storage.request import Request

EVERY = Selection(statuses=tuple(map(str, Status)))
RECIPE = "3f9c0a51d2e7"
_seeds = count()


def noise():
    """Other pixels at each call, so that every image is known by them."""
    return np.random.default_rng(next(_seeds)).integers(0, 256, (48, 64, 3), np.uint8)


def encoded(form, mode="RGB", **options):
    stream = io.BytesIO()
    Image.fromarray(noise()).convert(mode).save(stream, form, **options)
    return stream.getvalue()


def sixteen_bits():
    stream = io.BytesIO()
    Image.fromarray(noise()[..., 0].astype(np.uint16) * 257).save(stream, "PNG")
    return stream.getvalue()


SMALL, SECOND = Image.fromarray(noise()[:24, :32]), Image.fromarray(noise())
KEPT_EVERYWHERE = {
    "a.jpg": encoded("JPEG"), "gray.jpg": encoded("JPEG", "L"), "a.png": encoded("PNG"), "pal.png": encoded("PNG", "P"),
    "alpha.png": encoded("PNG", "RGBA"), "a.bmp": encoded("BMP"), "a.webp": encoded("WEBP", lossless=True),
    "phone.jpg": encoded("MPO", save_all=True, append_images=[SMALL]),
}  # fmt: skip
OTHERS = {
    "w.gif": encoded("GIF"), "w.ppm": encoded("PPM"), "w.avif": encoded("AVIF"), "w.tif": encoded("TIFF"),
    "cmyk.jpg": encoded("JPEG", "CMYK"), "g16.png": sixteen_bits(),
    "moving.gif": encoded("GIF", save_all=True, append_images=[SECOND]),
    "moving.png": encoded("PNG", save_all=True, append_images=[SECOND]),
}  # fmt: skip
FILES = KEPT_EVERYWHERE | OTHERS
KEPT = {
    "coco": {"w.ppm", "w.tif"}, "ivm-mix": {"w.ppm", "w.tif"}, "yolo-seg": {"w.tif"}, "labelme": {"w.tif"},
    "label-studio": {"w.gif"}, "fiftyone": {"w.gif"}, "webdataset": {"w.gif", "w.ppm", "w.tif"}, "hf": set(OTHERS),
}  # fmt: skip
"""Of the others, those that a tool opens as they are."""


def label(name, image):
    mask_HW = np.zeros((48, 64), bool)
    mask_HW[5:20, 6:30] = True
    text = f"Find {name}."
    sample = Sample(sample_id(image, text), image, name, 64, 48, text, "odd")
    mask = rle.encode(mask_HW)
    return Label(sample, Request.of(("it",)), (), (), mask, Scores(), Status.ACCEPTED, "ok", Lineage(RECIPE, ()))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd") / "data"
    labels = tuple(label(name, image) for name, image in FILES.items())
    commit_part(folder, PartResult("part-00000", RECIPE, labels))
    return folder


def samples_of(out):
    return webdataset.WebDataset([str(path) for path in sorted(out.glob("*.tar"))], shardshuffle=False)


def files_of(name, out):
    """(suffix, bytes) of the image files of an export."""
    if name == "hf":
        rows = datasets.load_dataset(str(out), split="train", cache_dir=str(out / "cache"))
        images = rows.cast_column("image", datasets.Image(decode=False))["image"]
        return [(image["path"].split(".")[-1], image["bytes"]) for image in images]
    if name == "webdataset":
        named = [(key, value) for sample in samples_of(out) for key, value in sample.items()]
        return [(key, value) for key, value in named if not key.startswith("__") and key not in ("json", "mask.png")]
    folder = out / {"fiftyone": "data"}.get(name, "images")
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"]
    return [(path.suffix[1:], path.read_bytes()) for path in paths]


@pytest.mark.parametrize("name", KEPT)
def test_files_that_the_tool_opens_stay_as_they_are_and_others_become_png(name, data, tmp_path):
    export(name, data, tmp_path / "out", EVERY, {})
    found = {decode(stored).tobytes(): (suffix, stored) for suffix, stored in files_of(name, tmp_path / "out")}
    assert len(found) == len(FILES)
    for file, image in FILES.items():
        suffix, stored = found[decode(image).tobytes()]
        if file in KEPT_EVERYWHERE or file in KEPT[name]:
            assert (stored == image, suffix) == (True, file.split(".")[1]), file
        else:
            with Image.open(io.BytesIO(stored)) as opened:
                assert (suffix, opened.format, opened.mode) == ("png", "PNG", "RGB"), file


def test_the_decoder_of_webdataset_opens_every_image(data, tmp_path):
    export("webdataset", data, tmp_path / "out", EVERY, {})
    samples = list(samples_of(tmp_path / "out").decode("pil"))
    assert len(samples) == len(FILES)
    for sample in samples:
        (image,) = [value for key, value in sample.items() if isinstance(value, Image.Image) and key != "mask.png"]
        assert image.size == (64, 48)


def test_yolo_images_have_endings_that_ultralytics_lists(data, tmp_path):
    export("yolo-seg", data, tmp_path / "out", EVERY, {})
    images = [path.suffix[1:] for path in (tmp_path / "out" / "images" / "train").iterdir()]
    assert len(images) == len(FILES) == len(list((tmp_path / "out" / "labels" / "train").iterdir()))
    assert set(images) <= {"bmp", "dng", "jpeg", "jpg", "mpo", "png", "tif", "tiff", "webp"}


@pytest.mark.parametrize("name", ["coco", "webdataset", "hf", "yolo-seg", "ivm-mix", "label-studio"])
def test_a_sample_that_the_data_set_holds_twice_is_written_once(name, tmp_path):
    first, second = label("a.png", FILES["a.png"]), label("a.jpg", FILES["a.jpg"])
    for part, labels in (("part-00000", (first, second)), ("part-00001", (second, first))):
        commit_part(tmp_path / "twice", PartResult(part, RECIPE, labels))
    counts = export(name, tmp_path / "twice", tmp_path / "out", EVERY, {})
    assert (counts.labels, counts.images) == (2, 2)
    if name == "webdataset":
        keys = [sample["__key__"] for sample in samples_of(tmp_path / "out")]
        assert sorted(keys) == sorted({first.sample.id, second.sample.id})
