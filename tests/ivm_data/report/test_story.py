import json
import shutil

import numpy as np
import pytest
from PIL import Image

from ivm_data.outputs import check
from ivm_data.report.story import rules, story
from ivm_data.report.story_picture import picture, save
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.tables import decisions, reviews


@pytest.fixture
def catalog(labeled):
    with Catalog(labeled) as opened:
        yield opened


def first(catalog, where):
    return catalog.sql(f"FROM outcomes WHERE {where} ORDER BY sample_id LIMIT 1").to_pylist()[0]


def test_a_label_is_told_with_its_request_its_proposals_and_its_scores(catalog):
    row = first(catalog, "status = 'review'")
    told = story(catalog, row["sample_id"][:20])
    assert told["sample_id"] == row["sample_id"] and told["instruction"] == row["instruction"]
    assert [thing["expression"] for thing in told["request"]["things"]] == ["small red ring", "blue square"]
    assert [proposal["expert"] for proposal in told["proposals"]] == ["e0@1", "e1@1"]
    assert told["scores"]["quality"] == row["quality"] and told["human_iou"] == row["human_iou"]
    assert (told["status"], told["reason"]) == ("review", "uncertain")
    assert "between the gate's thresholds" in told["meaning"]
    assert json.loads(json.dumps(told, default=str))["status"] == "review"


def test_a_rejection_is_told_and_has_no_picture(catalog):
    told = story(catalog, "none.png")
    assert (told["outcome"], told["stage"], told["reason"]) == ("rejection", "ingest", "image_missing")
    assert told["detail"] and not told["candidates"] and not told["rules"]
    with pytest.raises(ConfigError, match=r"no image of it was kept; it is 'none\.png'"):
        picture(catalog, told)


def test_what_people_and_rules_said_since_is_told_oldest_first(labeled, catalog, tmp_path):
    row, data = first(catalog, "status = 'accepted'"), tmp_path / "data"
    shutil.copytree(labeled, data)
    for verdict in ("unsure", "right"):
        reviews.append(data, row["recipe"], row["sample_id"], "anna", verdict, note=f"looks {verdict}")
    found = decisions.FoundLabel(row["recipe"], row["sample_id"], "few agree")
    decisions.decide(data, "low_agreement", "mask", "exclude", [found], parameters={}, who="bo")
    with Catalog(data) as opened:
        told = story(opened, row["sample_id"])
    assert [(one["reviewer"], one["verdict"], one["note"], one["mask"]) for one in told["reviews"]] == [
        ("anna", "unsure", "looks unsure", False), ("anna", "right", "looks right", False),
    ]  # fmt: skip
    assert [(one["rule"], one["verdict"], one["reason"]) for one in told["decisions"]] == [
        ("low_agreement", "exclude", "few agree")
    ]


def test_a_pair_that_is_not_there_and_one_that_is_not_clear_are_refused_with_what_is_there(catalog):
    with pytest.raises(ConfigError, match="no pair's id begins with 'zzz'"):
        story(catalog, "zzz")
    with pytest.raises(ConfigError, match="no pair's id begins with ''"):
        story(catalog, "")
    uri = catalog.sql("SELECT image_uri FROM labels GROUP BY 1 HAVING count(*) = 3 LIMIT 1")["image_uri"][0].as_py()
    with pytest.raises(ConfigError, match=f"may be each of these pairs(.|\n)*{uri}"):
        story(catalog, uri)


def test_the_rules_say_what_the_gate_asks_and_whether_it_holds():
    gate = {
        "accept": 0.8, "reject": 0.4, "min_understood": 0.9, "min_agreement": 0.0,
        "min_area_ratio": 0.1, "max_area_ratio": 0.9,
    }  # fmt: skip
    found = {rule.score: rule for rule in rules({"quality": 0.85, "area_ratio": 0.95, "understood": None}, gate)}
    assert list(found) == ["quality", "area_ratio", "understood"], "an agreement of 0 asks nothing"
    assert [rule.holds for rule in found.values()] == [True, False, None]
    assert found["area_ratio"].asks == "rejected outside 0.1 to 0.9"
    assert rules({"quality": 0.8}, {}) == []
    assert "area_ratio" not in {rule.score for rule in rules({"quality": 0.9, "status": "no_target"}, gate)}


def test_the_picture_shows_the_label_beside_what_was_proposed_and_is_known_again(labeled, catalog, tmp_path):
    told = story(catalog, first(catalog, "status = 'accepted'")["sample_id"])
    plain_HWC = picture(catalog, told)
    candidate = {"role": "target", "chosen": True, "box": {"x0": 10, "y0": 10, "x1": 60, "y1": 60}}
    boxed_HWC = picture(catalog, told | {"candidates": [candidate]})
    changed_W = (plain_HWC != boxed_HWC).any(axis=(0, 2))
    assert changed_W.any() and not changed_W[plain_HWC.shape[1] // 6 :].any(), "boxes are drawn on the first panel"
    out = tmp_path / "story.png"
    save(plain_HWC, out)
    assert np.array_equal(np.asarray(Image.open(out)), plain_HWC)
    check("explain", out, labeled)
    Image.fromarray(plain_HWC).save(out)
    with pytest.raises(ConfigError, match="is not a picture of 'ivm explain'"):
        check("explain", out, labeled)


def test_a_recipe_may_be_chosen(catalog, labeled):
    with DataSet.open(labeled) as data:
        (recipe,) = data.recipes
    row = first(catalog, "status = 'accepted'")
    assert story(catalog, row["sample_id"], recipe[:4])["recipe"]["hash"] == recipe
    with pytest.raises(ConfigError, match="no pair's id begins with"):
        story(catalog, row["sample_id"], "ffff")
