import pytest

from ivm_data.sources.foreign.common.manifest_writer import write_manifest
from ivm_data.sources.foreign.readers import read
from ivm_data.sources.manifest import plan, read_part
from storage.errors import ConfigError


def outcomes(out, **options):
    write_manifest(read("folder", options), out, "folder")
    return [outcome for part in plan(out) for outcome in read_part(part)]


def test_one_instruction_is_asked_of_every_image(draw, tmp_path):
    root = draw("2.png", "10.JPG", "deep/1.webp")
    (root / "notes.txt").write_text("no image")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "x.png").write_bytes(b"")
    found = outcomes(tmp_path / "m.jsonl", folder=str(root), instruction=" Find the cup. ")
    assert [sample.image_uri for sample in found] == ["images/deep/1.webp", "images/2.png", "images/10.JPG"]
    assert {(sample.instruction, sample.source, sample.human_mask) for sample in found} == {
        ("Find the cup.", "folder", None)
    }


def test_each_line_of_a_text_file_is_asked_of_every_image_or_of_the_one_that_it_names(draw, tmp_path):
    root = draw("a.png", "b c.png")
    (tmp_path / "ask.txt").write_text(
        "\ufeffFind the cup.\n\na.png\tFind the ring.\nb%20c.png\tFind it.\nB.png\tFind that.\n"
    )
    found = outcomes(tmp_path / "m.jsonl", folder=str(root), instructions=str(tmp_path / "ask.txt"))
    assert [(o.image_uri, o.instruction) for o in found[:4]] == [
        ("images/a.png", "Find the cup."), ("images/b c.png", "Find the cup."),
        ("images/a.png", "Find the ring."), ("images/b c.png", "Find it."),
    ]  # fmt: skip
    assert found[4].reason == "bad_source_record" and "no image 'B.png'" in found[4].detail


def test_the_near_name_of_a_missing_image_is_given(draw, records, tmp_path):
    (tmp_path / "ask.txt").write_text("A.PNG\tFind it.\n/etc/hostname\tFind it.\n../x.png\tFind it.\n")
    pairs, bad = records("folder", folder=str(draw("a.png")), instructions=str(tmp_path / "ask.txt"))
    assert pairs == [] and len(bad) == 3
    assert "'a.png' is there" in bad[0].why


def test_images_may_be_named_from_another_root(draw, records):
    (pair,), _ = records("folder", folder=str(draw("a.png")), instruction="Find it.", images="photos")
    assert pair.image == "photos/a.png"


def test_a_manifest_that_does_not_lie_above_its_images_is_refused(draw, tmp_path):
    with pytest.raises(ConfigError, match="write the manifest above the images"):
        outcomes(tmp_path / "out" / "m.jsonl", folder=str(draw("a.png")), instruction="Find it.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either instruction="),
        ({"instruction": "x", "instructions": "y"}, "either instruction="),
        ({"instruction": "x", "folder": "nowhere"}, "set folder"),
        ({"instructions": "nowhere.txt"}, "set instructions"),
    ],
)
def test_options_that_do_not_fit_are_configuration_errors(options, message, draw, records):
    with pytest.raises(ConfigError, match=message):
        records("folder", **({"folder": str(draw("a.png"))} | options))


def test_a_folder_without_images_and_a_file_that_is_no_text_are_configuration_errors(draw, records, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no image file"):
        records("folder", folder=str(tmp_path / "empty"), instruction="Find it.")
    (tmp_path / "ask.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="no text in UTF-8"):
        records("folder", folder=str(draw("a.png")), instructions=str(tmp_path / "ask.txt"))
