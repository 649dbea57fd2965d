from dataclasses import replace

import numpy as np
import pytest

from ivm_data.report.report_facts import Facts
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.parts.shards import commit_part
from storage.records import PartResult, Rejection, Status

RECIPE = "3f9c0a51d2e7"
KINDS = ("attribute", "absent", "")


@pytest.fixture(scope="module")
def labels(labeled):
    return list(DataSet.open(labeled).labels())


@pytest.fixture
def facts(labeled):
    with Catalog(labeled) as catalog:
        yield Facts(catalog, RECIPE)


def test_the_totals_are_those_of_the_records(facts, labels, labeled):
    with Catalog(labeled) as catalog:
        rejections = catalog.sql("FROM rejections").to_pylist()
    totals = facts.totals()
    judged = [label for label in labels if label.sample.held_out]
    accepted = [label for label in judged if label.status is Status.ACCEPTED]
    assert facts.held_out
    assert (totals["inputs"], totals["rejections"]) == (len(labels) + len(rejections), len(rejections))
    assert totals["accepted"] == sum(label.status is Status.ACCEPTED for label in labels)
    assert (totals["known"], totals["known_accepted"]) == (len(judged), len(accepted))
    assert totals["precision_accepted"] == pytest.approx(np.mean([label.human_iou >= 0.5 for label in accepted]))
    assert totals["iou_all"] == pytest.approx(np.mean([label.human_iou for label in judged if label.proposals]))
    low, high = totals["interval"]
    assert low <= totals["precision_accepted"] <= high


@pytest.mark.parametrize("column", ["kind", "difficulty", "source"])
def test_the_groups_add_up_to_the_totals(facts, column):
    rows, totals = facts.by(column), facts.totals()
    for count in ("inputs", "accepted", "review", "rejected", "no_target", "rejections", "known"):
        assert sum(row[count] for row in rows) == totals[count]


def test_the_ranking_goes_from_the_best_quality_down(facts, labels):
    masks = [label for label in labels if label.sample.held_out and label.proposals]
    masks.sort(key=lambda label: (-label.scores.quality, label.sample.id))
    assert facts.ranking("quality").tolist() == [label.human_iou >= 0.5 for label in masks]


def test_reasons_count_every_input_once_and_rejections_come_first(facts):
    rows = facts.reasons()
    assert sum(row["inputs"] for row in rows) == facts.totals()["inputs"]
    fates = [row["fate"] for row in rows]
    assert fates[: fates.count("rejection")] == ["rejection"] * fates.count("rejection")
    assert all(1 <= len(row["examples"]) <= 3 and row["meaning"] for row in rows)


def test_a_failed_input_lowers_the_coverage_of_its_own_kind(labels, tmp_path):
    kept = [replace(label, status=Status.ACCEPTED) for label in labels if label.sample.kind == "attribute"][:4]
    failed = [Rejection(f"{n}", "ground", "no_box", "none", kept[0].sample.source, kind=k) for n, k in enumerate(KINDS)]
    commit_part(tmp_path, PartResult("part", RECIPE, (*kept, *failed)))
    with Catalog(tmp_path) as catalog:
        by_kind = {row["name"]: row for row in Facts(catalog, RECIPE).by("kind")}
    assert {name: (row["inputs"], row["coverage"]) for name, row in by_kind.items()} == {
        "attribute": (5, 0.8), "absent": (1, 0.0), "unknown": (1, 0.0)
    }  # fmt: skip
