import gc
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import ConfigError, ShardError
from storage.parts.shards import commit_part
from storage.records import Label, PartResult
from storage.tables.decisions import FoundLabel, decide
from storage.tables.reviews import Adjudication, append
from storage.upkeep.compact import compact


def outcomes(parts, kind):
    return [outcome for part in parts for outcome in part.outcomes if isinstance(outcome, kind)]


def bytes_read(call):
    """Bytes that `call` asked the operating system for."""

    def so_far():
        return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])

    before = so_far()
    call()
    return so_far() - before


@pytest.fixture
def opened(small_data):
    with DataSet.open(small_data) as data:
        yield data


@pytest.fixture
def two_recipes(tmp_path, build):
    for recipe in ("aaa", "bbb"):
        commit_part(tmp_path, build.make_part(recipe=recipe))
    return tmp_path


def test_one_opening_reads_each_footer_once_for_everything_that_a_training_and_a_report_ask(small_data, monkeypatch):
    scanned, read_metadata = Counter(), pq.read_metadata

    def counting(path, *arguments, **options):
        scanned[Path(path).relative_to(small_data)] += 1
        return read_metadata(path, *arguments, **options)

    monkeypatch.setattr(pq, "read_metadata", counting)
    with DataSet.open(small_data) as data:
        recipe, lights, heavies = data.recipe, data.files("light"), data.files("heavy")
        data.excluded(), data.adjudications(), data.now(), data.files("weights")
        assert data.label("part-00000", next(data.labels()).sample.id)
        with Catalog(data) as catalog:
            catalog.query("summary", recipe=recipe)
        assert data.at(recipe, data.now()).files("light") == lights
    assert set(scanned) == {path.relative_to(small_data) for path in small_data.rglob("*.parquet")}
    assert set(scanned.values()) == {1} and len(heavies) == 2


def test_a_folder_may_be_named_as_text(small_data, opened):
    with DataSet.open(str(small_data)) as data, Catalog(str(small_data)) as catalog:
        assert data.folder == opened.folder and list(data.light_of) == list(opened.light_of)
        assert catalog.sql("SELECT count(*) AS n FROM labels")["n"].to_pylist() == [len(list(opened.labels()))]


def test_labels_stream_back_whole_and_in_order(opened, parts):
    assert list(opened.labels()) == outcomes(parts, Label)


def test_a_filter_keeps_matching_labels_and_their_shared_images(opened, parts):
    wanted = [label for label in outcomes(parts, Label) if label.status == "accepted" and label.scores.quality > 0.3]
    found = list(opened.labels((pc.field("status") == "accepted") & (pc.field("quality") > 0.3)))
    assert 0 < len(wanted) < len(outcomes(parts, Label))
    assert found == wanted


def test_light_rows_come_with_the_columns_that_were_asked_for(opened, parts):
    table = pa.Table.from_batches(opened.light_batches(["status", "area"], pc.field("outcome") == "label"))
    assert table.column_names == ["status", "area"]
    assert table["status"].to_pylist() == [label.status.value for label in outcomes(parts, Label)]


def test_an_unknown_column_is_named_with_the_known_ones(opened):
    with pytest.raises(ConfigError, match=r"no such columns: \['nope'\].*sample_id"):
        list(opened.light_batches(["nope"]))


def test_masks_and_one_label_are_found_by_sample_id(opened, parts):
    some = outcomes(parts, Label)[3:9]
    assert opened.masks([*(label.sample.id for label in some), "unknown"]) == {
        label.sample.id: label.mask for label in some
    }
    assert [opened.label("part-00000", label.sample.id) for label in some] == some
    assert opened.label("part-00001", some[0].sample.id) is opened.label("no-such-part", some[0].sample.id) is None


def test_of_several_recipes_one_must_be_chosen_where_a_sample_would_have_several_labels(two_recipes):
    with DataSet.open(two_recipes) as data:
        assert data.recipes == ("aaa", "bbb")
        for ask in (lambda: data.recipe, lambda: data.masks(["x"]), lambda: data.label("part-00000", "x")):
            with pytest.raises(ConfigError, match=r"labels of 2 recipes; choose one of aaa, bbb"):
                ask()


def test_a_chosen_recipe_is_the_only_one_that_counts(two_recipes):
    with DataSet.open(two_recipes) as every, DataSet.open(two_recipes, "bbb") as data:
        labels = list(data.labels())
        assert {label.lineage.recipe for label in labels} == {"bbb"} and data.recipe == "bbb"
        assert len(list(every.labels())) == 2 * len(labels)
        assert data.masks([labels[0].sample.id]) == {labels[0].sample.id: labels[0].mask}
        with Catalog(data) as catalog:
            assert catalog.sql("SELECT DISTINCT recipe FROM outcomes")["recipe"].to_pylist() == ["bbb"]
            assert catalog.sql("SELECT DISTINCT recipe FROM timings")["recipe"].to_pylist() == ["bbb"]


def test_a_recipe_without_labels_is_named_with_the_others(two_recipes):
    with pytest.raises(ConfigError, match=r"no labels of recipe 'ccc' in .*; the recipes are: aaa, bbb"):
        DataSet.open(two_recipes, "ccc")


def test_a_snapshot_binds_labels_masks_reviews_and_decisions_and_outlives_a_compaction(tmp_path, build):
    early, late = build.make_part("early"), build.make_part("late", seed=100)
    commit_part(tmp_path, early)
    ids = [label.sample.id for part in (early, late) for label in outcomes([part], Label)]
    append(tmp_path, build.RECIPE, ids[0], "ada", "wrong")
    with DataSet.open(tmp_path) as data:
        frozen = data.freeze()
    commit_part(tmp_path, late)
    append(tmp_path, build.RECIPE, ids[1], "ada", "wrong")
    found = [FoundLabel(build.RECIPE, ids[2], "why")]
    decide(tmp_path, "rule", "mask", "exclude", found, parameters={}, who="ada")
    for compaction in (False, True):
        if compaction:
            compact(tmp_path)
        with DataSet.open(tmp_path, build.RECIPE, frozen.name[:6]) as then, DataSet.open(tmp_path) as now:
            assert list(then.labels()) == outcomes([early], Label)
            assert set(then.masks(ids)) == set(ids[: len(outcomes([early], Label))]) and set(now.masks(ids)) == set(ids)
            assert list(then.light_of) == [(build.RECIPE, "early")] and len(now.light_of) == 2
            assert sum(batch.num_rows for batch in then.light_batches(["part"])) == len(early.outcomes)
            assert then.adjudications() == {ids[0]: Adjudication("wrong")} and len(now.adjudications()) == 2
            assert (then.excluded(), now.excluded()) == ({}, {ids[2]: "mask"})
            assert then.label("late", ids[-1]) is None and now.label("late", ids[-1]) is not None


def test_a_snapshot_of_empty_parts_alone_counts_no_row_of_the_file_that_they_share(tmp_path, build):
    commit_part(tmp_path, PartResult("empty", build.RECIPE, ()))
    with DataSet.open(tmp_path) as data:
        frozen = data.freeze()
    commit_part(tmp_path, build.make_part("late"))
    compact(tmp_path)
    with DataSet.open(tmp_path, snapshot=frozen) as then:
        assert list(then.labels()) == [] and then.recipes == ()


def test_a_snapshot_whose_parts_are_gone_is_an_error_when_it_is_opened(tmp_path, build):
    light = commit_part(tmp_path, build.make_part()).light
    with DataSet.open(tmp_path) as data:
        frozen = data.freeze()
    light.unlink()
    with pytest.raises(ShardError, match=r"lists 1 parts that are gone .* labels/3f9c0a/part-00000"):
        DataSet.open(tmp_path, snapshot=frozen.name)


def test_an_empty_folder_has_no_labels_and_no_recipe(tmp_path):
    with DataSet.open(tmp_path) as data:
        assert list(data.labels()) == list(data.light_batches()) == [] and data.recipes == ()
        assert (data.excluded(), data.adjudications(), data.now().entries) == ({}, {}, ())
        with pytest.raises(ConfigError, match="holds no outcomes; label something first"):
            data.recipe  # noqa: B018
    with pytest.raises(ConfigError, match="no data folder at"):
        DataSet.open(tmp_path / "nowhere")


def test_what_a_data_set_found_stays_until_it_is_closed_or_forgotten(tmp_path, build):
    for i in range(3):
        commit_part(tmp_path, build.make_part(f"part-{i}", seed=100 * i))
    before = set(tmp_path.rglob("*.parquet"))
    with DataSet.open(tmp_path) as data:
        compact(tmp_path)
        assert before < set(tmp_path.rglob("*.parquet")) and len(list(data.labels())) == 30
        forgotten = DataSet.open(tmp_path)
    del forgotten
    gc.collect()
    compact(tmp_path)
    assert not before & set(tmp_path.rglob("*.parquet"))


def test_a_torn_part_stops_a_reader_instead_of_shortening_its_answer(tmp_path, build):
    light = commit_part(tmp_path, build.make_part()).light
    light.write_bytes(light.read_bytes()[:-1])
    with DataSet.open(tmp_path) as data, pytest.raises(ShardError, match=r"part-00000\.light\.parquet: torn"):
        list(data.labels())


def test_a_damaged_page_is_an_error_that_names_the_file(tmp_path, build):
    light = commit_part(tmp_path, build.make_part(rows=40)).light
    raw = bytearray(light.read_bytes())
    raw[4:3000] = bytes(byte ^ 0x5A for byte in raw[4:3000])
    light.write_bytes(raw)
    with DataSet.open(tmp_path) as data, pytest.raises(ShardError, match=r"part-00000\.light\.parquet' cannot be read"):
        list(data.labels())


def test_a_pair_of_files_that_do_not_belong_together_is_refused(tmp_path, build):
    good = commit_part(tmp_path / "good", build.make_part())
    other = commit_part(tmp_path / "other", build.make_part(seed=500))
    good.heavy.write_bytes(other.heavy.read_bytes())
    with DataSet.open(tmp_path / "good") as data, pytest.raises(ShardError, match="do not belong together"):
        list(data.labels())


def test_a_projection_reads_fewer_bytes(tmp_path, build):
    rng = random.Random(0)
    rejections = (replace(build.make_rejection(i), detail=rng.randbytes(200).hex()) for i in range(2000))
    commit_part(tmp_path, PartResult("part-00000", build.RECIPE, tuple(rejections)))
    with DataSet.open(tmp_path) as data:
        whole = bytes_read(lambda: list(data.light_batches()))
        assert bytes_read(lambda: list(data.light_batches(["reason", "part"]))) < 0.4 * whole


def test_questions_about_quality_do_not_read_images(opened):
    whole = bytes_read(lambda: list(opened.labels()))
    assert bytes_read(lambda: list(opened.light_batches())) < 0.6 * whole


def test_row_groups_without_a_match_are_not_read(tmp_path, build):
    commit_part(tmp_path, build.make_part(rows=400))
    with DataSet.open(tmp_path) as data:
        last = list(data.labels())[-1].sample.id
        whole = bytes_read(lambda: list(data.labels()))
        assert bytes_read(lambda: list(data.labels(pc.field("sample_id") == last))) < 0.5 * whole
        assert bytes_read(lambda: list(data.labels(pc.field("sample_id") == "none"))) < 0.2 * whole
