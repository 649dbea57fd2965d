import dataclasses

import numpy as np
import pytest

from ivm_model.data.dataset import DataConfig
from ivm_model.data.row_reader import RowReader
from ivm_model.data.sample import balanced, hold_back, stage_one_rows
from ivm_model.data.shard_index import index_shards
from storage.errors import ConfigError
from storage.records import PartResult
from storage.shards import commit_part


@pytest.fixture
def index(labels, tmp_path):
    """20 machine rows, of three sources of 2, 3 and 15 rows, and 10 human ones."""
    machine = [label for label in labels if label.sample.held_out]
    sources = dict(zip([id(label) for label in machine], ["few"] * 2 + ["some"] * 3 + ["many"] * 15, strict=True))
    made = [
        dataclasses.replace(label, sample=dataclasses.replace(label.sample, source=sources.get(id(label), "people")))
        for label in labels
    ]
    commit_part(tmp_path / "data", PartResult("part-0", "recipe", tuple(made[:13])))
    commit_part(tmp_path / "data", PartResult("part-1", "recipe", tuple(made[13:])))
    return index_shards(tmp_path / "data", DataConfig(test_share=0.0))


@pytest.mark.parametrize(("limit", "expected"), [(6, (2, 2, 2)), (9, (2, 3, 4)), (10, (2, 3, 5)), (99, (2, 3, 15))])
def test_a_choice_takes_as_many_of_each_source_as_there_are(index, limit, expected):
    chosen = balanced(index, index.machine, limit)
    counts = dict(zip(*np.unique(index.words("source")[chosen].astype(str), return_counts=True), strict=True))
    assert (counts["few"], counts["some"], counts["many"]) == expected and len(set(chosen)) == len(chosen)


def test_the_choice_does_not_depend_on_where_the_rows_lie(index, labels, tmp_path):
    turned = tmp_path / "turned"
    sources = dict(zip(index.facts["sample_id"].to_pylist(), index.words("source"), strict=True))
    made = [
        dataclasses.replace(each, sample=dataclasses.replace(each.sample, source=sources[each.sample.id]))
        for each in reversed(labels)
    ]
    commit_part(turned, PartResult("part-0", "recipe", tuple(made)))
    other = index_shards(turned, DataConfig(test_share=0.0))
    for one in ("human", "machine"):
        ids = [set(each.words("sample_id")[balanced(each, getattr(each, one), 7)]) for each in (index, other)]
        assert ids[0] == ids[1]


def test_stage_one_gets_no_more_rows_than_it_may(index):
    rows, problems = stage_one_rows(RowReader(index, 2), 4, 8)
    assert (len(rows.human), len(rows.machine), problems) == (4, 8, {})
    assert [row.sample_id for row in rows.human] == sorted(row.sample_id for row in rows.human)


@pytest.mark.parametrize("limit", [3, 500])
def test_images_that_validate_do_not_train(index, limit):
    left, held_V = hold_back(index, 0.5, limit)
    held = set(index.words("image_sha")[held_V])
    assert index.human_K[held_V].all() and 1 <= len(held_V) <= limit and len(left) == len(index) - len(held_V)
    assert not held & set(left.words("image_sha")) and left.content_hash != index.content_hash
    again, same_V = hold_back(index, 0.5, limit)
    assert again.content_hash == left.content_hash and (same_V == held_V).all()


@pytest.mark.parametrize("share", [1e-9, 0.999999])
def test_a_share_that_leaves_one_side_empty_is_refused(index, share):
    with pytest.raises(ConfigError, match="of 10 human rows"):
        hold_back(index, share, 500)
