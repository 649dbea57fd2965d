import json

import pyarrow.parquet as pq
import pytest

from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import ConfigError, ShardError
from storage.parts.shards import commit_part, write_reviews, write_weights
from storage.records import PartResult
from storage.tables import snapshots
from storage.tables.decisions import FoundLabel, decide
from storage.upkeep.compact import compact
from storage.upkeep.verify import verify_snapshot


@pytest.fixture
def data(tmp_path, build):
    for i in range(3):
        part = build.make_part(f"part-{i:05d}", seed=100 * i)
        commit_part(tmp_path, part)
        write_weights(tmp_path, "lmm-head@77aa", part.part, build.make_weights(part))
    return tmp_path


def counts(data, snapshot=None):
    views = ("outcomes", "labels", "masks", "timings", "weights", "reviews", "decisions", "excluded")
    with Catalog(data, snapshot) as catalog:
        return [catalog.sql(f"SELECT count(*) AS n FROM {view}")["n"].to_pylist()[0] for view in views]


def grow(data, build):
    part = build.make_part("part-00009", seed=900)
    commit_part(data, part)
    write_weights(data, "other@1", part.part, build.make_weights(part, "other@1"))
    write_reviews(data, "ada", "monday", build.make_reviews(part))
    decide(
        data,
        "rule",
        "mask",
        "exclude",
        [FoundLabel(build.RECIPE, part.outcomes[0].sample.id, "why")],
        parameters={},
        who="ada",
    )


def test_equal_data_has_an_equal_name_whatever_the_files(data, build, tmp_path_factory):
    first = DataSet.open(data).freeze()
    assert DataSet.open(data).freeze().created_at == first.created_at and snapshots.names(data) == [first.name]
    compact(data)
    assert DataSet.open(data).now().name == first.name
    assert (first.rows("labels"), first.rows("weights"), first.rows("reviews")) == (36, 30, 0)


def test_a_catalog_of_a_snapshot_answers_as_then_even_after_a_compaction(data, build):
    frozen, before = DataSet.open(data).freeze().name, counts(data)
    grow(data, build)
    assert counts(data, frozen) == before != counts(data)
    compact(data)
    assert counts(data, frozen[:6]) == before


def test_a_difference_names_what_came_and_what_went(data, build):
    old = DataSet.open(data).freeze()
    grow(data, build)
    new = DataSet.open(data).freeze()
    changed = snapshots.difference(old, new)
    assert {(e.kind, e.owner, e.rows) for e in changed.added} == {
        ("labels", build.RECIPE, 12),
        ("weights", "other@1", 10),
        ("reviews", "ada", 5),
        ("decisions", "rule", 1),
    }
    assert changed.removed == () and snapshots.difference(new, old).removed == changed.added
    assert snapshots.names(data) == [old.name, new.name] or old.created_at == new.created_at


def test_a_snapshot_still_verifies_after_a_compaction_and_growth(data, build):
    commit_part(data, PartResult("empty", build.RECIPE, ()))
    frozen = DataSet.open(data).freeze()
    grow(data, build)
    compact(data)
    assert verify_snapshot(DataSet.open(data), frozen) == ()


def test_changed_and_missing_rows_are_named(data, build):
    frozen = DataSet.open(data).freeze()
    light = data / "labels" / build.RECIPE / "part-00001.light.parquet"
    table = pq.read_table(light)
    pq.write_table(table.slice(0, 5).replace_schema_metadata(pq.read_schema(light).metadata), light)
    (data / "weights" / "lmm-head@77aa" / "part-00002.parquet").unlink()
    changed, missing = verify_snapshot(DataSet.open(data), frozen)
    assert changed.startswith(f"labels/{build.RECIPE}/part-00001 hashes to")
    assert missing.startswith("weights/lmm-head@77aa/part-00002 is missing, the snapshot lists")
    with pytest.raises(ShardError, match=r"lists 1 parts that are gone .* weights/lmm-head@77aa/part-00002"):
        Catalog(data, frozen.name)


def test_an_unknown_torn_or_changed_snapshot_is_reported(data):
    frozen = DataSet.open(data).freeze()
    path = data / "snapshots" / f"{frozen.name}.json"
    with pytest.raises(ConfigError, match=f"0 snapshots .* are named 'zz'; there are: {frozen.name}"):
        snapshots.load(data, "zz")
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"entries": raw["entries"][1:]}))
    with pytest.raises(ShardError, match="was changed"):
        snapshots.load(data, frozen.name)
    path.write_text('{"entries": ')
    with pytest.raises(ShardError, match="torn or no snapshot"):
        snapshots.load(data, frozen.name)
