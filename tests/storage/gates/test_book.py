import json
import threading
from pathlib import Path

import pyarrow.compute as pc
import pytest

from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import ConfigError, ShardError
from storage.gates import book
from storage.gates.book import Book
from storage.gates.gate import Gate, GateConfig
from storage.parts.shards import commit_part

STRICT = GateConfig(accept=0.9, min_understood=0)


@pytest.fixture
def data(tmp_path, parts):
    for part in parts:
        commit_part(tmp_path, part)
    return tmp_path


@pytest.fixture
def strict(build):
    return Gate(build.RECIPE, STRICT)


def statuses(data, **opened):
    """Status and reason of each label, from every way in: they must be the same."""
    with DataSet.open(data, **opened) as found, Catalog(found) as catalog:
        query = "SELECT sample_id, status, reason, quality FROM labels ORDER BY part, position"
        rows = [tuple(row.values()) for row in catalog.sql(query).to_pylist()]
        labels = [(x.sample.id, x.status.value, x.reason, x.scores.quality) for x in found.labels()]
        batches = found.light_batches(["sample_id", "status", "reason", "quality"], pc.field("outcome") == "label")
        light = [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
        accepted = [x.sample.id for x in found.labels(pc.field("status") == "accepted")]
        one = found.label(next(iter(found.light_of))[1], rows[0][0])
        of_views = catalog.sql("SELECT DISTINCT sample_id, status FROM proposals").to_pylist()
    assert rows == labels == light
    assert accepted == [row[0] for row in rows if row[1] == "accepted"]
    assert (one.status.value, one.reason) == rows[0][1:3]
    assert {(row["sample_id"], row["status"]) for row in of_views} == {row[:2] for row in rows}
    return rows


def test_without_a_gate_labels_are_as_labeling_wrote_them(data, parts):
    written = [
        (x.sample.id, x.status.value, x.reason, x.scores.quality)
        for part in parts
        for x in part.outcomes
        if hasattr(x, "mask")
    ]
    assert statuses(data) == written


def test_an_applied_gate_is_seen_by_every_reader_and_undone_by_one_more_entry(data, strict, build):
    before = statuses(data)
    book.apply(data, strict, name="strict", who="ada")
    after = statuses(data)
    assert after != before
    assert {reason for _, _, reason, quality in after if quality >= 0.9} <= {"ok", "incomplete"}
    assert {status for _, status, reason, _ in after if reason == "ok"} == {"accepted"}
    assert statuses(data, gate="written") == before
    loose = Gate(build.RECIPE, GateConfig(accept=0.5, min_understood=0))
    book.apply(data, loose, who="ada")
    assert statuses(data, gate="strict") == statuses(data, gate=strict.hash[:6]) == after
    assert statuses(data) not in (before, after)
    assert book.undo(data, build.RECIPE, who="ada").name == "strict"
    assert statuses(data) == after
    assert book.undo(data, build.RECIPE, who="ada").gate == ""
    assert statuses(data) == before
    with pytest.raises(ConfigError, match="no gate to undo"):
        book.undo(data, build.RECIPE, who="ada")
    assert [entry.act for entry in Book.read(data).entries] == ["apply", "apply", "undo", "undo"]


def test_a_snapshot_binds_the_gate_and_is_refused_once_that_is_gone(data, strict, build):
    with DataSet.open(data) as opened:
        plain = opened.freeze().name
    before = statuses(data)
    book.apply(data, strict, who="ada")
    with DataSet.open(data) as opened:
        bound = opened.freeze().name
    after = statuses(data)
    book.undo(data, build.RECIPE, who="ada")
    assert plain != bound
    assert statuses(data, snapshot=plain) == before
    assert statuses(data, snapshot=bound) == after
    (data / "gates" / build.RECIPE / f"{strict.hash}.json").unlink()
    assert statuses(data, snapshot=plain) == before
    with pytest.raises(ShardError, match=r"is gone; .*ivm gate"):
        DataSet.open(data, snapshot=bound)


@pytest.mark.parametrize("text", ["", "{}", '{"recipe": 1}', "[]"])
def test_a_torn_gate_is_named_with_the_way_out(data, strict, build, text):
    book.apply(data, strict, who="ada")
    (data / "gates" / build.RECIPE / f"{strict.hash}.json").write_text(text)
    with pytest.raises(ShardError, match=r"torn or no gate.*--undo"):
        DataSet.open(data)
    with DataSet.open(data, gate="written") as opened:
        assert not opened.gates


def test_a_gate_that_was_changed_by_hand_is_refused(data, strict, build):
    path = data / "gates" / build.RECIPE / f"{strict.hash}.json"
    book.apply(data, strict, who="ada")
    raw = json.loads(path.read_text())
    raw["config"]["accept"] = 0.5
    path.write_text(json.dumps(raw))
    with pytest.raises(ShardError, match="was changed"):
        DataSet.open(data)


def test_a_name_that_no_gate_has_is_refused_with_those_that_there_are(data, strict):
    book.apply(data, strict, name="strict", who="ada")
    with pytest.raises(ConfigError, match=r"no gate 'loose' .*written, .*strict"):
        DataSet.open(data, gate="loose")


def test_gates_of_two_people_at_once_are_both_in_the_log_and_the_later_one_counts(data, build):
    gates = [Gate(build.RECIPE, GateConfig(accept=accept / 100)) for accept in range(50, 58)]
    threads = [threading.Thread(target=book.apply, args=(data, gate), kwargs={"who": "x"}) for gate in gates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = Book.read(data)
    assert {entry.gate for entry in log.entries} == {gate.hash for gate in gates}
    moments = [entry.at for entry in log.entries]
    assert moments == sorted(set(moments))
    assert log.current == {build.RECIPE: log.entries[-1].gate}


def test_a_gate_comes_back_from_its_file_as_it_was(data, strict, build):
    book.keep(data, strict)
    assert book.load(data, build.RECIPE, strict.hash) == strict
    assert Path(data / "gates" / build.RECIPE / f"{strict.hash}.json").read_text().endswith("}\n")


def test_labels_from_before_the_column_are_as_incomplete_as_they_would_be_now(data, build, tmp_path):
    """The column says what boxes and request say; old labels lack it."""
    from storage.gates import in_sql

    with Catalog(data) as catalog:
        query = f"SELECT incomplete, coalesce({in_sql.DERIVED}, false) AS derived FROM labels"
        rows = catalog.sql(query).to_pylist()
    assert rows and all(row["incomplete"] == row["derived"] for row in rows)
