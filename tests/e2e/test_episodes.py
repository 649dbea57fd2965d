"""The world in motion in LeRobot's layout: imported, labeled by key frames and tracks, killed and resumed, exported."""

import io
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.engine.retracking import retrack
from ivm_data.exports.run import Selection, export
from ivm_data.recipes.labeling_recipes import recipe, with_tracker
from ivm_data.sources.foreign.common.manifest_writer import write_manifest
from ivm_data.sources.foreign.readers import read
from ivm_data.sources.foreign.robots.lerobot_folder import LerobotFolder
from ivm_data.worlds.motion_set import write_motion
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.pixels import rle
from storage.tables import reviews
from storage.upkeep.digest import content_hash
from storage.upkeep.verify import verify

FRAMES, EPISODES, PART = 17, 4, 20
RUN = """
import sys
from pathlib import Path
import torch
from ivm_data.engine.labeling import label_part
from ivm_data.engine.labeling_run import prepare
from ivm_data.recipes.labeling_recipes import recipe, with_tracker
torch.set_num_threads(1)
run = prepare(Path(sys.argv[1]), Path(sys.argv[2]), with_tracker(recipe("demo"), "flow"), part_size=20)
print("ready", flush=True)
for part in run.open_parts():
    label_part(run, part)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A LeRobot set with the manifest that `ivm import` makes of it."""
    folder = tmp_path_factory.mktemp("robots") / "toy"
    write_motion(folder, "val", EPISODES, FRAMES, 0.5, start=3)
    (folder / "manifest.jsonl").rename(folder / "truth.jsonl")
    return folder


@pytest.fixture(scope="module")
def labeled(world, tmp_path_factory):
    data = tmp_path_factory.mktemp("data") / "whole"
    run = prepare(world / "truth.jsonl", data, with_tracker(recipe("demo"), "flow"), part_size=PART)
    summaries = label_manifest(run)
    return data, run, summaries


def test_a_part_holds_whole_episodes_and_key_frames_alone_pass_the_experts(labeled):
    data, run, _ = labeled
    with Catalog(data) as catalog:
        parts = catalog.sql("SELECT episode, count(DISTINCT part) AS parts FROM outcomes GROUP BY episode").to_pylist()
        seen = catalog.sql("SELECT sum(rows) AS rows FROM timings WHERE stage = 'rewrite'").to_pylist()[0]["rows"]
        rows = catalog.query("consistency_by_episode").to_pylist()
    assert len(run.parts) == 2 and [row["parts"] for row in parts] == [1] * EPISODES
    assert seen < 0.35 * EPISODES * FRAMES and seen >= sum(row["key_frames"] for row in rows)
    assert sum(row["frames"] for row in rows) > 0.9 * EPISODES * FRAMES


def test_what_is_carried_says_so_and_is_what_is_asked_for(labeled):
    data, run, _ = labeled
    with DataSet.open(data) as opened:
        labels = {label.sample.id: label for label in opened.labels()}
    tracked = [label for label in labels.values() if label.tracked_from]
    assert len(tracked) > 0.5 * len(labels)
    for label in labels.values():
        assert ("tracker", "flow@1") in label.lineage.experts if label.tracked_from else True
        assert ("tracker", "flow@1") not in label.lineage.experts or label.tracked_from
        for name in label.tracked_from:
            key = labels[name]
            assert not key.tracked_from and key.sample.moment.episode == label.sample.moment.episode
    assert np.mean([label.human_iou for label in labels.values()]) > 0.6
    assert ("tracker", "flow@1") in run.lineage.experts


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_labeling_killed_at_random_moments_ends_with_the_same_rows(world, labeled, tmp_path):
    whole, _, summaries = labeled
    seconds, rng = sum(summary.seconds for summary in summaries) / len(summaries), random.Random(0)
    for _ in range(2):
        command = [sys.executable, "-c", RUN, str(world / "truth.jsonl"), str(tmp_path / "killed")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.2, 0.9) * seconds)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert verify(tmp_path / "killed") == ()
    again = prepare(world / "truth.jsonl", tmp_path / "killed", with_tracker(recipe("demo"), "flow"), part_size=PART)
    label_manifest(again)
    assert content_hash(tmp_path / "killed") == content_hash(whole)


def test_the_import_is_labeled_with_tracks_and_exported_as_a_masked_set(world, tmp_path):
    manifest = world / "imported.jsonl"
    write_manifest(read("lerobot", {"folder": str(world), "every": 2}), manifest, "toy")
    run = prepare(manifest, tmp_path / "data", with_tracker(recipe("demo"), "flow"), part_size=PART)
    label_manifest(run)
    with DataSet.open(tmp_path / "data") as opened:
        labels = {(one.sample.moment.episode, one.sample.moment.frame): one for one in opened.labels()}
    assert {frame for _, frame in labels} == set(range(0, FRAMES, 2)) and len({name for name, _ in labels}) == EPISODES
    options = {"folder": str(world), "gaps": "track"}
    chosen = Selection(statuses=("accepted", "no_target", "review"))
    counts = export("lerobot", tmp_path / "data", tmp_path / "out", chosen, options)
    masked = LerobotFolder(tmp_path / "out")
    episodes = list(masked.episodes())
    assert counts.labels + counts.no_target > 0 and episodes
    rows = masked.frames(episodes[0])
    assert set(rows["mask_by.top"].to_pylist()) <= {1, 2}
    name = f"{world.name}/0"
    for frame in range(0, FRAMES, 2):
        if (label := labels.get((name, frame))) and rows["mask_by.top"][frame].as_py() == 1:
            png = np.array(Image.open(io.BytesIO(rows["observation.masks.top"][frame].as_py()["bytes"])))
            assert (png == 255 * rle.decode(label.mask)).all() and not label.tracked_from


def test_a_corrected_key_frame_is_carried_and_labeling_again_finds_nothing_to_do(world, labeled, tmp_path):
    whole, run, _ = labeled
    data = tmp_path / "data"
    shutil.copytree(whole, data)
    with DataSet.open(data) as opened:
        before = {label.sample.id: label for label in opened.labels()}
    key = next(label.tracked_from[0] for label in before.values() if label.tracked_from and rle.area(label.mask))
    moved = rle.encode(np.roll(rle.decode(before[key].mask), (9, -9), (0, 1)))
    reviews.append(data, run.recipe_hash, key, "anna", "wrong", mask=moved)
    done = retrack(data)
    with DataSet.open(data) as opened:
        after = {label.sample.id: label for label in opened.labels()}
    changed = {name for name, label in after.items() if label != before[name]}
    assert done.corrected == 1 and done.changed == len(changed) > 0 and verify(data) == ()
    assert all(key in before[name].tracked_from or key in after[name].tracked_from for name in changed)
    assert not prepare(world / "truth.jsonl", data, run.recipe, part_size=PART).open_parts()
    assert retrack(data).changed == 0
