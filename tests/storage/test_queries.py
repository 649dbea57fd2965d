from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from storage.catalog import Catalog
from storage.errors import ConfigError
from storage.parts.shards import commit_part, write_reviews
from storage.pixels import rle
from storage.records import MISSING, Label, Moment, PartResult, Rejection, Status
from storage.sql.queries import load, named_queries

NAMES = [query.name for query in named_queries()]


@pytest.fixture(scope="module")
def catalog(small_data):
    with Catalog(small_data) as opened:
        yield opened


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    with Catalog(tmp_path_factory.mktemp("empty")) as opened:
        yield opened


@pytest.fixture(scope="module")
def labels(parts):
    return [outcome for part in parts for outcome in part.outcomes if isinstance(outcome, Label)]


@pytest.fixture(scope="module")
def judged(labels):
    """Labels with a human mask."""
    return [label for label in labels if label.sample.human_mask]


def rows(catalog, name, **parameters):
    return catalog.query(name, **parameters).to_pylist()


def rounded(found):
    # Threads add floats in no fixed order.
    return [{key: round(v, 9) if isinstance(v, float) else v for key, v in row.items()} for row in found]


def test_the_queries_that_the_documentation_promises_are_there():
    assert len(NAMES) >= 14
    assert {"summary", "acceptance_by_source", "acceptance_by_expert", "area_histogram", "verification_curve"} < set(
        NAMES
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_query_says_what_it_answers_and_declares_its_parameters(name):
    query = load(name)
    assert query.description.endswith((".", "?", ")"))
    assert all(f"${parameter.name}" in query.sql.split("SELECT", 1)[1] for parameter in query.parameters)
    assert all(parameter.meaning for parameter in query.parameters)


@pytest.mark.parametrize("name", NAMES)
def test_a_query_runs_on_an_empty_and_on_a_small_data_set_with_the_same_columns(catalog, empty, name):
    found = catalog.query(name)
    assert empty.query(name).schema == found.schema
    assert found.num_rows > 0 or name in ("duplicates", "outliers", "review_pairs")


def test_coverage_counts_frames_of_episodes_by_task_and_camera(tmp_path, build):
    labels = [moved(build.make_label(1), Moment("g1/0", "high", 1), status=Status.ACCEPTED)]
    labels += [moved(build.make_label(2), Moment("g1/1", "high", 5), status=Status.NO_TARGET)]
    rejection = replace(build.make_rejection(4), instruction="Find it.", moment=Moment("g1/1", "high", 9))
    commit_part(tmp_path, PartResult("p", build.RECIPE, (*labels, rejection, build.make_label(3))))
    with Catalog(tmp_path) as catalog:
        (row,) = rows(catalog, "coverage_by_task")
    assert (row["task"], row["camera"], row["episodes"], row["frames"]) == ("Find it.", "high", 2, 3)
    assert (row["accepted"], row["no_target"], row["rejections"], row["covered"]) == (1, 1, 1, 2 / 3)


def test_consistency_by_episode_tells_key_frames_from_tracked_ones(tmp_path, build):
    labels = []
    for frame, (consistency, tracked) in enumerate([(0.9, False), (0.4, True), (0.8, True), (MISSING, False)]):
        label = build.make_label(frame)
        scores = replace(label.scores, consistency=consistency)
        moment = Moment("g1/0", "high", 10 * frame)
        labels.append(moved(label, moment, scores=scores, tracked_from=("a",) if tracked else ()))
    commit_part(tmp_path, PartResult("p", build.RECIPE, tuple(labels)))
    with Catalog(tmp_path) as catalog:
        (row,) = rows(catalog, "consistency_by_episode")
    assert (row["frames"], row["key_frames"], row["tracked"], row["doubtful"], row["worst"]) == (4, 2, 2, 1, 10)
    assert row["consistency"] == pytest.approx(0.7) and row["least_consistency"] == 0.4


def test_flicker_is_a_frame_that_jumps_and_not_a_thing_that_moves(tmp_path, build):
    labels = []
    for episode, jumps in (("steady", False), ("jumpy", True)):
        for frame in range(5):
            mask_HW = np.zeros((build.SIZE, build.SIZE), bool)
            column = 30 if jumps and frame == 3 else 4 * frame
            mask_HW[10:20, column : column + 16] = True
            label = build.make_label(10 * jumps + frame)
            labels.append(moved(label, Moment(episode, "high", frame), mask=rle.encode(mask_HW)))
    commit_part(tmp_path, PartResult("p", build.RECIPE, tuple(labels)))
    with Catalog(tmp_path) as catalog:
        jumpy, steady = rows(catalog, "flicker_by_episode")
    assert (jumpy["episode"], jumpy["worst"], jumpy["frames"]) == ("jumpy", 3, 5) and jumpy["flicker"] > 0.05
    assert steady["flicker"] == 0 and steady["change"] == pytest.approx(1 - 12 / 20)


def moved(label, moment, **changes):
    """The label of a frame, asked for the same thing as all others."""
    return replace(label, sample=replace(label.sample, moment=moment, instruction="Find it."), **changes)


@pytest.mark.parametrize("name", NAMES)
def test_a_query_can_be_kept_to_one_recipe(catalog, empty, name):
    assert rounded(rows(catalog, name, recipe="3f9c")) == rounded(rows(catalog, name))
    assert rows(catalog, name, recipe="other") == rows(empty, name)


def test_the_summary_counts_every_input_once(catalog, parts, labels):
    (row,) = rows(catalog, "summary")
    accepted = [label for label in labels if label.status is Status.ACCEPTED]
    assert row["inputs"] == sum(len(part.outcomes) for part in parts)
    assert row["rejections"] + row["labels"] == row["inputs"]
    assert row["accepted"] + row["review"] + row["rejected"] + row["no_target"] == row["labels"] == len(labels)
    assert row["coverage"] == len(accepted) / row["inputs"]
    ious = [label.human_iou for label in accepted if label.sample.human_mask]
    assert row["accepted_human_iou"] == pytest.approx(np.mean(ious))


def test_usage_is_summed_by_stage_and_priced(tmp_path, parts):
    asked = replace(parts[0].timings[0], requests=3, prompt_tokens=2_000_000, completion_tokens=500_000)
    commit_part(tmp_path, replace(parts[0], timings=(asked, *parts[0].timings[1:])))
    with Catalog(tmp_path) as catalog:
        first, *_, last = rows(catalog, "lmm_usage", prompt_price=1.5, completion_price=4)
    assert (first["stage"], first["requests"], first["cost"]) == (asked.stage, 3, 5.0)
    assert (last["stage"], last["requests"], last["cost"]) == ("all", 3, 5.0)


def test_presence_compares_each_sign_with_the_human_masks(catalog, judged):
    row = rows(catalog, "presence")[0]
    absent = {label.sample.id for label in judged if not rle.area(label.sample.human_mask)}
    said = {label.sample.id for label in judged if label.status is Status.NO_TARGET}
    assert (row["labels"], row["absent"], row["said_none"]) == (len(judged), len(absent), len(said))
    assert row["precision"] == pytest.approx(len(said & absent) / len(said))
    assert row["recall"] == (pytest.approx(len(said & absent) / len(absent)) if absent else None)


@pytest.mark.parametrize("by", ["source", "kind", "difficulty"])
def test_acceptance_by_group_adds_up_to_all_inputs(catalog, parts, labels, by):
    found = {row[by]: row for row in rows(catalog, f"acceptance_by_{by}")}
    assert sum(row["inputs"] for row in found.values()) == sum(len(part.outcomes) for part in parts)
    for group in {getattr(label.sample, by) for label in labels}:
        mine = [label for label in labels if getattr(label.sample, by) == group and label.status is Status.ACCEPTED]
        assert found[group]["accepted"] == len(mine)


def test_reasons_count_rejections_under_their_stage_and_decisions_under_the_gate(catalog, parts):
    found = rows(catalog, "reasons")
    rejected = [outcome for part in parts for outcome in part.outcomes if isinstance(outcome, Rejection)]
    assert {"ground": len(rejected)} == {row["stage"]: row["inputs"] for row in found if row["outcome"] == "rejection"}
    assert {row["stage"] for row in found if row["outcome"] == "label"} == {"gate"}
    assert sum(row["share"] for row in found) == pytest.approx(1)


def test_the_area_histogram_is_numpys(catalog, labels):
    found = rows(catalog, "area_histogram", bins=10)
    for source in ("photos", "world"):
        mine = [label for label in labels if label.sample.source == source and label.status is not Status.NO_TARGET]
        ratios = [rle.decode(label.mask).mean() for label in mine]
        expected, _ = np.histogram(ratios, bins=10, range=(0, 1))
        assert [row["labels"] for row in found if row["source"] == source] == expected.tolist()


def test_the_verification_curve_is_what_each_threshold_would_keep(catalog, labels):
    for row in rows(catalog, "verification_curve", steps=10):
        kept = [label for label in labels if label.scores.verification >= row["threshold"]]
        ious = [label.human_iou for label in kept if label.sample.human_mask]
        assert (row["labels"], row["with_human"]) == (len(kept), len(ious))
        assert row["coverage"] == pytest.approx(len(kept) / len(labels))
        assert row["precision"] == pytest.approx(np.mean(np.array(ious) >= 0.5)) if ious else row["precision"] is None
        assert row["human_iou"] == pytest.approx(np.mean(ious)) if ious else row["human_iou"] is None


def test_the_calibration_error_is_the_weighted_gap_of_the_bins(catalog, judged):
    quality = np.array([label.scores.quality for label in judged])
    is_right = np.array([label.human_iou >= 0.5 for label in judged])
    bins = np.minimum((quality * 5).astype(int), 4)
    gaps = [(bins == b).mean() * abs(is_right[bins == b].mean() - quality[bins == b].mean()) for b in set(bins)]
    found = rows(catalog, "calibration", bins=5)
    assert found[0]["ece"] == pytest.approx(sum(gaps))
    assert sum(row["labels"] for row in found) == len(judged)
    held_out = rows(catalog, "calibration", bins=5, held_out="true")
    assert sum(row["labels"] for row in held_out) == sum(label.sample.held_out for label in judged)


def test_score_auc_is_the_one_of_scikit_learn(catalog, judged):
    found = {row["score"]: row["auc"] for row in rows(catalog, "score_auc", iou=0.7)}
    is_right = [label.human_iou >= 0.7 for label in judged]
    for score in ("verification", "quality"):
        scores = [getattr(label.scores, score) for label in judged]
        assert found[score] == pytest.approx(roc_auc_score(is_right, scores), abs=1e-3)
    assert found["agreement"] == 0.5


def test_discriminator_auc_is_the_one_of_scikit_learn(catalog, build, parts, judged):
    d = {(w.sample_id): w.d for part in parts for w in build.make_weights(part)}
    for row in rows(catalog, "discriminator_auc", iou=0.7):
        mine = [label for label in judged if label.sample.source == row["source"]]
        expected = roc_auc_score([label.human_iou >= 0.7 for label in mine], [d[label.sample.id] for label in mine])
        assert row["auc"] == pytest.approx(expected, abs=1e-3)


def test_weights_by_source_counts_every_weight_once(catalog, labels):
    found = rows(catalog, "weights_by_source", bins=4)
    assert len(found) == 2 * 4
    assert sum(row["labels"] for row in found) == len(labels)


def test_outliers_are_found_by_their_robust_z(tmp_path, build):
    part = build.make_part(rows=30)
    tiny = np.zeros((48, 48), dtype=bool)
    tiny[0, 0] = True
    odd = replace(build.make_label(1000, source="world"), mask=rle.encode(tiny))
    commit_part(tmp_path, replace(part, outcomes=(*part.outcomes, odd)))
    labels = [x for x in (*part.outcomes, odd) if isinstance(x, Label) and x.sample.source == "world"]
    log_area = np.log([rle.area(label.mask) / 48**2 for label in labels])
    middle = np.median(log_area)
    z = (log_area[-1] - middle) / (1.4826 * np.median(abs(log_area - middle)))
    with Catalog(tmp_path) as catalog:
        assert rows(catalog, "outliers", z=1.01 * abs(z)) == []
        found = rows(catalog, "outliers", z=0.99 * abs(z))
    assert [row["sample_id"] for row in found] == [odd.sample.id]
    assert found[0]["z"] == pytest.approx(z)


def test_a_sample_in_two_parts_is_a_duplicate(tmp_path, build):
    commit_part(tmp_path, build.make_part("a"))
    commit_part(tmp_path, build.make_part("b"))
    with Catalog(tmp_path) as catalog:
        found = rows(catalog, "duplicates")
    assert len(found) == 10
    assert {(row["labels"], *row["parts"]) for row in found} == {(2, "a", "b")}


def test_the_latest_review_of_a_person_counts(tmp_path, build):
    part = build.make_part()
    commit_part(tmp_path, part)
    first = build.make_reviews(part)[0]
    write_reviews(tmp_path, "ada", "monday", [first])
    write_reviews(tmp_path, "ada", "tuesday", [replace(first, verdict="wrong", reviewed_at="2024-05-02T00:00:00Z")])
    with Catalog(tmp_path) as catalog:
        (row,) = rows(catalog, "reviews_by_status")
    assert (row["reviews"], row["right_ones"], row["wrong_ones"], row["precision"]) == (1, 0, 1, 0)


def test_experts_are_measured_on_their_own_masks(catalog, labels):
    found = {row["expert"]: row for row in rows(catalog, "expert_reliability")}
    assert found["heat@1"]["human_iou"] == 1 and found["heat@1"]["stability"] is None
    assert found["dino@1+sam@1"]["proposals"] == len(labels)
    (pair,) = rows(catalog, "expert_pairs")
    assert (pair["first_expert"], pair["second_expert"]) == ("dino@1+sam@1", "heat@1")
    worst = rows(catalog, "disagreement", limit=5)
    assert [row["worst_iou"] for row in worst] == sorted(row["worst_iou"] for row in worst)


def test_time_is_reported_by_stage_and_by_part(catalog):
    assert [(row["stage"], row["seconds"]) for row in rows(catalog, "stage_seconds")] == [("segment", 2), ("ground", 1)]
    first = rows(catalog, "slowest_parts", limit=1)[0]
    assert (first["slowest_stage"], first["seconds"]) == ("segment", 1.5)


def test_parameters_may_be_text_and_are_checked(catalog):
    assert len(rows(catalog, "disagreement", limit="3")) == 3
    with pytest.raises(ConfigError, match=r"'limit' .* must be int, got 'three'; its default is 20"):
        catalog.query("disagreement", limit="three")
    with pytest.raises(ConfigError, match="must be bool, got 'perhaps'"):
        catalog.query("calibration", held_out="perhaps")
    with pytest.raises(ConfigError, match=r"'disagreement' has no parameter 'nope'; it takes limit, recipe"):
        catalog.query("disagreement", nope=1)


def test_an_unknown_query_is_reported_with_all_names(catalog):
    with pytest.raises(ConfigError, match=r"no query 'nope'; the queries are: .*summary"):
        catalog.query("nope")


def test_failed_inputs_count_within_their_kind_and_difficulty(tmp_path, build):
    """Of ten inputs of each kind seven are accepted: without the failed ones it would be seven of eight."""
    accepted = [replace(build.make_label(i), status=Status.ACCEPTED) for i in range(400) if i // 2 % 2][:14]
    review = [replace(build.make_label(i), status=Status.REVIEW) for i in range(500, 600) if i // 2 % 2][:2]
    words = {"kind": "relation", "difficulty": "hard"}
    labels = [replace(label, sample=replace(label.sample, **words)) for label in (*accepted, *review)]
    failed = [replace(build.make_rejection(i), **words) for i in range(700, 704)]
    bare = build.make_rejection(710), replace(build.make_rejection(711), source="without words")
    commit_part(tmp_path, PartResult("new", build.RECIPE, (*labels, *failed, *bare), ()))
    with Catalog(tmp_path) as catalog:
        for column, word in words.items():
            found = {row[column]: row for row in rows(catalog, f"acceptance_by_{column}")}
            assert (found[word]["inputs"], found[word]["rejections"], found[word]["accepted"]) == (20, 4, 14)
            assert found[word]["coverage"] == pytest.approx(0.7)
            # What earlier versions wrote has no word: it is shown as unknown where its source has words at all.
            assert {name: row["inputs"] for name, row in found.items()} == {word: 20, "unknown": 1, "": 1}
        rejected = catalog.sql("SELECT kind, difficulty FROM rejections WHERE kind <> ''").to_pylist()
        assert rejected == [words] * 4
