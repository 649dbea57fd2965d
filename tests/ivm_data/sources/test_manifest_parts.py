import dataclasses
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivm_data.sources import manifest_parts as parts
from ivm_data.sources.repeated_pairs import Identity
from storage.errors import ConfigError
from storage.parts import layout


def write(folder: Path, data: bytes, name: str = "things.jsonl") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def cut(manifest: Path, part_size: int, identify) -> list[parts.ManifestPart]:
    return parts.split(manifest, part_size, identify).parts


def whole(raw: bytes) -> Identity | None:
    return Identity(raw.strip()) if raw.strip() else None


def test_names_follow_from_the_stem_the_content_and_the_part_size(tmp_path):
    manifest = write(tmp_path, b"a\nb\nc\n", "my things!.jsonl")
    first, second = cut(manifest, 2, whole)
    prefix, code, index = first.name.rsplit("-", 2)
    assert (prefix, index, second.name) == ("my_things", "00000", f"{prefix}-{code}-00001")
    assert [p.name for p in cut(manifest, 2, whole)] == [first.name, second.name]
    assert cut(manifest, 3, whole)[0].name != first.name
    write(tmp_path, b"a\nb\nd\n", "my things!.jsonl")
    assert cut(manifest, 2, whole)[0].name != first.name


def test_a_file_called_manifest_takes_the_name_of_its_folder(tmp_path):
    (tmp_path / "photos").mkdir()
    manifest = write(tmp_path / "photos", b"a\n", "manifest.jsonl")
    assert parts.dataset_name(manifest) == "photos"


@pytest.mark.parametrize("stem", ["-dash", "_line", ".dot", "фото", "a" * 240, "with blanks & more"])
def test_whatever_the_manifest_is_called_its_parts_can_be_named_in_a_data_set(tmp_path, stem):
    (part,) = cut(write(tmp_path, b"a\n", f"{stem}.jsonl"), 5, whole)
    assert layout.name(part.name) == part.name


def test_duplicates_are_found_across_parts(tmp_path):
    planned = cut(write(tmp_path, b"a\nb\n\na\nc\nb\na\n"), 2, whole)
    assert [p.duplicates for p in planned] == [(), (0,), (0, 1)]
    assert [(p.first, p.records) for p in planned] == [(0, 2), (2, 2), (4, 2)]


def test_records_without_a_key_are_never_duplicates(tmp_path):
    planned = cut(write(tmp_path, b"a\na\na\n"), 2, lambda raw: None)
    assert [p.duplicates for p in planned] == [(), ()]


LINES = st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), min_size=1, max_size=30)


@settings(deadline=None, max_examples=150)
@given(LINES, st.integers(1, 7), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_the_parts_hold_every_record_once_and_in_order(tmp_path_factory, lines, part_size, end, last_end):
    data = end.join(lines) + (end if last_end else b"")
    expected = [line.strip() for line in data.split(b"\n") if line.strip()]
    manifest = write(tmp_path_factory.getbasetemp(), data, "property.jsonl")
    if not expected:
        with pytest.raises(ConfigError, match="no records"):
            cut(manifest, part_size, whole)
        return
    planned = cut(manifest, part_size, whole)
    read = [parts.read(part) for part in planned]
    assert [raw.strip() for records in read for raw in records] == expected
    assert [len(records) for records in read] == [part.records for part in planned]
    assert all(part.records == part_size for part in planned[:-1])


CELLS = st.text(st.sampled_from('ab",\n\r é'), max_size=8)


@settings(deadline=None, max_examples=150)
@given(st.lists(CELLS, min_size=1, max_size=20), st.integers(1, 5))
def test_csv_rows_read_from_a_part_are_those_of_the_whole_file(tmp_path_factory, cells, part_size):
    data = (
        "image,instruction\n" + "".join(f'"{i}","x{c.replace(chr(34), chr(34) * 2)}"\r\n' for i, c in enumerate(cells))
    ).encode()
    manifest = write(tmp_path_factory.getbasetemp(), data, "property.csv")
    planned = cut(manifest, part_size, whole)
    rows = [raw for part in planned for raw in parts.read(part)]
    assert [int(raw.split(b'"')[1]) for raw in rows] == list(range(len(cells)))
    assert b"".join(rows) == data.split(b"\n", 1)[1]


def test_a_quote_that_never_closes_costs_a_bounded_number_of_rows(tmp_path):
    rows = b"".join(b"%d.png,Find the cup\n" % i for i in range(20_000))
    planned = cut(write(tmp_path, b'image,instruction\na.png,"Find the cup\n' + rows, "open.csv"), 10_000, whole)
    records = [raw for part in planned for raw in parts.read(part)]
    assert 10_000 < len(records) < 20_000
    assert records[-1] == b"19999.png,Find the cup\n"


def test_a_manifest_edited_after_planning_is_noticed(tmp_path):
    manifest = write(tmp_path, b"a\nb\nc\n")
    first, second = cut(manifest, 2, whole)
    write(tmp_path, b"a\nb\nd\n")
    assert parts.read(first) == [b"a\n", b"b\n"]
    with pytest.raises(ConfigError, match="plan it again"):
        parts.read(second)


def test_a_part_travels_to_another_process_unchanged(tmp_path):
    (part,) = cut(write(tmp_path, b"a\na\n"), 5, whole)
    assert pickle.loads(pickle.dumps(part)) == part
    assert parts.ManifestPart(**dataclasses.asdict(part)) == part


@pytest.mark.parametrize("data", [b"", b"\n \r\n\n"])
def test_an_empty_manifest_is_a_configuration_error(tmp_path, data):
    with pytest.raises(ConfigError, match=r"no records.*'image' and 'instruction'"):
        cut(write(tmp_path, data), 5, whole)


def test_a_csv_with_nothing_but_its_header_has_no_records(tmp_path):
    with pytest.raises(ConfigError, match="no records"):
        cut(write(tmp_path, b"image,instruction\n", "header.csv"), 5, whole)


def test_what_is_no_manifest_is_a_configuration_error_with_the_next_step(tmp_path):
    with pytest.raises(ConfigError, match=r"not there; give the path of a \.jsonl, \.csv or \.tsv file"):
        cut(tmp_path / "none.jsonl", 5, whole)
    with pytest.raises(ConfigError, match="a folder"):
        cut(tmp_path, 5, whole)
    with pytest.raises(ConfigError, match=r"'\.xlsx'"):
        cut(write(tmp_path, b"a\n", "table.xlsx"), 5, whole)
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        cut(write(tmp_path, b"a\n"), 0, whole)


def of_recordings(raw):
    name = raw.strip()
    return Identity(name, recording=name[:1] if name[:1] != b"-" else b"")


@given(st.lists(st.sampled_from(["a", "b", "c", "-", "?"]), min_size=1, max_size=60), st.integers(1, 9))
@settings(deadline=None, max_examples=60)
def test_no_part_cuts_a_recording_and_no_record_is_lost(tmp_path_factory, kinds, part_size):
    """a, b, c are of recordings in any order, - are stills, ? cannot be read."""
    lines = [f"{kind}{number}".encode() for number, kind in enumerate(kinds)]
    manifest = write(tmp_path_factory.mktemp("cut"), b"\n".join(lines) + b"\n")
    found = cut(manifest, part_size, lambda raw: None if raw.startswith(b"?") else of_recordings(raw))
    held = [[raw.strip() for raw in parts.read(part)] for part in found]
    assert [raw for raws in held for raw in raws] == lines
    assert [part.first for part in found] == [sum(map(len, held[:n])) for n in range(len(held))]
    for name in (b"a", b"b", b"c"):
        assert sum(any(raw.startswith(name) for raw in raws) for raws in held) <= 1
    assert all(len(raws) >= part_size for raws in held[:-1])
    assert sum(part.recordings for part in found) == len({*kinds} & {*"abc"})


def test_without_a_recording_the_parts_are_those_of_any_manifest(tmp_path):
    manifest = write(tmp_path, b"".join(b"-%d\n" % n for n in range(10)))
    assert cut(manifest, 4, of_recordings) == cut(manifest, 4, whole)
