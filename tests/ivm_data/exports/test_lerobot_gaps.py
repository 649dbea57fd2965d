"""LeRobot sets with frames that have no mask, and with episodes that cannot be read."""

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from lerobot_sets import KEY, LENGTHS, frames, label, mask, picture, video, write_set
from PIL import Image

from storage.errors import ConfigError


def test_an_episode_with_unlabeled_frames_is_left_out_and_the_card_says_so(trip):
    out, counts = trip("v3.0", without={(0, 2)})
    assert (counts.labels, counts.no_target, counts.left_out, counts.images) == (6, 1, 3, 7)
    episodes = pq.read_table(out / "meta/episodes").to_pylist()
    assert [(row["episode_index"], row["length"], row["dataset_from_index"]) for row in episodes] == [
        (0, 1, 0),
        (1, 6, 1),
    ]
    assert "- 0: 1 of its 4 frames have no mask" in (out / "README.md").read_text()
    original, table = frames(out, KEY, 1)
    assert np.abs(original[3].astype(int) - picture(2, 3)).mean() < 3
    assert set(table["episode_index"].to_pylist()) == {1}


@pytest.mark.parametrize(("gaps", "level"), [("show", 255), ("hide", 0)])
def test_frames_without_a_mask_are_shown_or_hidden_where_that_is_asked_for(trip, gaps, level):
    out, counts = trip("v2.1", every=2, gaps=gaps)
    masked, table = frames(out, f"{KEY}_masked", 2)
    assert table["mask_by.high"].to_pylist() == [1, 0, 1, 0, 1, 0]
    assert set(np.unique(np.array(Image.open(io.BytesIO(table["observation.masks.high"][1].as_py()["bytes"]))))) == {
        level
    }
    expected = picture(2, 1) if gaps == "show" else np.full((64, 96, 3), 255)
    assert np.abs(masked[1].astype(int) - expected).mean() < 4 and counts.images == 11


def torn_statistics(source, name):
    path = source / "meta/episodes_stats.jsonl"
    rows = path.read_text().splitlines()
    stats = json.loads(rows[1])["stats"]["action"]
    if name == "torn line":
        rows[1] = rows[1][:40]
    elif name == "no object":
        rows[1] = "[1]"
    else:
        changed = {
            "no count": {key: value for key, value in stats.items() if key != "count"},
            "no numbers": stats | {"mean": ["a", "b"]},
            "no frames": stats | {"count": [0]},
            "other shape": {key: value[:1] for key, value in stats.items()},
        }[name]
        rows[1] = json.dumps({"episode_index": 1, "stats": {"action": changed}})
    path.write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("torn line", "line 2 of meta/episodes_stats.jsonl is torn"),
        ("no object", "line 2 of meta/episodes_stats.jsonl is torn"),
        ("no count", "its statistics of 'action' lack 'count'"),
        ("no numbers", "its statistics of 'action' are no numbers"),
        ("no frames", "its statistics of 'action' count [0] frames"),
        ("other shape", "its statistics of 'action' have the shape (1,), those before (2,)"),
    ],
)
def test_statistics_that_cannot_be_read_leave_out_their_episode(trip, tmp_path, name, why):
    write_set(tmp_path / "sets" / "toy", "v2.1")
    label(tmp_path / "sets" / "toy", tmp_path / "data")
    torn_statistics(tmp_path / "sets" / "toy", name)
    out, counts = trip()
    assert counts.labels == 9 and why in (out / "README.md").read_text()
    assert json.loads((out / "meta/info.json").read_text())["total_episodes"] == 2
    assert json.loads((out / "meta/stats.json").read_text())["action"]["count"] == [LENGTHS[0] + LENGTHS[2]]


def test_a_torn_video_leaves_out_its_episode_alone(trip, tmp_path):
    trip("v2.1")
    path = tmp_path / f"sets/toy/videos/chunk-000/{KEY}/episode_000002.mp4"
    video(path, [picture(2, 0), picture(2, 1)])
    out, counts = trip("v2.1")
    assert (counts.labels, counts.left_out) == (5, 6)
    assert "- 2: 'episode_000002.mp4' has frames 0 to 1, none 2" in (out / "README.md").read_text()


def test_masks_are_carried_to_the_frames_between_labels_where_that_is_asked_for(trip):
    out, counts = trip("v3.0", every=3, gaps="track")
    assert (counts.labels, counts.left_out, counts.images) == (5, 0, 11)
    _, table = frames(out, f"{KEY}_masked", 2)
    assert table["mask_by.high"].to_pylist() == [1, 2, 2, 1, 2, 2]
    pngs = [one["bytes"] for one in table["observation.masks.high"].to_pylist()]
    carried = [np.array(Image.open(io.BytesIO(png))) > 0 for png in pngs]
    overlaps = [np.mean(mask_HW[mask(2, f)]) for f, mask_HW in enumerate(carried[:4])]
    assert min(overlaps) > 0.7, overlaps


def test_an_episode_whose_carried_masks_disagree_is_left_out(trip):
    out, _ = trip("v3.0", every=3, gaps="track", consistency=0.99)
    assert "- 2: masks carried to frames 0 to 3 from both sides overlap by" in (out / "README.md").read_text()


def test_the_tracker_may_be_one_with_weights(trip, tiny, tmp_path):
    tiny.sam2_video(tmp_path / "weights")
    tracker = f"sam2-video?path={tmp_path / 'weights'}&device=cpu&dtype=float32"
    out, counts = trip("v2.1", every=3, gaps="track", tracker=tracker)
    _, table = frames(out, f"{KEY}_masked", 2)
    assert table["mask_by.high"].to_pylist() == [1, 2, 2, 1, 2, 2] and counts.images == 11


@pytest.mark.parametrize(
    ("tracker", "why"), [("no-such", "no-such"), ("sam?path=zoo:segmenter&device=cpu", "'sam' tracks nothing")]
)
def test_what_tracks_nothing_is_refused(trip, tracker, why):
    with pytest.raises(ConfigError, match=why):
        trip("v2.1", every=3, gaps="track", tracker=tracker)
