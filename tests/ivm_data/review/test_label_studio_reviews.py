"""Labels go to Label Studio as predictions and come back as people's reviews of them."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from ivm_data.cli.app import app
from ivm_data.review.label_studio_reviews import take_reviews
from ivm_data.sources.foreign.tools import brush
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.pixels import rle
from storage.tables import reviews


@pytest.fixture
def tasks(data, tmp_path):
    """Tasks as Label Studio knows them once they are imported: each with the engine's mask as prediction."""
    made = CliRunner().invoke(
        app, ["export", "label-studio", "--data", str(data), "--out", str(tmp_path / "tasks"), "--status", "any"]
    )
    assert made.exit_code == 0, made.output
    return json.loads((tmp_path / "tasks" / "tasks.json").read_text())


@pytest.fixture
def exported(tmp_path):
    """Writes a project as Label Studio exports it."""

    def write(tasks):
        path = tmp_path / "project.json"
        path.write_text(json.dumps(tasks))
        return path

    return write


def annotated(task, result=None, by=7, **more):
    """A task that a person submitted, as it was shown or with another result."""
    shown = task["predictions"][0]["result"]
    annotation = {"id": 31, "completed_by": by, "result": shown if result is None else result, "was_cancelled": False}
    return task | {"annotations": [*task.get("annotations", ()), annotation | more]}


def stroke(task, mask_HW):
    (shown,) = task["predictions"][0]["result"]
    return [shown | {"value": shown["value"] | {"rle": brush.encode(mask_HW.astype(np.uint8) * 255).tolist()}}]


def current(data):
    return {(each.sample_id, each.reviewer): each for each in reviews.current(DataSet.open(data).reviews())}


def test_kept_corrected_emptied_and_skipped_annotations_are_reviews(data, tasks, exported):
    kept, corrected, emptied, skipped, untouched = [task for task in tasks if task["predictions"][0]["result"]][:5]
    size = [corrected["predictions"][0]["result"][0][f"original_{side}"] for side in ("height", "width")]
    right_HW = np.zeros(size, bool)
    right_HW[5:20, 10:30] = True
    project = exported(
        [
            annotated(kept),
            annotated(corrected, stroke(corrected, right_HW), by={"id": 8, "email": "anna@example.org"}),
            annotated(emptied, []),
            annotated(skipped, was_cancelled=True),
            untouched,
        ]
    )
    taken = take_reviews(data, project)
    seven, anna = "label-studio-7", "label-studio-anna@example.org"
    assert taken.verdicts == {(seven, "right"): 1, (anna, "wrong"): 1, (seven, "wrong"): 1, (seven, "unsure"): 1}
    assert taken.left_out == {"task that nobody annotated": 1}
    found = current(data)
    assert len(found) == 4
    assert found[kept["data"]["sample_id"], seven].mask is None
    assert (rle.decode(found[corrected["data"]["sample_id"], anna].mask) == right_HW).all()
    assert rle.area(found[emptied["data"]["sample_id"], seven].mask) == 0
    assert {each.drawn for each in found.values()} == {None}

    again = take_reviews(data, project)
    assert not again.verdicts
    assert again.left_out["known already"] == 4
    assert len(DataSet.open(data).reviews()) == 4


def test_a_label_without_a_mask_that_is_left_empty_is_right(data, tasks, exported):
    absent = next(task for task in tasks if not task["predictions"][0]["result"])
    take_reviews(data, exported([annotated(absent)]), "team")
    assert current(data)[absent["data"]["sample_id"], "team"].verdict == "right"


def test_the_last_annotation_of_a_person_counts_and_changing_it_is_one_more_review(data, tasks, exported):
    task = next(task for task in tasks if task["predictions"][0]["result"])
    twice = annotated(annotated(task, []), by=7)
    assert take_reviews(data, exported([twice])).verdicts == {("label-studio-7", "right"): 1}
    assert take_reviews(data, exported([annotated(task, [])])).verdicts == {("label-studio-7", "wrong"): 1}


def test_what_says_nothing_of_a_label_is_counted_with_its_reason(data, tasks, exported):
    with_mask = [task for task in tasks if task["predictions"][0]["result"]]
    other = with_mask[0] | {"data": with_mask[0]["data"] | {"sample_id": "0" * 40}}
    choice = annotated(with_mask[1], [{"type": "choices", "value": {"choices": ["blurred"]}}])
    broken = annotated(with_mask[2], [{"type": "brushlabels", "value": {"rle": "?", "format": "rle"}}])
    odd = annotated(with_mask[3]) | {"annotations": ["none"]}
    taken = take_reviews(data, exported([annotated(other), choice, broken, odd, annotated(with_mask[4])]))
    assert taken.verdicts.total() == 1
    assert taken.left_out["task of a label that is not in this data set"] == 1
    assert taken.left_out["annotation that marks nothing, but says something"] == 1
    assert taken.left_out.total() == 4


def test_a_project_as_json_min_is_refused_with_what_to_do(data, exported):
    with pytest.raises(ConfigError, match="export the project as JSON, not as JSON-MIN"):
        take_reviews(data, exported([{"id": 1, "image": "/a.png", "mask": []}]))


def test_the_command_says_who_said_what(data, tasks, exported):
    project = exported([annotated(task) for task in tasks[:3]])
    said = CliRunner().invoke(
        app, ["review", "--data", str(data), "--label-studio", str(project), "--reviewer", "team"]
    )
    assert said.exit_code == 0, said.output
    assert "3 reviews written" in said.output
    assert {each.verdict for each in current(data).values()} == {"right"}
