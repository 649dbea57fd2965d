"""The example's photograph is a manifest like any other, and its licence names every file."""

from pathlib import Path

from ivm_data.sources.manifest import plan, read_part
from storage.pixels import rle

FOLDER = Path(__file__).parents[2] / "examples" / "photograph"


def test_the_photograph_comes_in_with_the_mask_that_a_person_drew():
    (part,) = plan(FOLDER / "manifest.jsonl")
    (sample,) = read_part(part)
    assert (sample.width, sample.height, sample.instruction) == (640, 428, "Find the vase in this picture.")
    assert 0.02 < rle.area(sample.human_mask) / (640 * 428) < 0.2


def test_its_licence_names_every_file():
    text = (FOLDER / "LICENCE.md").read_text()
    assert "CC BY 2.0" in text and "CC BY 4.0" in text
    assert [path.name for path in FOLDER.iterdir() if path.name not in text and path.name != "LICENCE.md"] == []
