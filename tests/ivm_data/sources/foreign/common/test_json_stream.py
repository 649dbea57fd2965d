import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivm_data.sources.foreign.common import json_stream
from ivm_data.sources.foreign.common.json_stream import read_at, stream
from storage.errors import ConfigError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def flat(document):
    if isinstance(document, list):
        return [("", value) for value in document]
    pairs = []
    for key, value in document.items():
        pairs += [(key, one) for one in value] if isinstance(value, list) else [(key, value)]
    return pairs


@settings(max_examples=60, deadline=None)
@given(
    st.lists(VALUES, max_size=6) | st.dictionaries(st.text(max_size=4), VALUES, max_size=5),
    st.integers(1, 9),
    st.booleans(),
)
def test_the_records_and_their_places_are_those_of_the_whole_document(tmp_path_factory, document, chunk, ascii_only):
    path = tmp_path_factory.mktemp("json") / "x.json"
    path.write_text(
        json.dumps(document, ensure_ascii=ascii_only, indent=chunk % 2 or None), encoding="utf-8", newline=""
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "CHUNK", chunk)
        nodes = list(stream(path))
    assert [(node.key, node.value) for node in nodes] == flat(document)
    with path.open("rb") as file:
        assert [read_at(file, node.start, node.stop) for node in nodes] == [node.value for node in nodes]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "3",
        '"text"',
        "[1, 2",
        "[1 2]",
        '{"a": 1',
        '{"a" 1}',
        '{"a": [1, {"b": ]}',
        "[" * 9000,
        "[nul]",
        "[1] 2",
    ],
)
def test_a_file_that_is_torn_or_no_list_or_object_is_a_configuration_error(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"x.json' cannot be read as JSON.*get the file again"):
        list(stream(path))


def test_records_before_the_torn_end_are_given(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('[{"a": 1}, {"a": 2}, {"a"')
    nodes = stream(path)
    assert [next(nodes).value for _ in range(2)] == [{"a": 1}, {"a": 2}]


def test_a_record_without_an_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "MAX_RECORD", 1000)
    monkeypatch.setattr(json_stream, "CHUNK", 100)
    path = tmp_path / "x.json"
    path.write_text('["' + "x" * 100_000)
    with pytest.raises(ConfigError, match="record at byte 1"):
        list(stream(path))
