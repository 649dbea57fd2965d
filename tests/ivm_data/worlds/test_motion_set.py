"""The world in motion on disk: a LeRobot set that is imported like any other, and the truth of every frame."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from ivm_data.sources.foreign.readers import read
from ivm_data.sources.foreign.robots.lerobot_folder import LerobotFolder
from ivm_data.sources.manifest import plan, read_part
from ivm_data.worlds.motion import draw_episode
from ivm_data.worlds.motion_set import TRUTH, task, write_motion
from storage.errors import ConfigError
from storage.pixels import rle
from storage.pixels.images import decode

FRAMES, EPISODES, START = 12, 3, 5


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_motion(tmp_path_factory.mktemp("set") / "toy", "val", EPISODES, FRAMES, 0.5, start=START)


def test_every_frame_has_its_true_mask_and_its_place(manifest):
    samples = [sample for part in plan(manifest) for sample in read_part(part)]
    assert len(samples) == EPISODES * FRAMES
    for number in range(EPISODES):
        episode = draw_episode("val", START + number, FRAMES)
        thing, phrase, instruction = task(episode, "val", START + number)
        assert episode.looks[thing].colour in phrase
        of_episode = samples[number * FRAMES : (number + 1) * FRAMES]
        assert {sample.instruction for sample in of_episode} == {instruction}
        assert [sample.moment.frame for sample in of_episode] == list(range(FRAMES))
        assert len({(sample.held_out, sample.moment.episode, sample.moment.camera) for sample in of_episode}) == 1
        for sample, image_HWC, mask_HW in zip(of_episode, episode.images, episode.masks[thing], strict=True):
            assert (rle.decode(sample.human_mask) == mask_HW).all()
            assert np.abs(decode(sample.image).astype(int) - image_HWC).mean() < 6


def test_it_is_imported_as_a_lerobot_set_and_its_truth_is_no_camera(manifest):
    folder = manifest.parent
    pairs = list(read("lerobot", {"folder": str(folder), "every": 1}))
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [(pair.image, pair.instruction, pair.moment.episode, pair.moment.frame) for pair in pairs] == [
        (line["image"], line["instruction"], line["episode"], line["frame"]) for line in lines
    ]
    data = LerobotFolder(folder)
    assert list(data.cameras()) == ["observation.images.top"]
    rows = data.frames(list(data.episodes())[1])
    png = np.array(Image.open(io.BytesIO(rows[TRUTH][3].as_py()["bytes"])))
    thing = task(draw_episode("val", START + 1, FRAMES), "val", START + 1)[0]
    assert (png == 255 * draw_episode("val", START + 1, FRAMES).masks[thing][3]).all()


def test_a_number_out_of_range_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="frames"):
        write_motion(tmp_path, "val", 1, 0, 0.5)
