import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from storage.errors import ConfigError, ShardError
from storage.reader import iter_labels, iter_light, iter_rejections, read_labels, read_masks
from storage.records import Label, PartResult, Rejection
from storage.shards import commit_part


def outcomes(parts, kind):
    return [outcome for part in parts for outcome in part.outcomes if isinstance(outcome, kind)]


def bytes_read(call):
    """Bytes that `call` asked the operating system for."""

    def so_far():
        return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])

    before = so_far()
    call()
    return so_far() - before


def test_labels_stream_back_whole_and_in_order(small_data, parts):
    assert list(iter_labels(small_data)) == outcomes(parts, Label)


def test_rejections_stream_back_whole_and_in_order(small_data, parts):
    assert list(iter_rejections(small_data)) == outcomes(parts, Rejection)


def test_a_filter_keeps_matching_labels_and_their_shared_images(small_data, parts):
    wanted = [label for label in outcomes(parts, Label) if label.status == "accepted" and label.scores.quality > 0.3]
    found = list(iter_labels(small_data, (pc.field("status") == "accepted") & (pc.field("quality") > 0.3)))
    assert 0 < len(wanted) < len(outcomes(parts, Label))
    assert found == wanted


def test_light_rows_come_with_the_columns_that_were_asked_for(small_data, parts):
    batches = list(iter_light(small_data, ["status", "area"], pc.field("outcome") == "label"))
    table = pa.Table.from_batches(batches)
    assert table.column_names == ["status", "area"]
    assert table["status"].to_pylist() == [label.status.value for label in outcomes(parts, Label)]


def test_an_unknown_column_is_told_with_the_known_ones(small_data):
    with pytest.raises(ConfigError, match=r"no such columns: \['nope'\].*sample_id"):
        list(iter_light(small_data, ["nope"]))


def test_masks_and_labels_are_found_by_sample_id(small_data, parts):
    some = outcomes(parts, Label)[3:9]
    ids = [label.sample.id for label in some]
    assert read_masks(small_data, [*ids, "unknown"]) == {label.sample.id: label.mask for label in some}
    assert read_labels(small_data, [*ids, "unknown"]) == {label.sample.id: label for label in some}


def test_with_several_recipes_one_must_be_chosen(tmp_path, build):
    for recipe in ("aaa", "bbb"):
        commit_part(tmp_path, build.make_part(recipe=recipe))
    sample_id = next(iter_labels(tmp_path, recipe="aaa")).sample.id
    assert len(list(iter_labels(tmp_path))) == 2 * len(list(iter_labels(tmp_path, recipe="bbb")))
    assert list(read_masks(tmp_path, [sample_id], "bbb")) == [sample_id]
    with pytest.raises(ConfigError, match=r"labels of 2 recipes; choose one of \['aaa', 'bbb'\]"):
        read_masks(tmp_path, [sample_id])


def test_an_empty_folder_has_no_labels(tmp_path):
    assert list(iter_labels(tmp_path)) == list(iter_light(tmp_path)) == []
    assert read_masks(tmp_path, ["x"]) == read_labels(tmp_path, ["x"]) == {}


def test_a_torn_part_stops_a_reader_instead_of_shortening_its_answer(tmp_path, build):
    light = commit_part(tmp_path, build.make_part()).light
    light.write_bytes(light.read_bytes()[:-1])
    with pytest.raises(ShardError, match=r"part-00000\.light\.parquet: torn"):
        list(iter_labels(tmp_path))


def test_a_pair_of_files_that_do_not_belong_together_is_refused(tmp_path, build):
    good = commit_part(tmp_path / "good", build.make_part())
    other = commit_part(tmp_path / "other", build.make_part(seed=500))
    good.heavy.write_bytes(other.heavy.read_bytes())
    with pytest.raises(ShardError, match="do not belong together"):
        list(iter_labels(tmp_path / "good"))


def test_a_projection_reads_fewer_bytes(tmp_path, build):
    rng = random.Random(0)
    rejections = (replace(build.make_rejection(i), detail=rng.randbytes(200).hex()) for i in range(2000))
    commit_part(tmp_path, PartResult("part-00000", build.RECIPE, tuple(rejections)))
    whole = bytes_read(lambda: list(iter_light(tmp_path)))
    assert bytes_read(lambda: list(iter_light(tmp_path, ["reason", "part"]))) < 0.4 * whole


def test_questions_about_quality_do_not_read_images(small_data):
    whole = bytes_read(lambda: list(iter_labels(small_data)))
    assert bytes_read(lambda: list(iter_light(small_data))) < 0.6 * whole


def test_row_groups_without_a_match_are_not_read(tmp_path, build):
    commit_part(tmp_path, build.make_part(rows=400))
    last = list(iter_labels(tmp_path))[-1].sample.id
    whole = bytes_read(lambda: list(iter_labels(tmp_path)))
    assert bytes_read(lambda: list(iter_labels(tmp_path, pc.field("sample_id") == last))) < 0.5 * whole
    assert bytes_read(lambda: list(iter_labels(tmp_path, pc.field("sample_id") == "none"))) < 0.2 * whole
