import json

import numpy as np
import pytest
from PIL import Image

from storage.errors import ConfigError
from storage.pixels import rle

LEFT, RIGHT = np.zeros((2, 48, 64), bool)
LEFT[10:20, 4:14], RIGHT[10:20, 40:60] = True, True


@pytest.fixture
def save(tmp_path):
    """Writes a mask below `tmp_path / "masks"`."""

    def save(name, values, mode=None):
        path = tmp_path / "masks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.asarray(values))
        (image.convert(mode) if mode else image).save(path)

    return save


@pytest.fixture
def found(tmp_path, draw, ingest):
    """The outcomes of the folders, with images a.png and b.png."""

    def found(**options):
        root = draw("a.png", "b.png")
        given = {"folder": str(root), "masks": str(tmp_path / "masks"), "images": "."} | options
        return ingest("mask-folder", root, **given)

    return found


def areas(samples):
    return {(sample.image_uri, sample.instruction): rle.area(sample.human_mask) for sample in samples}


def test_one_picture_an_image_and_one_instruction_for_all(save, found):
    save("a.png", LEFT * np.uint8(255))
    save("b.bmp", RIGHT)
    assert areas(found(instruction="Find the polyp.")) == {
        ("a.png", "Find the polyp."): 100, ("b.png", "Find the polyp."): 200,
    }  # fmt: skip


@pytest.mark.parametrize(
    "names", [("a_0.png", "a_1.png"), ("a/0.png", "a/1.png"), ("a.mask-1.png", "a@2.png"), ("x/a_1.png", "x/a_2.png")]
)
def test_one_picture_an_instance_unites_to_the_images_mask(names, save, found):
    for name, mask in zip(names, (LEFT, RIGHT), strict=True):
        save(name, mask)
    instruction = "Find every {name}." if names[0].startswith("x/") else "Find every x."
    assert areas(found(instruction=instruction)) == {("a.png", "Find every x."): 300}


def test_a_folder_may_name_a_class(save, found):
    save("cup/a.png", LEFT)
    save("ring/a.png", RIGHT)
    assert areas(found()) == {("a.png", "Find every cup."): 100, ("a.png", "Find every ring."): 200}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("names.txt", "1: cup\n2 ring\n"),
        ("names.csv", "1,cup\n2,ring\n"),
        ("names.json", json.dumps({"1": "cup", "2": "ring"})),
        ("names.yaml", "names: [background, cup, ring]\n"),
        ("names.json", json.dumps(["_background_", "cup", "ring"])),
    ],
)
def test_values_of_pixels_are_named_by_a_map(file, text, save, found, tmp_path):
    save("a.png", (LEFT * 1 + RIGHT * 2).astype(np.uint8))
    (tmp_path / file).write_text(text)
    expected = {("a.png", "Find the cup."): 100, ("a.png", "Find the ring."): 200}
    assert areas(found(names=str(tmp_path / file), instruction="Find the {name}.")) == expected


@pytest.mark.parametrize(
    "text",
    ["#ff0000: cup\n#00ff00: ring\n", "255,0,0 cup\n0,255,0: ring\n", "# label:color\ncup:255,0,0::\nring:0,255,0::\n",
     "255 0 0 cup\n0 255 0 ring\n0 0 0 background\n"],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_colours_are_named_by_a_map(text, mode, save, found, tmp_path):
    save("a.png", (LEFT[..., None] * [255, 0, 0] + RIGHT[..., None] * [0, 255, 0]).astype(np.uint8), mode)
    (tmp_path / "names.txt").write_text(text)
    assert areas(found(names=str(tmp_path / "names.txt"))) == {
        ("a.png", "Find every cup."): 100, ("a.png", "Find every ring."): 200,
    }  # fmt: skip


def test_values_without_a_name_lose_the_image_and_ignored_ones_count_for_nobody(save, found, records, tmp_path, draw):
    save("a.png", (LEFT * 1 + RIGHT * np.uint8(255)).astype(np.uint8))
    (tmp_path / "names.txt").write_text("1: cup\n")
    names = {"names": str(tmp_path / "names.txt")}
    (bad,) = found(**names)
    assert bad.reason == "bad_source_record" and "value 255" in bad.detail
    assert areas(found(**names, ignore="255")) == {("a.png", "Find every cup."): 100}
    options = {"folder": str(tmp_path / "images"), "masks": str(tmp_path / "masks"), "ignore": "255"}
    for more in (names, {"instruction": "Find it."}):
        (pair,), _ = records("mask-folder", **options, **more)
        (ignored,) = pair.ignore
        assert rle.area(rle.from_counts(**ignored["mask_rle"])) == 200


def test_doubtful_and_black_masks_are_bad_records_with_a_way_out(save, found):
    save("a.png", (LEFT * 1 + RIGHT * np.uint8(255)).astype(np.uint8))
    save("b.png", LEFT & False)
    options = {"instruction": "Find it."}
    doubtful, black = found(**options)
    assert "255 stands beside other values" in doubtful.detail and '"ignore": 255' in doubtful.detail
    assert "black=true says that nothing is there" in black.detail
    kept, absent = found(**options, threshold=128, black=True)
    assert (rle.area(kept.human_mask), rle.area(absent.human_mask)) == (200, 0)


def test_images_without_a_mask_say_nothing_and_masks_without_an_image_are_bad(save, found, left_out, tmp_path):
    save("a.png", LEFT)
    save("other.png", LEFT)
    sample, bad = sorted(found(instruction="Find it."), key=lambda outcome: hasattr(outcome, "reason"))
    assert sample.image_uri == "a.png"
    assert bad.reason == "bad_source_record" and "other.png: no image has the name" in bad.detail
    options = {"folder": str(tmp_path / "images"), "masks": str(tmp_path / "masks"), "instruction": "Find it."}
    assert left_out("mask-folder", **options) == {"image without a mask": 1}


def test_the_longest_name_of_an_image_counts(draw, save, ingest, tmp_path):
    root = draw("a.png", "a_1.png")
    save("a_1.png", LEFT)
    save("a_1_2.png", RIGHT)
    (sample,) = ingest(
        "mask-folder", root, folder=str(root), masks=str(tmp_path / "masks"), images=".", instruction="It."
    )
    assert (sample.image_uri, rle.area(sample.human_mask)) == ("a_1.png", 300)


def test_masks_of_another_size_are_refused_or_scaled_as_run_lengths_are(save, found):
    save("a.png", np.kron(LEFT, np.ones((2, 2), bool)))
    save("b.png", np.ones((48, 48), bool))
    scaled, refused = found(instruction="Find it.")
    assert rle.area(scaled.human_mask) == 100
    assert refused.reason == "bad_human_mask"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing names what the masks show"),
        ({"instruction": "Find every {name}."}, "nothing names what the masks show"),
        ({"instruction": "Find {it}."}, "must hold {name}"),
        ({"instruction": "It.", "ignore": "x"}, "'ignore' must be numbers"),
        ({"instruction": "It.", "threshold": 300}, "threshold must lie in \\[0, 255\\]"),
        ({"instruction": "It.", "masks": "nowhere"}, "set masks"),
        ({"names": "nowhere"}, "set names"),
    ],
)
def test_options_that_do_not_fit_are_configuration_errors(options, message, save, found):
    save("a.png", LEFT)
    with pytest.raises(ConfigError, match=message):
        found(**options)


@pytest.mark.parametrize("text", ["", "cup\n", "1.5: cup\n", "300,0,0: cup\n", "{"])
def test_a_map_that_is_none_is_a_configuration_error(text, save, found, tmp_path):
    save("a.png", LEFT)
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(ConfigError, match=r"names\.txt'"):
        found(names=str(tmp_path / "names.txt"))


def test_masks_of_which_none_belongs_to_an_image_are_a_configuration_error(save, found):
    save("z.png", LEFT)
    with pytest.raises(ConfigError, match="has the name of an image"):
        found(instruction="It.")
