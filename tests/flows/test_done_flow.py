"""A `label` flow that finds everything done: its openings grow as the parts do, and no folder is listed for a part."""

import os
import time

import pytest

from benchmarks.scale_parts import ROWS, make
from flows.label import label
from storage.data_set import DataSet

pytestmark = pytest.mark.usefixtures("prefect_server")
SIZES = (24, 48)


def test_a_flow_that_finds_everything_done_takes_few_passes_and_makes_no_task(tmp_path, watched, monkeypatch):
    monkeypatch.setattr("flows.label.label_one", None)
    opened = []
    for parts in SIZES:
        made = make(tmp_path / str(parts), parts)
        for path in made.data.rglob("*"):
            os.utime(path, (time.time() - 3600,) * 2)
        DataSet.open(made.data).close()
        with watched(made.data) as seen:
            label(made.manifest, made.data, part_size=ROWS, compact=False)
        kinds = [seen.of(f"{kind}.parquet") for kind in (".light", ".heavy", "")]
        opened.append((*kinds, seen.folders.total()))
    light, heavy, files, listed = ((high - low) / (SIZES[1] - SIZES[0]) for low, high in zip(*opened, strict=True))
    # Light: two to count the manifest, a few for each table and the choice of pictures; heavy: their pixels. The kernel
    # tells of equal events in a row as of one, so that the counts are a third smaller on a busy machine.
    assert light <= 22 and heavy <= 5 and files <= 31
    assert listed == 0
