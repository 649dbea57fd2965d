"""What trains from shards, and as what: the same as from memory, whatever people and rules said."""

import dataclasses

import numpy as np
import pytest

from ivm_model.data.assignment import assign
from ivm_model.data.dataset import DataConfig, load_rows
from ivm_model.data.row_reader import RowReader
from ivm_model.data.shard_index import index_shards
from storage import reviews, rle, snapshots
from storage.compact import compact
from storage.decisions import FoundLabel, decide
from storage.errors import ConfigError
from storage.records import Rle
from storage.reviews import Adjudication

CONFIG = DataConfig(test_share=0.3)


def by_id(rows):
    """Fields of rows by sample id, comparable: NaN is None."""
    return {
        row.sample_id: {name: None if value != value else value for name, value in dataclasses.asdict(row).items()}
        for row in rows
    }


def read(data):
    index = index_shards(data, CONFIG)
    rows, problems = RowReader(index, 2).rows(range(len(index)))
    assert not problems
    return rows, index


def test_rows_that_are_read_from_shards_are_those_in_memory(data):
    rows, index = read(data)
    assert by_id(rows) == by_id(load_rows(data, CONFIG).train)
    assert [row.sample_id for row in rows] == index.facts["sample_id"].to_pylist()


def test_decisions_and_reviews_change_an_index_as_they_change_rows_in_memory(data):
    before = load_rows(data, CONFIG)
    empty = np.zeros((64, 64), bool)
    for scope, rows in (
        ("mask", (before.machine[0], before.human[0], before.test[0])),
        ("sample", (before.machine[1], before.human[1], before.test[1])),
    ):
        found = [FoundLabel("recipe", row.sample_id, "seen") for row in rows]
        decide(data, scope, scope, "exclude", found, parameters={}, who="test")
    for verdict, place in (("right", 2), ("wrong", 3), ("wrong_instruction", 4), ("unsure", 5)):
        for side in (before.machine, before.human, before.test):
            if place < len(side):
                reviews.append(data, "recipe", side[place].sample_id, "someone", verdict)
    for row in (before.machine[6], before.human[6], before.test[0]):
        reviews.append(data, "recipe", row.sample_id, "someone", "wrong", mask=rle.encode(empty))
    rows, index = read(data)
    after = load_rows(data, CONFIG)
    assert by_id(rows) == by_id(after.train) and by_id(index.test) == by_id(after.test) == by_id(before.test)
    gone = {row.sample_id for row in before.train} - {row.sample_id for row in rows}
    assert gone == {
        row.sample_id
        for row in (*before.machine[:2], before.human[1], before.machine[3], before.machine[4], before.human[4])
    }
    assert index.reviewed.keys() == {before.machine[2].sample_id, before.machine[6].sample_id}


def test_what_people_and_rules_say_is_part_of_the_hash(data):
    row = load_rows(data, CONFIG).machine[0]
    hashes = [index_shards(data, CONFIG).content_hash]
    for mask in (None, rle.encode(np.zeros((64, 64), bool)), rle.encode(np.ones((64, 64), bool))):
        reviews.append(data, "recipe", row.sample_id, "someone", "wrong" if mask else "right", mask=mask)
        hashes.append(index_shards(data, CONFIG).content_hash)
    decide(data, "rule", "sample", "exclude", [FoundLabel("recipe", row.sample_id, "")], parameters={}, who="test")
    hashes.append(index_shards(data, CONFIG).content_hash)
    assert len(set(hashes)) == 5


def test_the_rows_of_a_snapshot_stay_the_same_in_memory_and_on_a_stream(data, grow):
    config = dataclasses.replace(CONFIG, snapshot=snapshots.create(data).name[:8])
    before, index = load_rows(data, CONFIG), index_shards(data, CONFIG)
    grow(data)
    assert load_rows(data, CONFIG).content_hash != before.content_hash
    assert by_id(load_rows(data, config).train) == by_id(before.train)
    then = index_shards(data, config)
    assert then.content_hash == index.content_hash and by_id(then.test) == by_id(before.test)
    compact(data)
    rows, problems = RowReader(index_shards(data, config), 2).rows(range(len(index)))
    assert by_id(rows) == by_id(before.train) == by_id(load_rows(data, config).train) and not problems


def test_an_unknown_snapshot_names_the_known_ones(data):
    name = snapshots.create(data).name
    for read in (load_rows, index_shards):
        with pytest.raises(ConfigError, match=f"named 'zz'; there are: {name}"):
            read(data, dataclasses.replace(CONFIG, snapshot="zz"))


@pytest.mark.parametrize(
    ("side", "scope", "verdict", "expected"),
    [
        ("machine", None, None, "machine"),
        ("machine", "mask", None, ""),
        ("human", "mask", None, "human"),
        ("human", "sample", None, ""),
        ("test", "sample", "wrong", "test"),
        ("machine", None, "right", "human"),
        ("", None, "corrected", "human"),
        ("", None, "wrong", ""),
        ("human", None, "wrong", "human"),
        ("human", None, "wrong_instruction", ""),
        ("machine", "mask", "right", "human"),
        ("machine", "sample", "right", ""),
    ],
)
def test_people_come_before_rules_about_masks_and_rules_about_samples_before_people(side, scope, verdict, expected):
    assert assign(side, scope, verdict and Adjudication(verdict, Rle(1, 1, b"1"))) == expected
