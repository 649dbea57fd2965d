from dataclasses import fields

import pyarrow as pa
import pytest

from storage.parts import schema
from storage.records import Review, Scores, Timing, Weight

ALL = [schema.LIGHT, schema.HEAVY, schema.WEIGHTS, schema.TIMINGS, schema.REVIEWS]


def test_every_score_is_a_column_of_the_light_schema():
    names = [field.name for field in fields(Scores)]
    assert list(schema.SCORES) == names
    assert set(names) < set(schema.LIGHT.names)


@pytest.mark.parametrize(
    ("record", "columns"), [(Weight, schema.WEIGHTS), (Timing, schema.TIMINGS), (Review, schema.REVIEWS)]
)
def test_a_fact_has_a_column_for_each_field(record, columns):
    assert columns.names == [field.name for field in fields(record)]


@pytest.mark.parametrize("expected", ALL, ids=lambda s: s.metadata[b"ivm_schema"].decode())
def test_every_field_is_described_and_every_schema_versioned(expected):
    assert all(len(text) > 5 for text in schema.describe(expected).values())
    assert expected.metadata[b"ivm_version"] == b"1"
    assert schema.mismatch(expected, expected) == ""


def test_nested_fields_are_described():
    for column in ("candidates", "proposals", "pairs", "experts"):
        assert all(schema.describe(pa.schema(schema.LIGHT.field(column).type.value_type)).values())


def test_a_mismatch_is_reported_in_words():
    assert "foreign" in schema.mismatch(pa.schema([("x", pa.int32())]), schema.LIGHT)
    assert "'heavy', expected 'light'" in schema.mismatch(schema.HEAVY, schema.LIGHT)
    newer = schema.LIGHT.with_metadata({"ivm_schema": "light", "ivm_version": "2"})
    assert "'2', expected '1'" in schema.mismatch(newer, schema.LIGHT)
    odd = schema.LIGHT.remove(0).insert(0, pa.field("quality", pa.string()))
    assert "['quality', 'recipe']" in schema.mismatch(odd.with_metadata(schema.LIGHT.metadata), schema.LIGHT)
