import json
import os

import pytest

from ivm_data.sources.foreign.common.foreign_reader import BadRecord, ForeignPair, checked
from ivm_data.sources.foreign.common.manifest_writer import write_manifest
from ivm_data.sources.manifest import plan, read_part
from storage.errors import ConfigError
from storage.records import Rejection, Sample

PAIR = ForeignPair("a.png", "Find the dog.")


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_holds_what_the_pair_holds_and_nothing_else(tmp_path):
    out = tmp_path / "m.jsonl"
    marked = ForeignPair("b.png", "Find it.", "kind", "hard", True, ({"box": [1, 2, 3, 4]},), source="mine")
    written = write_manifest([PAIR, marked, ForeignPair("c.png", "Find none.", targets=())], out, "set")
    assert (written.pairs, written.labeled, written.bad) == (3, 2, 0)
    assert lines_of(out) == [
        {"image": "a.png", "instruction": "Find the dog.", "source": "set"},
        {
            "image": "b.png", "instruction": "Find it.", "source": "mine", "kind": "kind", "difficulty": "hard",
            "held_out": True, "targets": [{"box": [1, 2, 3, 4]}],
        },
        {"image": "c.png", "instruction": "Find none.", "source": "set", "targets": []},
    ]  # fmt: skip


def test_a_bad_record_becomes_a_rejection_that_says_where_and_why(tmp_path, draw):
    out = tmp_path / "m.jsonl"
    bad = [BadRecord("refs.p: ref 3", "KeyError: 'ann_id'"), BadRecord("refs.p: ref 4", "KeyError: 'ann_id'")]
    write_manifest([PAIR, *bad], out, "refcoco")
    (part,) = plan(out)
    sample, first, second = read_part(part, draw("a.png"))
    assert isinstance(sample, Sample)
    assert isinstance(first, Rejection) and isinstance(second, Rejection)
    assert (first.stage, first.reason, first.source) == ("ingest", "bad_source_record", "refcoco")
    assert first.detail == "record 2: refs.p: ref 3: KeyError: 'ann_id'"
    assert second.reason == "bad_source_record"


def test_a_pair_that_json_cannot_hold_is_a_bad_record(tmp_path):
    out = tmp_path / "m.jsonl"
    written = write_manifest(
        [PAIR, ForeignPair("b.png", "Find it.", targets=({"box": [float("nan")] * 4},))], out, "set"
    )
    assert (written.pairs, written.bad) == (1, 1)
    assert "b.png" in lines_of(out)[1]["error"]


def test_image_bytes_are_stored_once_beside_the_manifest(tmp_path, draw):
    data = (draw("a.png") / "a.png").read_bytes()
    out = tmp_path / "out" / "m.jsonl"
    write_manifest(
        [ForeignPair(data, "Find the dog."), ForeignPair(data, "Find the cat."), ForeignPair(b"no image", "Find it.")],
        out,
        "set",
    )
    assert sorted(path.suffix for path in (out.parent / "images").iterdir()) == [".bin", ".png"]
    outcomes = [o for part in plan(out) for o in read_part(part)]
    assert [o.image for o in outcomes[:2]] == [data, data]
    assert outcomes[2].reason == "image_unreadable"


def test_a_manifest_appears_whole_or_not_at_all(tmp_path):
    out = tmp_path / "m.jsonl"
    out.write_text("old\n")

    def torn():
        yield PAIR
        raise ConfigError("the file ends here")

    with pytest.raises(ConfigError):
        write_manifest(torn(), out, "set")
    assert out.read_text() == "old\n"
    write_manifest([PAIR], out, "set")
    assert len(lines_of(out)) == 1
    assert os.listdir(tmp_path) == ["m.jsonl"]


@pytest.mark.parametrize(("name", "records"), [("m.csv", [PAIR]), ("m.jsonl", [])])
def test_another_suffix_or_no_records_are_configuration_errors(tmp_path, name, records):
    with pytest.raises(ConfigError, match=r"\.jsonl|no records"):
        write_manifest(records, tmp_path / name, "set")
    assert not list(tmp_path.iterdir())


def test_a_record_gives_all_of_its_pairs_or_none():
    def half(record):
        yield PAIR
        yield ForeignPair(record["image"], "Find it.")

    assert list(checked("x.json: [0]", half, {"image": "b.png"})) == [PAIR, ForeignPair("b.png", "Find it.")]
    assert list(checked("x.json: [0]", half, {})) == [BadRecord("x.json: [0]", "'image' is missing")]
