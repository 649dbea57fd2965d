"""Episodes of the world in motion: exact masks, things that move, are covered and leave."""

import numpy as np
import pytest

from ivm_data.worlds.motion import draw_episode
from ivm_data.worlds.scene import IMAGE_SIZE
from storage.errors import ConfigError

EPISODES = range(12)


@pytest.fixture(scope="module")
def episodes():
    return [draw_episode("train", index, 40) for index in EPISODES]


def areas(masks):
    return [np.count_nonzero(mask_HW) for mask_HW in masks]


def test_an_episode_is_the_same_on_every_call_and_another_in_every_split():
    one, same, other = draw_episode("train", 3, 5), draw_episode("train", 3, 5), draw_episode("val", 3, 5)
    assert all((a == b).all() for a, b in zip(one.images, same.images, strict=True))
    assert any((a != b).any() for a, b in zip(one.images, other.images, strict=True))


def test_frames_and_masks_have_one_size_and_no_pixel_has_two_owners(episodes):
    for episode in episodes:
        assert len(episode.images) == 40 and all(image.shape == (IMAGE_SIZE, IMAGE_SIZE, 3) for image in episode.images)
        assert len(episode.looks) == len(episode.masks) == len({look.colour for look in episode.looks})
        for shown in zip(*episode.masks, strict=True):
            assert np.sum(shown, axis=0).max() <= 1


def test_a_masks_pixels_have_the_colour_of_its_thing(episodes):
    for episode in episodes:
        for look, masks in zip(episode.looks, episode.masks, strict=True):
            if look.colour == "red" and masks[0].sum() > 50:
                red, green, blue = episode.images[0][masks[0]].mean(0)
                assert red > 1.5 * max(green, blue)
                break


def test_things_move_leave_and_are_covered_and_come_back(episodes):
    moved = left = returned = 0
    for episode in episodes:
        for masks in episode.masks:
            seen = areas(masks)
            moved += np.count_nonzero(masks[0] & masks[-1]) < 0.2 * seen[0]
            left += seen[0] > 0 and seen[-1] == 0
            least = min(range(40), key=seen.__getitem__)
            returned += seen[0] > 100 and seen[least] < 0.5 * seen[0] and seen[-1] > 0.8 * seen[0]
    assert moved >= 10 and left >= 2 and returned >= 1


def test_the_camera_shakes(episodes):
    steps = [np.abs(a.astype(int) - b).mean() for a, b in zip(episodes[0].images, episodes[0].images[1:], strict=False)]
    assert np.median(steps) > 0.5


def test_an_episode_of_no_frame_is_refused():
    with pytest.raises(ConfigError, match="1 frame or more"):
        draw_episode("train", 0, 0)
