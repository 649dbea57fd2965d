import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ivm_data.report.build import write_report
from ivm_data.report.gallery import Thumbnail
from ivm_data.report.strips import CAPTION, KEY, SIDE, TRACKED, draw, strips
from ivm_data.sources.manifest import plan, read_part
from ivm_data.worlds.motion_set import write_motion
from storage.catalog import Catalog
from storage.parts.shards import commit_part
from storage.records import PartResult

FRAMES, EVERY = 13, 4
SPEC = importlib.util.spec_from_file_location("report_builders", Path(__file__).parent / "conftest.py")


def write_episodes(root):
    """Two episodes, whose masks are the true ones moved a little; each fourth row is a key frame."""
    builders = importlib.util.module_from_spec(SPEC)
    SPEC.loader.exec_module(builders)
    manifest, rng = write_motion(root / "toy", "val", 2, FRAMES, 1.0), np.random.default_rng(0)
    for part in plan(manifest, 64):
        labels = []
        for sample in read_part(part):
            label = builders.label_of(sample, rng)
            key = f"{sample.moment.frame // EVERY:032x}"
            labels.append(label if sample.moment.frame % EVERY == 0 else replace(label, tracked_from=(key,)))
        commit_part(root / "data", PartResult(part.name, builders.RECIPE, tuple(labels)))
    return root / "data", builders.RECIPE


@pytest.fixture(scope="module")
def episodes(tmp_path_factory):
    return write_episodes(tmp_path_factory.mktemp("episodes"))


def thumbnail(frame, key, height=40, width=60):
    images = tuple(np.full((height, width, 3), shade, np.uint8) for shade in (50, 100, 150))
    row = {
        "episode": "toy/0",
        "camera": None,
        "frame": frame,
        "status": "no_target",
        "instruction": "Find the röd ring.",
    }
    return Thumbnail(row | {"tracked_from": None if key else ["a"]}, images)


def test_labels_lie_beside_each_other_in_time_and_key_frames_are_marked():
    strip_HWC = draw([[thumbnail(0, True), thumbnail(1, False)], [thumbnail(0, True, 90, 5)]])
    assert strip_HWC.shape == (2 * (SIDE + 2 * CAPTION), 2 * SIDE, 3)
    assert strip_HWC[:CAPTION].min() < 128, "the caption is written in dark letters"
    top = strip_HWC[CAPTION]
    assert tuple(top[0]) == tuple(top[SIDE - 1]) == KEY and tuple(top[SIDE]) == tuple(top[-1]) == TRACKED
    middle = strip_HWC[CAPTION + SIDE // 2]
    assert tuple(middle[SIDE // 2]) == tuple(middle[SIDE + SIDE // 2]) == (150, 150, 150)
    assert (strip_HWC[-SIDE:, SIDE:] == 255).all(), "nothing stands beside a shorter strip"


def test_strips_show_episodes_and_are_always_the_same(episodes):
    data, recipe = episodes
    with Catalog(data) as catalog:
        found, again = (strips(catalog, recipe, frames=5) for _ in range(2))
        whole, one = strips(catalog, recipe, frames=100), strips(catalog, recipe, each=1)
    assert np.array_equal(found, again) and found.shape == (2 * (SIDE + 2 * CAPTION), 5 * SIDE, 3)
    assert whole.shape[1] == FRAMES * SIDE and len(one) == SIDE + 2 * CAPTION
    # Of 13 rows every third: 0, 3, 6, 9 and 12, of which 0 and 12 are key frames.
    borders = [tuple(found[CAPTION, number * SIDE]) for number in range(5)]
    assert borders == [KEY, TRACKED, TRACKED, TRACKED, KEY]


def test_a_data_set_without_episodes_has_no_strips(labeled):
    with Catalog(labeled) as catalog:
        (recipe,) = catalog.sql("SELECT DISTINCT recipe FROM labels")["recipe"].to_pylist()
        assert strips(catalog, recipe) is None


def test_the_report_shows_strips_where_there_are_episodes(episodes, labeled, tmp_path):
    shown = write_report(episodes[0], tmp_path / "shown.html").read_text()
    assert shown.count("<h3>Episodes") == 1 and 'alt="labels of some episodes' in shown
    assert "<h3>Episodes" not in write_report(labeled, tmp_path / "none.html").read_text()
