from dataclasses import asdict, replace

import numpy as np
import pytest

from storage.parts.rows import HEAVY_ROWS, heavy_rows, light_rows, to_label
from storage.pixels import rle
from storage.records import Label, Moment, PartResult, Scores


def one(build, label):
    return PartResult("p", build.RECIPE, (label,))


@pytest.mark.parametrize("seed", range(12))
def test_a_label_comes_back_equal_from_its_two_rows(build, seed):
    label = build.make_label(seed)
    result = one(build, label)
    assert to_label(next(light_rows(result)), next(heavy_rows(result))) == label


def test_a_rejection_comes_back_equal_from_its_row(build):
    rejection = replace(build.make_rejection(4), answer="I cannot say.")
    said = asdict(rejection)
    said |= said.pop("moment")
    assert next(light_rows(one(build, rejection))).items() >= said.items()


def test_a_still_says_nothing_of_an_episode_and_a_moment_may_lack_all_but_its_name(build):
    still, bare = build.make_label(0), replace(build.make_label(1).sample, moment=Moment("walk"))
    assert still.sample.moment is None and "episode" not in next(light_rows(one(build, still)))
    label = replace(build.make_label(1), sample=bare)
    row = next(light_rows(one(build, label)))
    assert [row[name] for name in ("episode", "camera", "frame", "time_s")] == ["walk", None, None, None]
    assert to_label(row, next(heavy_rows(one(build, label)))) == label


def test_a_missing_score_is_null(build):
    row = next(light_rows(one(build, replace(build.make_label(0), scores=Scores(quality=0.5)))))
    assert row["verification"] is None and row["quality"] == 0.5


def test_what_sql_asks_for_is_computed_once_at_writing(build):
    label = build.make_label(1)
    row = next(light_rows(one(build, label)))
    assert row["area"] == rle.area(label.mask)
    assert row["human_area"] == rle.area(label.sample.human_mask)
    a, b = label.proposals
    assert row["pairs"] == [{"first": a.expert, "second": b.expert, "iou": rle.iou(a.mask, b.mask)}]
    assert row["proposals"][0]["area"] == rle.area(a.mask)
    assert row["proposals"][0]["human_iou"] == rle.iou(a.mask, label.sample.human_mask)


def test_an_image_is_kept_once_in_each_row_group(build):
    labels = tuple(build.make_label(i, image_seed=0) for i in range(HEAVY_ROWS + 3))
    rows = list(heavy_rows(PartResult("p", build.RECIPE, labels)))
    assert [i for i, row in enumerate(rows) if row["image"] is not None] == [0, HEAVY_ROWS]
    assert len({row["image_sha"] for row in rows}) == 1


def test_every_outcome_has_a_light_row_and_every_label_a_heavy_row(build):
    result = build.make_part(rows=15)
    labels = [i for i, outcome in enumerate(result.outcomes) if isinstance(outcome, Label)]
    assert [row["position"] for row in light_rows(result)] == list(range(15))
    assert [row["position"] for row in heavy_rows(result)] == labels


def test_a_mask_of_another_size_is_refused(build):
    label = replace(build.make_label(0), mask=rle.encode(np.ones((3, 4), bool)))
    with pytest.raises(ValueError, match=r"image's size 48x48 .* got 3x4"):
        list(heavy_rows(one(build, label)))


def test_records_are_equal_where_the_same_scores_are_missing_on_every_python(build):
    label = build.make_label(0)
    assert replace(label) == label
    assert replace(label.candidates[0]) == label.candidates[0]
    assert hash(replace(label.proposals[0])) == hash(label.proposals[0])
    assert Scores() == Scores()
    assert Scores(quality=0.5) != Scores()
    assert Scores() != "Scores"
