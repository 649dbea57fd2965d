"""SIGKILL at random moments of labeling with the embedded experts: the rerun ends with the same labels."""

import random
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world
from storage.data_set import DataSet
from storage.upkeep.digest import content_hash
from storage.upkeep.verify import verify

KILLS = 3
RUN = """
import sys
from pathlib import Path
import torch
from ivm_data.engine.labeling import label_part
from ivm_data.engine.labeling_run import prepare
from ivm_data.recipes.labeling_recipes import recipe
torch.set_num_threads(1)
run = prepare(Path(sys.argv[1]), Path(sys.argv[2]), recipe("demo"), part_size=2)
print("ready", flush=True)
for part in run.open_parts():
    label_part(run, part)
"""


def label_and_kill(manifest, data, after_s):
    """Label in a process of its own, and kill it `after_s` seconds after its experts are loaded."""
    with subprocess.Popen([sys.executable, "-c", RUN, manifest, data], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        return process.wait()


@pytest.mark.slow
def test_labeling_killed_at_random_moments_ends_with_the_same_labels(tmp_path):
    manifest = write_world(tmp_path / "world", "val", scenes=6, pairs_per_scene=2, human_share=0.5)
    whole = prepare(manifest, tmp_path / "whole", recipe("demo"), part_size=2)
    seconds = [summary.seconds for summary in label_manifest(whole)]

    killed, rng, progress = tmp_path / "killed", random.Random(0), []
    for _ in range(KILLS):
        # Less than two parts' time each, so that the kills land within the run and not after it.
        ended = label_and_kill(manifest, killed, rng.uniform(0.2, 1.8) * sum(seconds) / len(seconds))
        assert ended == -signal.SIGKILL
        assert verify(killed) == ()
        progress.append({part for _, part in DataSet.open(killed).light_of})
    assert all(before <= after for before, after in pairwise(progress))
    assert len(progress[-1]) < len(whole.parts)

    again = prepare(manifest, killed, recipe("demo"), part_size=2)
    fresh = {summary.part for summary in label_manifest(again) if summary.fresh}
    assert fresh == {part.name for part in whole.parts} - progress[-1]
    assert content_hash(killed) == content_hash(whole.data)
