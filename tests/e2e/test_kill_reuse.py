"""SIGKILL in a run that reads what an earlier recipe bought, and two such runs at once: the bytes of runs alone."""

import hashlib
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.experts.answers.place import place
from ivm_data.experts.answers.store import AnswerStore
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world
from storage.upkeep.verify import verify

KILLS = 3
CHANGES = {"verify.dim": 0.9, "resolve.crop_context": 0.6}
RUN = """
import json, sys
from pathlib import Path
import torch
from ivm_data.engine.labeling import label_part
from ivm_data.engine.labeling_run import prepare
from ivm_data.experts.answers.place import place
from ivm_data.recipes.labeling_recipes import recipe
torch.set_num_threads(1)
data = Path(sys.argv[2])
run = prepare(Path(sys.argv[1]), data, recipe("demo", json.loads(sys.argv[3])), 2, answers=place(data))
print("ready", flush=True)
for part in run.open_parts():
    label_part(run, part)
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"), "val", scenes=6, pairs_per_scene=2, human_share=0.5)


@pytest.fixture(scope="module")
def known(manifest, tmp_path_factory):
    """A data set of the recipe `demo`, and how long a part of it took."""
    data = tmp_path_factory.mktemp("known") / "data"
    summaries = label_manifest(prepare(manifest, data, recipe("demo"), 2, answers=place(data)))
    return data, sum(one.seconds for one in summaries) / len(summaries)


def start(manifest, data, changes):
    command = [sys.executable, "-c", RUN, manifest, data, json.dumps(changes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def from_nothing(manifest, data, changes):
    """The label files of a run that reads nothing."""
    run = prepare(manifest, data, recipe("demo", changes), 2)
    label_manifest(run)
    return digests(data, run.recipe_hash)


def count(data):
    """Answers that are kept."""
    with closing(sqlite3.connect(AnswerStore(place(data)).path)) as database:
        return database.execute("SELECT count(*) FROM answers").fetchone()[0]


def digests(data, recipe_hash):
    files = sorted((data / "labels" / recipe_hash).glob("*.parquet"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_a_partial_rerun_killed_at_random_moments_ends_with_the_bytes_of_a_run_from_nothing(manifest, known, tmp_path):
    (source, seconds), data, rng = known, tmp_path / "data", random.Random(0)
    shutil.copytree(source, data)
    for _ in range(KILLS):
        with start(manifest, data, CHANGES) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.1, 0.9) * seconds)
            process.send_signal(signal.SIGKILL)
        assert verify(data) == ()
    run = prepare(manifest, data, recipe("demo", CHANGES), 2, answers=place(data))
    label_manifest(run)
    assert digests(data, run.recipe_hash) == from_nothing(manifest, tmp_path / "nothing", CHANGES)


@pytest.mark.slow
def test_two_recipes_at_once_share_what_is_known_and_leave_the_bytes_of_runs_alone(manifest, known, tmp_path):
    data, changes = tmp_path / "data", ({"verify.dim": 0.9}, {"resolve.crop_context": 0.6})
    shutil.copytree(known[0], data)
    before = count(data)
    processes = [start(manifest, data, one) for one in changes]
    assert [process.wait(timeout=250) for process in processes] == [0, 0]
    assert verify(data) == () and count(data) > before
    for number, one in enumerate(changes):
        run = prepare(manifest, data, recipe("demo", one), 2)
        assert not run.open_parts()
        assert digests(data, run.recipe_hash) == from_nothing(manifest, tmp_path / f"nothing-{number}", one)
