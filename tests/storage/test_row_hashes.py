from dataclasses import asdict, replace
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.parts import schema
from storage.parts.row_hashes import as_read, combine, fact_digests, row_digests, table_digests
from storage.parts.rows import fact_row, heavy_rows, light_rows
from storage.records import Label, Rejection, Reliability, Review, image_sha, sample_id
from storage.request import Request


class Word(StrEnum):
    RING = "ring"


text = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), st.just(Word.RING))
number = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=64),
    st.floats(-1e30, 1e30),
    st.integers(-(2**50), 2**50),
    st.floats(-1e6, 1e6).map(np.float64),
    st.floats(-1e6, 1e6, width=32).map(np.float32),
)
small = st.one_of(st.floats(-1e30, 1e30), st.integers(-(2**20), 2**20), st.floats(-1e6, 1e6, width=32).map(np.float32))
whole = st.one_of(st.integers(-(2**31), 2**31 - 1), st.integers(-1000, 1000).map(np.int64))
LEAVES = {
    pa.string(): text,
    pa.float64(): number,
    pa.float32(): small,
    pa.int32(): whole,
    pa.int64(): st.one_of(st.integers(-(2**63), 2**63 - 1), whole),
    pa.bool_(): st.booleans(),
    pa.binary(): st.binary(max_size=8),
}


def struct_of(kinds):
    return pa.struct([(f"f{i}", kind) for i, kind in enumerate(kinds)])


columns = st.recursive(
    st.sampled_from(sorted(LEAVES, key=str)),
    lambda below: st.one_of(below.map(pa.list_), st.lists(below, min_size=1, max_size=3).map(struct_of)),
    max_leaves=5,
)


def values(kind):
    """Values as records hold them: tuples or lists, fields in any order, some missing, some that no column has."""
    if pa.types.is_list(kind):
        some = st.lists(values(kind.value_type), max_size=3)
        return st.one_of(st.none(), some, some.map(tuple))
    if pa.types.is_struct(kind):
        fields = {field.name: values(field.type) for field in reversed(list(kind))}
        return st.one_of(st.none(), st.fixed_dictionaries({}, optional=fields | {"unknown": st.just(1)}))
    return st.one_of(st.none(), LEAVES[kind])


@st.composite
def tables(draw):
    kinds = [("recipe", pa.string()), ("part", pa.string()), ("position", pa.int32())]
    free = draw(st.lists(columns, min_size=1, max_size=4))
    keys = st.fixed_dictionaries({"recipe": text, "part": text, "position": st.integers(0, 10**6)})
    more = st.fixed_dictionaries({}, optional={f"c{i}": values(kind) for i, kind in enumerate(free)})
    rows = draw(st.lists(st.tuples(keys, more).map(lambda pair: pair[1] | pair[0]), max_size=4))
    return pa.schema([*kinds, *((f"c{i}", kind) for i, kind in enumerate(free))]), rows


@settings(deadline=None, max_examples=300)
@given(tables())
def test_a_row_hashes_as_the_same_row_read_back_from_arrow(table):
    columns, rows = table
    written = pa.Table.from_pylist(rows, schema=columns)
    assert [as_read(columns)(row) for row in rows] == written.to_pylist()
    assert list(row_digests(rows, columns)) == list(table_digests(written))


@pytest.mark.parametrize(("make", "kind"), [(light_rows, schema.LIGHT), (heavy_rows, schema.HEAVY)])
def test_the_rows_of_a_part_hash_as_they_are_read_back(build, make, kind):
    rows = list(make(build.make_part(rows=40)))
    written = pa.Table.from_pylist(rows, schema=kind)
    assert list(row_digests(rows, kind)) == list(table_digests(written))


def in_short(outcome):
    """As labels were before their requests could hold more."""
    if isinstance(outcome, Rejection):
        return outcome
    asked = outcome.request
    return replace(outcome, request=replace(Request.of(("red ring",), asked.anchor, asked.relation), understood=0.75))


def test_hashes_of_committed_parts_stay_what_they_were(build):
    """Footers of every data set carry them; these were written before rows were hashed without Arrow."""
    part = build.make_part(rows=12)
    part = replace(part, outcomes=tuple(in_short(outcome) for outcome in part.outcomes))
    older = [{name: value for name, value in row.items() if name not in schema.LATER} for row in light_rows(part)]
    content = combine([*row_digests(older, schema.LIGHT), *row_digests(heavy_rows(part), schema.HEAVY)])
    assert content == "0914c71bc4f24f0f8b297dc29ee861af"


@pytest.mark.parametrize("kind", ["weights", "reviews", "reliability"])
def test_facts_hash_as_they_are_read_back_with_their_masks_and_nan(build, kind):
    part = build.make_part(rows=12)
    mask = next(outcome.mask for outcome in part.outcomes if isinstance(outcome, Label))
    facts = {
        "weights": build.make_weights(part),
        "reviews": [
            Review("00", "3f9c0a", "ada", "wrong", "ü", "2024-05-01T12:00:00Z", mask),
            Review("01", "3f9c0a", "ada", "right", "", "2024-05-01T12:00:01Z"),
        ],
        "reliability": [Reliability("3f9c0a", "sam@1", float("nan"), 1.0, 3, "2024-05-01T12:00:00Z")],
    }[kind]
    columns, rows = getattr(schema, kind.upper()), [fact_row(fact) for fact in facts]
    before = pa.Table.from_pylist([asdict(fact) for fact in facts], schema=columns)
    assert list(fact_digests(rows, columns)) == list(fact_digests(before.to_pylist(), columns))
    assert pa.Table.from_pylist(rows, schema=columns).to_pylist().__repr__() == before.to_pylist().__repr__()


def test_a_value_that_its_column_cannot_hold_is_an_error_and_not_another_text():
    columns = pa.schema([("c", pa.string())])
    with pytest.raises(TypeError):
        as_read(columns)({"c": b"bytes"})


def test_an_image_has_one_identity_that_is_computed_once(build, monkeypatch):
    sample = build.make_label(0).sample
    assert sample.image_sha == image_sha(sample.image) != sample_id(sample.image, sample.instruction)
    monkeypatch.setattr("storage.records.image_sha", None)
    assert len({sample.image_sha, sample.image_sha}) == 1
