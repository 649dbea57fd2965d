import importlib.util

import numpy as np
import pytest

from ivm_data.sources.foreign.readers import read
from ivm_data.sources.foreign.robots.rlds import RldsConfig, episode_pairs
from storage.errors import ConfigError

EPISODE = "raw/2022-12-08/raw/traj_group0"


@pytest.fixture
def bridge(write, draw):
    root = draw(*(f"bridge/{EPISODE}/traj0/images0/im_{number}.jpg" for number in range(12)))
    write(f"images/bridge/{EPISODE}/traj0/lang.txt", "put the pot on the stove\nconfidence: 1.0\n")
    write(f"images/bridge/{EPISODE}/traj1/lang.txt", "\nconfidence: 0.5\n")
    write(f"images/bridge/{EPISODE}/traj2/lang.txt", "open the drawer\n")
    return root


def test_every_kth_frame_of_an_episode_carries_its_language(ingest, bridge):
    found = ingest("robot-frames", bridge, folder=str(bridge / "bridge"), images="bridge", every=5)
    assert [sample.image_uri.rsplit("/", 1)[1] for sample in found[:3]] == ["im_0.jpg", "im_5.jpg", "im_10.jpg"]
    assert {sample.instruction for sample in found[:3]} == {"put the pot on the stove"}
    assert found[3].reason == "bad_source_record" and len(found) == 4


def test_an_export_with_json_language_and_frames_beside_it_is_read_too(records, write, draw):
    root = draw("toto/ep1/0.png", "toto/ep1/1.png")
    write("images/toto/ep1/episode.json", {"observation": {"natural_language_instruction": "pour the cup"}})
    write("images/toto/ep2/episode.json", {"language_instruction": ""})
    write("images/toto/ep3/episode.json", {"steps": 3})
    pairs, bad = records("robot-frames", folder=str(root / "toto"), language="episode.json", frames="", every=1)
    assert [(pair.image, pair.instruction) for pair in pairs] == [
        ("ep1/0.png", "pour the cup"),
        ("ep1/1.png", "pour the cup"),
    ]
    assert [record.where for record in bad] == ["ep3/episode.json"]


@pytest.mark.skipif(importlib.util.find_spec("tensorflow_datasets") is not None, reason="TensorFlow Datasets is here")
def test_without_tensorflow_datasets_rlds_says_what_to_install(tmp_path):
    with pytest.raises(ConfigError, match=r"pip install tensorflow tensorflow-datasets.*'robot-frames'"):
        list(read("rlds", {"folder": str(tmp_path)}))


def test_an_undecoded_rlds_episode_gives_its_own_image_files_and_skips_blank_language():
    frames = np.array([f"jpeg {number}".encode() for number in range(6)], object)
    said = np.array([b"pick it up"] * 4 + [b""] * 2, object)
    steps = {"observation": {"rgb": frames, "natural_language_instruction": said}, "action": np.zeros((6, 7))}
    pairs = list(episode_pairs(steps, RldsConfig("x", every=2)))
    assert [(pair.image, pair.instruction) for pair in pairs] == [(b"jpeg 0", "pick it up"), (b"jpeg 2", "pick it up")]
    with pytest.raises(ValueError, match="no camera wrist"):
        list(episode_pairs(steps, RldsConfig("x", camera="wrist")))
