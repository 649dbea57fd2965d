import shutil
import subprocess
import sys
from itertools import count

import pyarrow.parquet as pq
import pytest

from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import ConfigError, ShardError
from storage.parts import layout
from storage.parts.rows import HEAVY_ROWS
from storage.parts.shards import commit_part, is_committed
from storage.records import PartResult
from storage.upkeep.compact import compact
from storage.upkeep.digest import content_hash
from storage.upkeep.verify import verify

PARTS = 14

# For each line it forks a compaction of the folder, which kills itself before its n-th call that changes the disk.
KILLER = """
import os, signal, sys
from pathlib import Path
from storage.upkeep.compact import compact
folder = Path(sys.argv[1])
compact(folder / "warm-up")
for line in sys.stdin:
    run = os.fork()
    if not run:
        left = int(line)
        def count(event, arguments):
            global left
            if event in ("os.rename", "os.remove") or event == "open" and arguments[2] & os.O_CREAT:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(count)
        compact(folder / line.strip())
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(run, 0)[1]), flush=True)
"""


@pytest.fixture
def many(tmp_path, build):
    """A data set of fourteen small parts: 168 outcomes."""
    data = tmp_path / "data"
    for i in range(PARTS):
        commit_part(data, build.make_part(f"part-{i:05d}", seed=100 * i))
    return data


def light_files(data):
    with DataSet.open(data) as opened:
        return opened.files("light")


def label_names(data):
    return [path.name for path in light_files(data)]


def part_names(data):
    with DataSet.open(data) as opened:
        return [part for _, part in opened.light_of]


def test_who_streams_labels_meanwhile_reads_all_of_them_and_the_next_compaction_clears_up(many):
    expected, before = list(DataSet.open(many).labels()), set((many / "labels").rglob("*.parquet"))
    stream = DataSet.open(many).labels()
    labels = [next(stream)]
    (done,) = compact(many)
    assert done.after == 1 and before < set((many / "labels").rglob("*.parquet"))
    assert labels + list(stream) == expected == list(DataSet.open(many).labels())
    compact(many)
    assert not before & set((many / "labels").rglob("*.parquet"))


def test_a_compaction_keeps_every_row_part_and_hash(many, build):
    labels, parts, content = list(DataSet.open(many).labels()), part_names(many), content_hash(many)
    (done,) = compact(many)
    assert (done.recipe, done.before, done.after, done.rows) == (build.RECIPE, PARTS, 1, 12 * PARTS)
    assert len(list(many.rglob("*.parquet"))) == 3 and not list(many.rglob("*.tmp"))
    assert list(DataSet.open(many).labels()) == labels
    assert DataSet.open(many).masks([labels[40].sample.id]) == {labels[40].sample.id: labels[40].mask}
    assert (part_names(many), content_hash(many), verify(many)) == (parts, content, ())
    assert all(is_committed(many, build.RECIPE, part) for part in parts)
    assert not is_committed(many, build.RECIPE, "part-99999")


def test_a_compacted_part_is_not_written_again(many, build):
    compact(many)
    part = build.make_part("part-00003", seed=300)
    again = commit_part(many, part)
    assert not again.fresh and again.light.exists() and again.rows == 12
    with pytest.raises(ShardError, match="already committed with other contents"):
        commit_part(many, build.make_part("part-00003", seed=9000))
    assert len(label_names(many)) == 1


def test_files_hold_at_most_the_target_and_full_ones_are_left_alone(many, build):
    assert [done.after for done in compact(many, target_rows=60)] == [3]
    before = label_names(many)
    commit_part(many, build.make_part("part-00090", seed=9000))
    commit_part(many, build.make_part("part-00091", seed=9100))
    compact(many, target_rows=60)
    assert set(before[:2]) < set(label_names(many)) and len(label_names(many)) == 4
    assert all(pq.read_metadata(path).num_rows <= 60 for path in light_files(many))


def test_compacted_files_are_compacted_further(many):
    content = content_hash(many)
    compact(many, target_rows=40)
    compact(many)
    assert len(label_names(many)) == 1 and content_hash(many) == content and verify(many) == ()


def test_row_groups_bloom_filter_and_shared_images_are_as_in_a_part(many):
    compact(many)
    (light,) = light_files(many)
    group = pq.ParquetFile(light).metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert columns["sample_id"].bloom_filter_offset is not None and group.num_rows == 12 * PARTS
    heavy = pq.ParquetFile(layout.heavy_path(light))
    assert [heavy.metadata.row_group(i).num_rows for i in range(heavy.num_row_groups)][:2] == [HEAVY_ROWS] * 2
    table = heavy.read_row_group(0)
    assert table["image"].null_count == HEAVY_ROWS - len(set(table["image_sha"].to_pylist())) > 0


def test_parts_without_labels_and_without_outcomes_are_compacted_too(tmp_path, build):
    commit_part(tmp_path, PartResult("rejected", build.RECIPE, tuple(build.make_rejection(i) for i in range(3))))
    commit_part(tmp_path, PartResult("empty", build.RECIPE, ()))
    compact(tmp_path)
    assert part_names(tmp_path) == ["empty", "rejected"] and verify(tmp_path) == ()


def test_a_damaged_part_stops_its_compaction_and_stays(many, build):
    light = layout.light_path(many, build.RECIPE, "part-00005")
    table = pq.read_table(light)
    pq.write_table(table.slice(0, 5).replace_schema_metadata(pq.read_schema(light).metadata), light)
    before = label_names(many)
    with pytest.raises(ShardError, match=r"part 'part-00005' in .* hashes to"):
        compact(many)
    assert label_names(many) == before


def test_an_image_that_was_swapped_is_found_before_the_original_is_gone(many, build):
    heavy = layout.heavy_path(layout.light_path(many, build.RECIPE, "part-00005"))
    table = pq.read_table(heavy)
    images = [None if image is None else b"another" for image in table["image"].to_pylist()]
    swapped = table.set_column(table.schema.get_field_index("image"), table.schema.field("image"), [images])
    pq.write_table(swapped.replace_schema_metadata(pq.read_schema(heavy).metadata), heavy)
    with pytest.raises(ShardError, match="does not hold the image"):
        compact(many)
    assert len(label_names(many)) == PARTS


def test_an_unknown_recipe_or_size_is_reported(many):
    with pytest.raises(ConfigError, match="no labels of recipe 'other'"):
        compact(many, "other")
    with pytest.raises(ConfigError, match="'target_rows' must be at least 1, got 0"):
        compact(many, target_rows=0)


def test_what_a_compaction_killed_before_its_clean_up_left_is_neither_read_nor_kept(many, build):
    content = content_hash(many)
    kept = {path: path.read_bytes() for path in many.rglob("*.parquet")}
    compact(many)
    for path, raw in kept.items():
        path.write_bytes(raw)
    layout.light_path(many, build.RECIPE, "part-00002").unlink()
    assert (content_hash(many), len(part_names(many)), verify(many)) == (content, PARTS, ())
    with Catalog(many) as catalog:
        assert catalog.sql("SELECT count(*) AS n FROM outcomes")["n"].to_pylist() == [12 * PARTS]
        assert catalog.sql("SELECT count(*) AS n FROM timings")["n"].to_pylist() == [2 * PARTS]
    compact(many)
    assert len(list(many.rglob("*.parquet"))) == 3


def test_a_torn_compacted_file_is_named_where_its_parts_are_asked_for(many, build):
    compact(many)
    (light,) = light_files(many)
    torn = light.with_name("part-00000+0123456789abcdef.light.parquet")
    light.rename(torn)
    torn.write_bytes(torn.read_bytes()[:-100])
    with pytest.raises(ShardError, match="holds several parts and cannot be read"):
        is_committed(many, build.RECIPE, "part-00003")


@pytest.mark.slow
def test_a_compaction_killed_before_any_of_its_steps_loses_and_doubles_nothing(tmp_path, build):
    whole, ends, after = tmp_path / "whole", [], set()
    for i in range(3):
        commit_part(whole, build.make_part(f"part-{i:05d}", rows=4, seed=100 * i))
    content, parts = content_hash(whole), part_names(whole)
    shutil.copytree(whole, tmp_path / "warm-up")
    command = [sys.executable, "-c", KILLER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killer:
        for step in count():
            killed = shutil.copytree(whole, tmp_path / str(step))
            killer.stdin.write(f"{step}\n")
            killer.stdin.flush()
            ends.append(int(killer.stdout.readline()))
            after.add(len(label_names(killed)))
            assert (content_hash(killed), part_names(killed), verify(killed)) == (content, parts, ())
            compact(killed)
            assert len(list(killed.rglob("*.parquet"))) == 3 and content_hash(killed) == content
            if ends[-1] == 0:
                break
        killer.stdin.close()
    assert set(ends[:-1]) == {-9} and len(ends) > 10
    assert after == {3, 1}
