import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import ShardError
from storage.pixels import rle
from storage.records import Review
from storage.tables import reviews
from storage.tables.reviews import Adjudication

MASK = rle.encode(np.eye(4, dtype=bool))
OTHER = rle.encode(np.ones((4, 4), bool))


def adjudications(data):
    with DataSet.open(data) as opened:
        return opened.adjudications()


def said(verdict, at="2024-05-01T12:00:00Z", reviewer="ada", mask=None):
    return Review("00", "3f9c0a", reviewer, verdict, "", at, mask)


def test_a_review_is_a_file_of_its_own_and_reads_back_with_its_mask(tmp_path):
    made = [reviews.append(tmp_path, "3f9c0a", "00", "ada", "wrong", note="ü", mask=MASK) for _ in range(3)]
    paths = list(tmp_path.glob("reviews/ada/*.parquet"))
    assert len(paths) == 3 and reviews.read(paths) == made
    assert sorted(r.reviewed_at for r in made) == [r.reviewed_at for r in made]
    assert reviews.current(made) == made[-1:]


def test_a_review_is_later_than_all_before_even_where_the_clock_is_behind(tmp_path):
    reviews.append(tmp_path, "3f9c0a", "00", "ada", "right")
    (path,) = tmp_path.glob("reviews/ada/*.parquet")
    shutil.move(path, path.with_name("2999-01-01T00-00-00.000000Z.parquet"))
    assert reviews.append(tmp_path, "3f9c0a", "00", "ada", "wrong").reviewed_at == "2999-01-01T00:00:00.000001Z"


def test_a_withdrawn_review_does_not_count_and_others_do(tmp_path):
    for verdict in ("right", "withdrawn"):
        reviews.append(tmp_path, "3f9c0a", "00", "ada", verdict)
    assert adjudications(tmp_path) == {}
    reviews.append(tmp_path, "3f9c0a", "00", "ben", "wrong", mask=MASK)
    assert adjudications(tmp_path) == {"00": Adjudication("corrected", MASK)}
    with DataSet.open(tmp_path) as opened:
        assert reviews.adjudicate_all(opened.reviews(), "3f9c0a") == {"00": Adjudication("corrected", MASK)}
        assert reviews.adjudicate_all(opened.reviews(), "other") == {}
    with Catalog(tmp_path) as catalog:
        (row,) = catalog.sql("FROM opinions").to_pylist()
    assert (row["reviewer"], row["verdict"], row["mask"]["counts"]) == ("ben", "wrong", MASK.counts)


@pytest.mark.parametrize(
    ("written", "adjudication"),
    [
        ([said("right")], Adjudication("right")),
        ([said("unsure")], None),
        ([said("right"), said("unsure")], Adjudication("right")),
        ([said("right"), said("wrong")], Adjudication("wrong")),
        ([said("wrong"), said("wrong", mask=MASK)], Adjudication("corrected", MASK)),
        ([said("wrong", "2025", mask=OTHER), said("wrong", "2024", mask=MASK)], Adjudication("corrected", OTHER)),
        ([said("wrong_instruction"), said("wrong", mask=MASK), said("right")], Adjudication("wrong_instruction")),
    ],
)
def test_where_people_disagree_the_more_careful_verdict_counts(written, adjudication):
    assert reviews.adjudicate(written) == adjudication


def test_a_file_of_before_masks_were_kept_is_named_and_no_training_goes_on_without_it(tmp_path):
    reviews.append(tmp_path, "3f9c0a", "00", "ada", "right")
    (path,) = tmp_path.glob("reviews/ada/*.parquet")
    pq.write_table(pq.read_table(path).drop_columns("mask"), path)
    with DataSet.open(tmp_path) as opened:
        assert "['mask']" in str(opened.problems[0])
        with pytest.raises(ShardError, match="mask"):
            opened.adjudications()


@pytest.fixture
def catalog(tmp_path, build):
    from storage.parts.shards import commit_part, write_weights

    part = build.make_part(rows=30)
    commit_part(tmp_path, part)
    write_weights(tmp_path, "lmm-head@77aa", part.part, build.make_weights(part))
    first, *_ = (outcome for outcome in part.outcomes if hasattr(outcome, "mask"))
    reviews.append(tmp_path, build.RECIPE, first.sample.id, "ada", "right")
    reviews.append(tmp_path, build.RECIPE, first.sample.id, "ben", "wrong", mask=first.mask)
    with Catalog(tmp_path) as opened:
        yield opened


def entropy(p):
    return -p * np.log2(p) - (1 - p) * np.log2(1 - p)


def test_the_queue_is_ranked_by_the_mean_of_entropies_and_disagreement(catalog):
    rows = catalog.query("review_queue", limit=100).to_pylist()
    known = {
        row["sample_id"]: row for row in catalog.sql("FROM labels JOIN weights USING (recipe, sample_id)").to_pylist()
    }
    for row in rows:
        label = known[row["sample_id"]]
        parts = [entropy(label["quality"]), entropy(label["verification"]), entropy(label["d"])]
        parts += [1 - label[name] for name in ("agreement", "consistency") if label[name] is not None]
        assert row["information"] == pytest.approx(np.mean(parts))
    information = [row["information"] for row in rows]
    assert information == sorted(information, reverse=True) and len(rows) == len(known)


def test_what_is_unknown_is_left_out_of_the_mean_and_certainty_is_worth_nothing(tmp_path, build):
    from storage.parts.shards import commit_part
    from storage.records import MISSING, Scores

    part = build.make_part(rows=2)
    scores = [Scores(), Scores(quality=1.0, verification=MISSING, agreement=1.0)]
    outcomes = tuple(replace(label, scores=s) for label, s in zip(part.outcomes, scores, strict=True))
    commit_part(tmp_path, replace(part, outcomes=outcomes))
    with Catalog(tmp_path) as opened:
        assert opened.query("review_queue")["information"].to_pylist() == [0.0, 0.0]


def test_the_queue_leaves_out_what_a_person_has_reviewed_and_can_be_filtered_and_random(catalog):
    every = catalog.query("review_queue", limit=100)["sample_id"].to_pylist()
    assert len(catalog.query("review_queue", limit=100, reviewer="ada")) == len(every) - 1
    assert set(catalog.query("review_queue", status="accepted")["status"].to_pylist()) == {"accepted"}
    drawn = [catalog.query("review_queue", limit=100, random=True, seed=s)["sample_id"].to_pylist() for s in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and sorted(drawn[2]) == sorted(every)


def test_pairs_of_people_are_listed_with_what_both_said(catalog):
    (row,) = catalog.query("review_pairs").to_pylist()
    assert (row["first"], row["second"], row["first_verdict"], row["second_verdict"]) == (
        "ada",
        "ben",
        "right",
        "wrong",
    )
    assert row["iou"] is None
