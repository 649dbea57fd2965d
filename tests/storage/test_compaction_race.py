"""Catalogs, data sets and snapshots that are opened while another process commits and compacts without a pause."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.catalog import Catalog
from storage.parts.shards import commit_part
from storage.upkeep.verify import verify

OPENINGS = 25

COMPACTOR = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import builders
from storage.upkeep.compact import compact
from storage.parts.shards import commit_part
data = Path(sys.argv[1])
parts = [builders.make_part(f"part-{i:05d}", rows=2, seed=10 * i) for i in range(1, 400)]
print("ready", flush=True)
while parts:
    for part in parts[:3]:
        commit_part(data, part)
    parts = parts[3:]
    compact(data)
"""


@pytest.fixture
def compacted(tmp_path, build):
    """A data set that another process commits to and compacts meanwhile."""
    commit_part(tmp_path, build.make_part("part-00000", rows=2))
    command = [sys.executable, "-c", COMPACTOR, str(tmp_path), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as compactor:
        assert compactor.stdout.readline() == "ready\n"
        yield tmp_path
        compactor.kill()


def count(catalog, what, view):
    return catalog.sql(f"SELECT {what} AS n FROM {view}")["n"][0].as_py()


@pytest.mark.slow
def test_no_opening_fails_or_sees_less_than_the_one_before(compacted):
    seen = []
    for _ in range(OPENINGS):
        with Catalog(compacted) as catalog:
            assert catalog.problems == ()
            time.sleep(0.01)  # Files that the catalog found may be superseded by now.
            counts = [count(catalog, "count(*)", view) for view in ("outcomes", "labels", "masks", "timings")]
            assert count(catalog, "sum(octet_length(mask))", "masks") > 0
        # A part has two labels, as many masks, and two timings, which are written before it is committed.
        assert counts[:3] == [counts[0]] * 3 and counts[0] % 2 == 0 and counts[3] >= counts[0]
        seen.append(counts[0])
    assert seen == sorted(seen) and len(set(seen)) > 5
    assert verify(compacted) == ()
