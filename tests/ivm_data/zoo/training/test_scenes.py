import numpy as np
import pytest

from ivm_data.worlds.scene import draw_scene
from ivm_data.zoo.training import scenes as cache
from ivm_data.zoo.training.scenes import load_scenes


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(cache, "CHUNK", 4)


def test_a_cached_scene_is_the_drawn_scene(tmp_path):
    scenes = load_scenes("val", 6, tmp_path)
    for index in range(6):
        drawn, read = draw_scene("val", index), scenes[index]
        assert (read.split, read.index) == ("val", index)
        assert np.array_equal(read.image_HWC, drawn.image_HWC)
        assert len(read.things) == len(drawn.things)
        for first, second in zip(read.things, drawn.things, strict=True):
            assert np.array_equal(first.mask_HW, second.mask_HW)
            assert all(getattr(first, name) == getattr(second, name) for name in vars(second) if name != "mask_HW")


def test_a_longer_request_keeps_the_chunks_of_a_shorter_one(tmp_path):
    load_scenes("val", 3, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert len(load_scenes("val", 7, tmp_path)) == 7
    assert before and all(path.stat().st_mtime_ns == then for path, then in before.items())
    assert len(list(tmp_path.rglob("*.npy"))) == 2 * len(before)


def test_indices_and_slices_behave_as_those_of_a_list(tmp_path):
    scenes = load_scenes("test", 3, tmp_path)
    assert scenes[-1].index == 2 and [scene.index for scene in scenes[1:]] == [1, 2]
    with pytest.raises(IndexError, match=r"\[0, 3\), got 3"):
        scenes[3]


def test_a_count_below_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        load_scenes("val", 0, tmp_path)


def test_an_interrupted_drawing_leaves_no_chunk_that_could_be_read(tmp_path, monkeypatch):
    def fails(*_):
        raise OSError("disk full")

    monkeypatch.setattr(cache.np, "save", fails)
    with pytest.raises(OSError, match="disk full"):
        load_scenes("val", 2, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(cache, "CHUNK", 4)
    assert len(load_scenes("val", 2, tmp_path)[0].things) >= 3
