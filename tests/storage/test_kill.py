"""SIGKILL at random moments of a run: nothing is lost, nothing is doubled, nothing is torn."""

import random
import subprocess
import sys
from pathlib import Path

from storage.digest import content_hash
from storage.shards import commit_part, list_parts
from storage.verify import verify

PARTS = 8
KILLS = 8

# Imports and builds once, then forks a run and kills it after as many seconds as the line on stdin says.
KILLER = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import builders
from storage.shards import commit_part, is_committed
data = Path(sys.argv[1])
parts = [builders.make_part(f"part-{i:05d}", rows=12, seed=100 * i) for i in range(int(sys.argv[3]))]
for line in sys.stdin:
    child = os.fork()
    if not child:
        for part in parts:
            if not is_committed(data, part.recipe, part.part):
                commit_part(data, part)
        os._exit(0)
    time.sleep(float(line))
    os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_a_run_killed_at_random_moments_ends_with_the_same_labels(tmp_path, build):
    parts = [build.make_part(f"part-{i:05d}", rows=12, seed=100 * i) for i in range(PARTS)]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for part in parts:
        commit_part(whole, part)
    killed.mkdir()

    rng, ends, progress = random.Random(0), [], [[]]
    command = [sys.executable, "-c", KILLER, str(killed), str(Path(__file__).parent), str(PARTS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killer:
        for _ in range(KILLS):
            killer.stdin.write(f"{rng.uniform(0.01, 0.08)}\n")
            killer.stdin.flush()
            ends.append(int(killer.stdout.readline()))
            assert verify(killed) == ()
            progress.append(list_parts(killed, build.RECIPE))
        killer.stdin.close()

    assert -9 in ends
    assert all(set(before) <= set(after) for before, after in zip(progress, progress[1:], strict=False))
    fresh = [commit_part(killed, part).fresh for part in parts]
    assert fresh == [part.part not in progress[-1] for part in parts]
    assert content_hash(killed) == content_hash(whole)
    assert not list(killed.rglob(".*.tmp")) or not any(fresh)
