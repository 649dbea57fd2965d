import pytest

from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import ShardError
from storage.parts.shards import commit_part
from storage.records import Label
from storage.tables.decisions import FoundLabel, decide, scopes


@pytest.fixture
def labels(tmp_path, build):
    part = build.make_part()
    commit_part(tmp_path, part)
    return [outcome for outcome in part.outcomes if isinstance(outcome, Label)]


def found(labels, build):
    return [FoundLabel(build.RECIPE, label.sample.id, f"seen in {label.sample.id[:4]}") for label in labels]


def excluded(data):
    with DataSet.open(data) as opened:
        return opened.excluded()


def clean_ids(data):
    with Catalog(data) as catalog:
        return catalog.sql("SELECT sample_id FROM clean_labels ORDER BY sample_id")["sample_id"].to_pylist()


def test_the_latest_decision_of_a_rule_counts_and_nothing_is_deleted(tmp_path, build, labels):
    everyone = sorted(label.sample.id for label in labels)
    decide(tmp_path, "area", "mask", "exclude", found(labels[:3], build), parameters={"z": 4}, who="ada")
    out = {label.sample.id for label in labels[:3]}
    assert excluded(tmp_path) == dict.fromkeys(out, "mask")
    assert clean_ids(tmp_path) == [one for one in everyone if one not in out]
    decide(tmp_path, "area", "mask", "include", found(labels[:2], build), parameters={}, who="ada")
    assert excluded(tmp_path) == {labels[2].sample.id: "mask"} and len(clean_ids(tmp_path)) == len(labels) - 1
    with Catalog(tmp_path) as catalog:
        assert catalog.sql("SELECT count(*) AS n FROM decisions")["n"].to_pylist() == [5]
        (row,) = catalog.sql("FROM excluded").to_pylist()
        assert row["excluded_by"] == ["area"] and row["reasons"].startswith("seen in")


def test_a_label_stays_out_until_every_rule_lets_it_in_and_the_wider_scope_holds(tmp_path, build, labels):
    (one,) = found(labels[:1], build)
    for rule, scope in (("a", "mask"), ("b", "sample"), ("c", "mask")):
        decide(tmp_path, rule, scope, "exclude", [one], parameters={}, who="ada")
    assert excluded(tmp_path) == {one.sample_id: "sample"}
    decide(tmp_path, "b", "sample", "include", [one], parameters={}, who="ada")
    assert excluded(tmp_path) == {one.sample_id: "mask"}
    with DataSet.open(tmp_path) as opened:
        assert scopes(opened.decisions(), "other") == {}
    with Catalog(tmp_path) as catalog:
        assert catalog.sql("SELECT scope, excluded_by FROM excluded").to_pylist() == [
            {"scope": "mask", "excluded_by": ["a", "c"]}
        ]


def test_decisions_of_one_rule_are_in_order_even_where_a_clock_was_ahead(tmp_path, build, labels):
    for verdict in ("exclude", "include") * 5:
        decide(tmp_path, "area", "mask", verdict, found(labels[:1], build), parameters={}, who="ada")
    with DataSet.open(tmp_path) as opened:
        assert [decision.verdict for decision in opened.decisions()] == ["include"]
    assert decide(tmp_path, "area", "mask", "exclude", [], parameters={}, who="ada") is None


def test_a_torn_decision_stops_who_would_train_without_it(tmp_path, build, labels):
    path = decide(tmp_path, "area", "mask", "exclude", found(labels, build), parameters={}, who="ada")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ShardError, match=r"decisions/area/.* torn"):
        excluded(tmp_path)
