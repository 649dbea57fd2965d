import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from storage.errors import ConfigError, ShardError
from storage.parts.files import LIGHT_ROWS
from storage.parts.rows import HEAVY_ROWS
from storage.parts.shards import commit_part, is_committed, write_reviews, write_weights
from storage.records import PartResult, Timing
from storage.tables.recipes import write_recipe
from storage.upkeep.verify import verify

TWO_AT_ONCE = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import builders
from storage.parts.shards import commit_part
part = builders.make_part(rows=20)
start, go = os.pipe()
children = []
for _ in range(2):
    children.append(os.fork())
    if not children[-1]:
        os.read(start, 1)
        os._exit(10 + commit_part(Path(sys.argv[1]), part).fresh)
os.write(go, b"!!")
print(sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def files_of(data):
    return {path.relative_to(data): path.read_bytes() for path in data.rglob("*") if path.is_file()}


def test_a_commit_leaves_a_light_a_heavy_and_a_timings_file(tmp_path, build):
    committed = commit_part(tmp_path, build.make_part())
    assert {str(path) for path in files_of(tmp_path)} == {
        f"labels/{build.RECIPE}/part-00000.light.parquet",
        f"labels/{build.RECIPE}/part-00000.heavy.parquet",
        f"timings/{build.RECIPE}/part-00000.parquet",
    }
    assert committed.fresh and committed.rows == 12
    assert is_committed(tmp_path, build.RECIPE, "part-00000")
    assert not is_committed(tmp_path, build.RECIPE, "part-00001")


def test_the_same_outcomes_give_the_same_bytes(tmp_path, build):
    for name in ("a", "b"):
        commit_part(tmp_path / name, build.make_part(rows=30))
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_timings_do_not_touch_the_label_files(tmp_path, build):
    part = build.make_part()
    slow = replace(part, timings=(Timing(part.part, part.recipe, "ground", 99.0, 12),))
    a, b = commit_part(tmp_path / "a", part), commit_part(tmp_path / "b", slow)
    assert a.content == b.content
    assert a.light.read_bytes() == b.light.read_bytes()


def test_committing_again_changes_nothing(tmp_path, build):
    first = commit_part(tmp_path, build.make_part())
    before = files_of(tmp_path)
    again = commit_part(tmp_path, build.make_part())
    assert not again.fresh and again.content == first.content
    assert files_of(tmp_path) == before


def test_other_contents_under_a_committed_name_are_refused(tmp_path, build):
    commit_part(tmp_path, build.make_part())
    before = files_of(tmp_path)
    with pytest.raises(ShardError, match=r"already committed with other contents \(hash .* under a new recipe"):
        commit_part(tmp_path, build.make_part(seed=500))
    assert files_of(tmp_path) == before


def test_a_torn_committed_file_is_named_when_the_part_comes_again(tmp_path, build):
    light = commit_part(tmp_path, build.make_part()).light
    light.write_bytes(light.read_bytes()[:-100])
    with pytest.raises(ShardError, match=r"part-00000\.light\.parquet' is committed but cannot be read"):
        commit_part(tmp_path, build.make_part())


def test_a_part_without_labels_or_without_outcomes_can_be_committed(tmp_path, build):
    rejections = tuple(build.make_rejection(i) for i in range(3))
    commit_part(tmp_path, PartResult("rejected", build.RECIPE, rejections))
    commit_part(tmp_path, PartResult("empty", build.RECIPE, ()))
    assert verify(tmp_path) == ()


def test_what_a_killed_writer_left_is_cleared_and_an_uncommitted_heavy_file_replaced(tmp_path, build):
    whole = commit_part(tmp_path / "whole", build.make_part())
    folder = tmp_path / "killed" / "labels" / build.RECIPE
    folder.mkdir(parents=True)
    (folder / ".part-00000.light.parquet.tmp").write_bytes(b"half a file")
    (folder / "part-00000.heavy.parquet").write_bytes(b"from another life")
    commit_part(tmp_path / "killed", build.make_part())
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")
    assert whole.fresh


def test_row_groups_and_encodings_are_as_measured_best(tmp_path, build):
    committed = commit_part(tmp_path, build.make_part(rows=HEAVY_ROWS * 2))
    light, heavy = pq.ParquetFile(committed.light), pq.ParquetFile(committed.heavy)
    assert LIGHT_ROWS >= 10_000 and light.num_row_groups == 1
    assert heavy.metadata.row_group(0).num_rows == HEAVY_ROWS
    columns = {c.path_in_schema: c for c in map(light.metadata.row_group(0).column, range(light.metadata.num_columns))}
    assert columns["sample_id"].bloom_filter_offset is not None
    assert not columns["sample_id"].has_dictionary_page and columns["status"].has_dictionary_page
    image = heavy.schema_arrow.get_field_index("image")
    assert heavy.metadata.row_group(0).column(image).compression == "UNCOMPRESSED"


def test_writers_in_threads_take_turns(tmp_path, build):
    part = build.make_part()
    with ThreadPoolExecutor(4) as pool:
        fresh = list(pool.map(lambda _: commit_part(tmp_path, part).fresh, range(4)))
    assert sorted(fresh) == [False, False, False, True]
    assert verify(tmp_path) == ()


def test_of_writers_with_different_contents_exactly_one_wins(tmp_path, build):
    def attempt(seed):
        try:
            return commit_part(tmp_path, build.make_part(seed=seed)).content
        except ShardError:
            return None

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(attempt, range(0, 400, 100)))
    assert len([content for content in results if content]) == 1
    assert verify(tmp_path) == ()


def test_two_processes_may_commit_the_same_part_at_once(tmp_path):
    command = [sys.executable, "-c", TWO_AT_ONCE, str(tmp_path), str(Path(__file__).parent)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[10, 11]\n"
    assert verify(tmp_path) == ()


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "x" * 201])
def test_a_name_that_cannot_be_a_file_is_refused(tmp_path, build, name):
    with pytest.raises(ConfigError, match="a name has 1 to 200 characters"):
        commit_part(tmp_path, replace(build.make_part(), part=name))
    assert list(tmp_path.iterdir()) == []


def test_a_label_of_another_recipe_is_refused(tmp_path, build):
    with pytest.raises(ValueError, match="holds a label of recipe"):
        commit_part(tmp_path, replace(build.make_part(), recipe="other"))


def test_facts_are_appended_once_and_never_rewritten(tmp_path, build):
    weights, reviews = build.make_weights(build.make_part()), build.make_reviews(build.make_part())
    for _ in range(2):
        path = write_weights(tmp_path, "lmm-head@77aa", "part-00000", weights)
        write_reviews(tmp_path, "ada", "monday", reviews)
    assert pq.read_table(path).num_rows == len(weights)
    with pytest.raises(ShardError, match="other contents"):
        write_weights(tmp_path, "lmm-head@77aa", "part-00000", weights[1:])
    with pytest.raises(ShardError, match="other contents"):
        write_reviews(tmp_path, "ada", "monday", reviews[1:])
    with pytest.raises(ValueError, match="must be of discriminator 'other'"):
        write_weights(tmp_path, "other", "part-00000", weights)


def test_a_recipe_hash_stands_for_one_configuration(tmp_path):
    path = write_recipe(tmp_path, "3f9c", {"b": 1, "a": "é"})
    assert write_recipe(tmp_path, "3f9c", {"a": "é", "b": 1}) == path
    assert json.loads(path.read_text()) == {"a": "é", "b": 1}
    with pytest.raises(ShardError, match="already stands for another configuration"):
        write_recipe(tmp_path, "3f9c", {"a": "é", "b": 2})
