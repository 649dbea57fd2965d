from pathlib import Path

import pyarrow.parquet as pq
import pytest

from storage.data_set import DataSet
from storage.errors import ConfigError, ShardError
from storage.parts.shards import commit_part, write_evaluation, write_weights
from storage.tables.recipes import recipe_hash, write_recipe
from storage.upkeep.compact import compact
from storage.upkeep.verify import verify


def test_a_sound_data_set_has_no_problems(small_data):
    assert verify(small_data) == ()


def test_a_folder_that_is_not_there_is_reported(tmp_path):
    with pytest.raises(ConfigError, match="no data folder"):
        verify(tmp_path / "nowhere")


@pytest.mark.parametrize("which", ["light", "heavy"])
def test_damage_behind_a_whole_footer_is_found(tmp_path, build, which):
    path = getattr(commit_part(tmp_path, build.make_part(rows=40)), which)
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 4
    raw[middle : middle + 400] = bytes(byte ^ 0x5A for byte in raw[middle : middle + 400])
    path.write_bytes(raw)
    assert DataSet.open(tmp_path).problems == ()
    assert any("part-00000" in str(problem) for problem in verify(tmp_path))


def test_rows_that_were_changed_after_the_commit_are_found(tmp_path, build):
    light = commit_part(tmp_path, build.make_part()).light
    table = pq.read_table(light)
    pq.write_table(table.slice(0, 5), light)
    assert ["its part's rows hash to" in problem.why for problem in verify(tmp_path)] == [True]


def test_an_image_that_was_swapped_is_found(tmp_path, build):
    heavy = commit_part(tmp_path, build.make_part()).heavy
    table = pq.read_table(heavy)
    images = [None if image is None else b"another" for image in table["image"].to_pylist()]
    swapped = table.set_column(table.schema.get_field_index("image"), table.schema.field("image"), [images])
    pq.write_table(swapped, heavy)
    assert ["images of row group 0" in problem.why for problem in verify(tmp_path)] == [True]


def edited(path, column, value):
    """Write a file again with one changed value, its footer as it was, as somebody with a notebook would."""
    table, footer = pq.read_table(path), pq.read_schema(path).metadata
    values = table[column].to_pylist()
    changed = table.set_column(table.schema.get_field_index(column), table.schema.field(column), [[value, *values[1:]]])
    pq.write_table(changed.replace_schema_metadata(footer), path)


@pytest.mark.parametrize("compacted", [False, True])
def test_timings_and_facts_that_were_changed_are_found(tmp_path, build, compacted):
    for i in range(2):
        part = build.make_part(f"part-{i}", seed=100 * i)
        commit_part(tmp_path, part)
    write_weights(tmp_path, "lmm-head@77aa", "all", build.make_weights(part))
    evaluation = {"evaluation_set": "exam", "image_uri": "a.png", "image_sha": "00", "image_hash": 2**64 - 1}
    write_evaluation(tmp_path, "exam", "images", [evaluation])
    if compacted:
        compact(tmp_path)
    assert verify(tmp_path) == ()
    edited(next((tmp_path / "timings" / build.RECIPE).glob("*.parquet")), "seconds", 1e6)
    edited(tmp_path / "weights" / "lmm-head@77aa" / "all.parquet", "d", 0.5)
    edited(tmp_path / "evaluation" / "exam" / "images.parquet", "image_sha", "11")
    found = verify(tmp_path)
    assert sorted(problem.path.parts[0] for problem in found) == ["evaluation", "timings", "weights"]
    assert all("its rows hash to" in problem.why for problem in found)


def test_a_compaction_does_not_make_changed_timings_sound(tmp_path, build):
    for i in range(2):
        commit_part(tmp_path, build.make_part(f"part-{i}", seed=100 * i))
    edited(tmp_path / "timings" / build.RECIPE / "part-1.parquet", "seconds", 1e6)
    with pytest.raises(ShardError, match=r"part-1\.parquet': its rows hash to .*; move the file away"):
        compact(tmp_path)


def test_files_of_before_their_rows_were_hashed_are_sound(tmp_path, build):
    commit_part(tmp_path, build.make_part())
    path = tmp_path / "timings" / build.RECIPE / "part-00000.parquet"
    table, footer = pq.read_table(path), pq.read_schema(path).metadata
    del footer[b"ivm_content"]
    pq.write_table(table.replace_schema_metadata(footer), path)
    commit_part(tmp_path, build.make_part("part-00001", seed=100))
    assert verify(tmp_path) == ()
    compact(tmp_path)
    assert verify(tmp_path) == ()


def test_a_recipe_that_was_changed_is_found_where_it_says_what_it_was(tmp_path):
    config, experts = {"name": "demo", "gate": {"accept": 0.9, "reject": 0.1}}, [("verifier", "lmm@1"), ("a", "b@2")]
    name = recipe_hash(config, experts)
    listed = [{"role": role, "name": expert} for role, expert in experts]
    path = write_recipe(tmp_path, name, config | {"experts": listed})
    write_recipe(tmp_path, "mine", {"no": "experts"})
    assert verify(tmp_path) == ()
    path.write_text(path.read_text().replace("0.9", "0.8"))
    (problem,) = verify(tmp_path)
    assert problem.path == Path("recipes") / path.name and problem.why.startswith(
        "changed: its configuration hashes to"
    )
    path.write_text("{")
    assert ["torn" in problem.why for problem in verify(tmp_path)] == [True]
