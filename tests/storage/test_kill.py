"""SIGKILL at random moments of a run: nothing is lost, nothing is doubled, nothing is torn."""

import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.parts.shards import commit_part
from storage.upkeep.digest import content_hash
from storage.upkeep.verify import verify

PARTS = 10
KILLS = 20

# Imports and builds once. For each line it forks a run, waits until that run begins a commit, waits for so many times
# the length of a commit as the line says, and kills it.
KILLER = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import builders
from storage.parts.shards import commit_part, is_committed
data, parts = Path(sys.argv[1]), builders.make_run(int(sys.argv[4]))
commit_part(Path(sys.argv[3]), parts[1])
started = time.perf_counter()
commit_part(Path(sys.argv[3]), parts[0])
commit_s = time.perf_counter() - started
for line in sys.stdin:
    begun, begin = os.pipe()
    run = os.fork()
    if not run:
        for part in parts:
            if not is_committed(data, part.recipe, part.part):
                os.write(begin, b".")
                commit_part(data, part)
        os.write(begin, b".")
        os._exit(0)
    os.close(begin)
    os.read(begun, 1)
    time.sleep(float(line) * commit_s)
    os.kill(run, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(run, 0)[1]), flush=True)
    os.close(begun)
"""


def test_a_run_killed_at_random_moments_ends_with_the_same_labels(tmp_path, build):
    parts = build.make_run(PARTS)
    whole, killed, warm_up = tmp_path / "whole", tmp_path / "killed", tmp_path / "warm-up"
    killed.mkdir()
    for part in parts:
        commit_part(whole, part)

    rng, ends, progress = random.Random(0), [], [[]]
    command = [sys.executable, "-c", KILLER, str(killed), str(Path(__file__).parent), str(warm_up), str(PARTS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killer:
        for _ in range(KILLS):
            killer.stdin.write(f"{rng.uniform(0, 1.2)}\n")
            killer.stdin.flush()
            ends.append(int(killer.stdout.readline()))
            assert verify(killed) == ()
            progress.append([part for _, part in DataSet.open(killed).light_of])
            if len(progress[-1]) == PARTS:
                break
        killer.stdin.close()

    assert ends.count(-9) >= 3
    assert all(set(before) <= set(after) for before, after in pairwise(progress))
    fresh = [commit_part(killed, part).fresh for part in parts]
    assert fresh == [part.part not in progress[-1] for part in parts]
    assert content_hash(killed) == content_hash(whole)
    with Catalog(killed) as catalog:
        joined = "FROM inputs JOIN outcomes USING (part, sample_id)"
        rows = catalog.sql(f"SELECT count(*) AS n, count(DISTINCT sample_id) AS ids {joined}")
    assert rows.to_pylist() == [{"n": 8 * PARTS, "ids": 8 * PARTS}]
