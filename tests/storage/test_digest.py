import pyarrow.parquet as pq
import pytest

from storage.errors import ShardError
from storage.parts.shards import commit_part
from storage.upkeep.digest import content_hash


def test_the_hash_of_one_part_is_the_one_of_its_commit(tmp_path, build):
    assert commit_part(tmp_path, build.make_part()).content == content_hash(tmp_path)


def test_the_hash_does_not_depend_on_the_order_of_commits(tmp_path, parts):
    for name, order in (("a", parts), ("b", parts[::-1])):
        for part in order:
            commit_part(tmp_path / name, part)
    assert content_hash(tmp_path / "a") == content_hash(tmp_path / "b")


def test_the_hash_does_not_depend_on_row_groups_and_compression(tmp_path, build):
    committed = commit_part(tmp_path, build.make_part(rows=40))
    for path in (committed.light, committed.heavy):
        pq.write_table(pq.read_table(path), path, row_group_size=7, compression="snappy", use_dictionary=False)
    assert content_hash(tmp_path) == committed.content


def test_another_pixel_is_another_hash(tmp_path, build):
    committed = commit_part(tmp_path, build.make_part())
    table = pq.read_table(committed.heavy)
    masks = table["mask"].to_pylist()
    changed = table.set_column(
        table.schema.get_field_index("mask"), table.schema.field("mask"), [[masks[1], *masks[1:]]]
    )
    pq.write_table(changed, committed.heavy)
    assert content_hash(tmp_path) != committed.content


def test_each_recipe_has_its_own_hash(tmp_path, build):
    first = commit_part(tmp_path, build.make_part(recipe="aaa"))
    second = commit_part(tmp_path, build.make_part(recipe="bbb"))
    assert content_hash(tmp_path, "aaa") == first.content
    assert content_hash(tmp_path, "bbb") == second.content
    assert content_hash(tmp_path) not in (first.content, second.content)


def test_there_is_no_hash_of_a_torn_data_set(tmp_path, build):
    heavy = commit_part(tmp_path, build.make_part()).heavy
    heavy.unlink()
    with pytest.raises(ShardError, match="incomplete"):
        content_hash(tmp_path)
