import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from typer.testing import CliRunner

from ivm_data.cli.app import app
from ivm_data.quality.reviewer_agreement import agreements
from ivm_data.report.build import write_report
from storage.catalog import Catalog
from storage.pixels import rle
from storage.tables import reviews

FIRST = ["right", "right", "wrong", "wrong", "unsure"]
SECOND = ["right", "wrong", "wrong", "wrong", "right"]


@pytest.fixture
def reviewed(data):
    with Catalog(data) as catalog:
        rows = catalog.query("review_queue", limit=5).to_pylist()
    top_HW = np.zeros((128, 128), bool)
    top_HW[:64] = True
    for row, one, two in zip(rows, FIRST, SECOND, strict=True):
        for reviewer, verdict, mask_HW in (("anna", one, top_HW), ("ben", two, np.ones_like(top_HW))):
            mask = rle.encode(mask_HW) if verdict == "wrong" else None
            reviews.append(data, row["recipe"], row["sample_id"], reviewer, verdict, mask=mask)
    return data


def test_kappa_is_over_verdicts_and_iou_over_the_masks_that_both_fixed(reviewed):
    with Catalog(reviewed) as catalog:
        (found,) = agreements(catalog)
    assert (found.first, found.second, found.labels, found.same) == ("anna", "ben", 5, 0.6)
    assert found.kappa == pytest.approx(cohen_kappa_score(FIRST, SECOND))
    assert (found.corrected, found.iou) == (2, 0.5)


def test_kappa_is_unknown_where_both_always_said_the_same(data):
    with Catalog(data) as catalog:
        row = catalog.query("review_queue", limit=1).to_pylist()[0]
    for reviewer in ("anna", "ben"):
        reviews.append(data, row["recipe"], row["sample_id"], reviewer, "right")
    with Catalog(data) as catalog:
        (found,) = agreements(catalog)
    assert found.same == 1 and math.isnan(found.kappa) and math.isnan(found.iou)


def test_the_report_has_the_reviewers_agreement(reviewed, tmp_path):
    text = write_report(reviewed, tmp_path / "report.html", pictures=1).read_text()
    assert "What people say of the labels" in text and "anna and ben both judged 5 labels" in text
    assert "mean IoU of 0.50" in text


def test_the_command_prints_agreement_and_asks_for_a_name(reviewed):
    done = CliRunner().invoke(app, ["review", "--data", str(reviewed), "--agreement", "--format", "csv"])
    assert "anna,ben,5,0.6" in done.stdout
    refused = CliRunner().invoke(app, ["review", "--data", str(reviewed)])
    assert "--reviewer anna" in str(refused.exception)
