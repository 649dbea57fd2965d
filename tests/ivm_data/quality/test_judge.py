"""A judge on labels of the procedural world, whose noise is known, through the real storage."""

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from typer.testing import CliRunner

from ivm_data.cli.app import app
from ivm_data.quality import regate
from ivm_data.quality.forest import Forest, Growth, grow
from ivm_data.quality.judge import Judge, JudgeConfig, folds_of, teach
from ivm_data.quality.judge_features import FEATURES, features
from ivm_data.quality.judge_readiness import readiness
from ivm_data.quality.judge_training import train_judge
from ivm_data.quality.judging import apply_judge, judge_labels, judged_gate
from ivm_data.quality.verdicts import verdicts
from ivm_data.worlds.world import write_world
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import ConfigError, WeightsError
from storage.gates import book
from storage.gates.gate import Gate, Judged
from storage.parts.shards import commit_part, write_weights
from storage.pixels import rle
from storage.records import Drawn, PartResult, Weight
from storage.tables import reviews

WORLD = Path(__file__).parents[1] / "report" / "conftest.py"
CONFIG = JudgeConfig(trees=20)


@pytest.fixture(scope="session")
def labels(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("report_builders", WORLD)
    builders = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builders)
    root = tmp_path_factory.mktemp("judged")
    manifest = write_world(root / "world", "test", scenes=60, pairs_per_scene=3, human_share=0.5)
    return builders.commit(manifest, root / "data")


@pytest.fixture
def data(labels, tmp_path):
    return shutil.copytree(labels, tmp_path / "data")


def said_of(data):
    with DataSet.open(data, gate=book.WRITTEN) as opened:
        return verdicts(opened), opened.recipe


def taught(data, config=CONFIG):
    return teach(*said_of(data), config)


def qualities(data):
    """Sample id -> quality, in Python and in SQL."""
    with DataSet.open(data) as opened, Catalog(opened) as catalog:
        rows = catalog.sql("SELECT sample_id, quality, status FROM labels").to_pylist()
        in_python = {one.sample.id: (one.scores.quality, one.status) for one in opened.labels()}
    return in_python, {row["sample_id"]: (row["quality"], row["status"]) for row in rows}


@pytest.mark.parametrize("leaf", [1, 7])
def test_a_forest_says_what_scikit_learn_says(leaf):
    rng = np.random.default_rng(0)
    x_NF = rng.random((300, 6))
    right_N = x_NF[:, 2] + 0.3 * rng.standard_normal(300) > 0.6
    forest = grow(x_NF, right_N, Growth(12, leaf, 0.5), seed=3)
    expected = ExtraTreesClassifier(12, min_samples_leaf=leaf, max_features=0.5, random_state=3).fit(x_NF, right_N)
    new_NF = rng.random((80, 6))
    np.testing.assert_allclose(forest.probability(new_NF), expected.predict_proba(new_NF)[:, 1], atol=1e-12)
    again = Forest.of(forest.tensors(), 6)
    np.testing.assert_array_equal(again.probability(new_NF), forest.probability(new_NF))


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("children_M2", (0, 0), 0),
        ("children_M2", (0, 1), 10**6),
        ("feature_M", 0, 6),
        ("roots_T", 0, -1),
        ("share_M", 0, 2),
    ],
)
def test_tensors_that_are_no_forest_are_refused(name, index, value):
    rng = np.random.default_rng(1)
    x_NF = rng.random((60, 6))
    tensors = grow(x_NF, x_NF[:, 0] > 0.5, Growth(3, 2, 1.0), seed=0).tensors()
    tensors[name] = tensors[name].copy()
    tensors[name][index] = value
    with pytest.raises(ValueError, match="no forest over 6 columns"):
        Forest.of(tensors, 6)


def test_human_masks_teach_but_for_those_that_are_held_out(data):
    said, _ = said_of(data)
    with DataSet.open(data) as opened:
        known = {
            one.sample.id: one.human_iou >= 0.5 if one.proposals else rle.area(one.sample.human_mask) == 0
            for one in opened.labels()
            if one.sample.human_mask and not one.sample.held_out
        }
        held = sum(one.sample.held_out for one in opened.labels())
    assert held and {row["sample_id"]: right for row, right in zip(said.rows, said.right_N, strict=True)} == known


def test_reviews_outweigh_human_masks_and_those_in_random_order_do_not_teach(data):
    before, recipe = said_of(data)
    with DataSet.open(data) as opened:
        held = [one for one in opened.labels() if one.sample.held_out and one.proposals][:3]
    wrong, odd = (before.rows[i]["sample_id"] for i in np.flatnonzero(before.right_N)[:2])
    for name, verdict in ((wrong, "wrong"), (odd, "wrong_instruction"), (held[0].sample.id, "right")):
        reviews.append(data, recipe, name, "ada", verdict)
    mended = next(row["sample_id"] for row, right in zip(before.rows, before.right_N, strict=True) if not right)
    with DataSet.open(data) as opened:
        reviews.append(data, recipe, mended, "ada", "wrong", mask=opened.masks([mended])[mended])
    reviews.append(data, recipe, held[1].sample.id, "ada", "right", drawn=Drawn("random"))
    after, _ = said_of(data)
    now = {row["sample_id"]: bool(right) for row, right in zip(after.rows, after.right_N, strict=True)}
    assert now[wrong] is False and odd not in now and now[mended] is True
    assert not now.keys() & {one.sample.id for one in held} and after.kept == 1
    assert after.by == {"human mask": len(before.rows) - 3, "wrong": 1, "fixed": 1}


def test_no_label_is_judged_by_what_its_image_taught(data):
    said, recipe = said_of(data)
    fold_N = folds_of(said.rows, CONFIG.folds)
    before_N, judged_N = teach(said, recipe, CONFIG).judge(said.rows)
    assert (judged_N == fold_N).all() and len(set(fold_N.tolist())) == CONFIG.folds
    shas = {
        fold: {row["image_sha"] for row, f in zip(said.rows, fold_N, strict=True) if f == fold} for fold in range(5)
    }
    assert all(not shas[a] & shas[b] for a in shas for b in shas if a != b)
    other = replace(said, right_N=np.where(fold_N == 2, ~said.right_N, said.right_N))
    after_N, _ = teach(other, recipe, CONFIG).judge(said.rows)
    np.testing.assert_array_equal(after_N[fold_N == 2], before_N[fold_N == 2])
    assert not np.allclose(after_N[fold_N != 2], before_N[fold_N != 2])


def test_frames_of_an_episode_are_judged_alike():
    rows = [{"episode": "a", "image_sha": str(n)} for n in range(9)]
    assert len(set(folds_of(rows, 5).tolist())) == 1
    assert len(set(folds_of([row | {"episode": None} for row in rows], 5).tolist())) > 1


def test_with_few_verdicts_the_quality_weighs_most(data):
    said, recipe = said_of(data)
    quality_N = np.array([row["quality"] for row in said.rows])
    far = [
        np.abs(teach(said, recipe, replace(CONFIG, prior=prior)).judge(said.rows)[0] - quality_N).mean()
        for prior in (0.0, 100.0, 1e9)
    ]
    assert far[0] > far[1] > far[2] and far[2] < 1e-3


def test_a_missing_score_is_no_number_in_the_unit_interval(data):
    said, _ = said_of(data)
    x_NF = features([dict(said.rows[0]) | {"presence": None, "things": None, "candidates": None}])
    assert x_NF.shape == (1, len(FEATURES)) and np.isfinite(x_NF).all()
    assert x_NF[0, FEATURES.index("presence")] == x_NF[0, FEATURES.index("things")] == -1


def test_too_few_verdicts_are_refused_with_what_is_missing(data):
    with pytest.raises(ConfigError, match=r"needs 5000 verdicts .*, 5 right and 5 wrong .* got \d+ right and \d+"):
        taught(data, JudgeConfig(least=5000))


def test_a_saved_judge_is_the_same_judge_and_a_damaged_one_is_refused(data, tmp_path):
    judge, (said, _) = taught(data), said_of(data)
    judge.save(tmp_path / "judge", "card")
    again = Judge.load(tmp_path / "judge")
    assert again.name == judge.name and again.by == judge.by
    np.testing.assert_array_equal(again.judge(said.rows)[0], judge.judge(said.rows)[0])
    assert taught(data, replace(CONFIG, seed=1)).name != judge.name
    facts = json.loads((tmp_path / "judge" / "judge.json").read_text())
    for broken in ({**facts, "features": facts["features"][1:]}, {**facts, "taught": [1]}, {"recipe": "x"}, []):
        (tmp_path / "judge" / "judge.json").write_text(json.dumps(broken))
        with pytest.raises(WeightsError, match="make one with 'ivm train-judge"):
            Judge.load(tmp_path / "judge")


def test_every_label_is_judged_once_and_a_gate_that_stands_on_it_can_be_taken_back(data):
    written, _ = qualities(data)
    judge = taught(data)
    assert judge_labels(data, judge) == len(written) and judge_labels(data, judge) == 0
    gate = apply_judge(data, judge, who="ada")
    in_python, in_sql = qualities(data)
    assert in_python == in_sql and sum(in_python[name] != written[name] for name in written) > len(written) / 2
    with DataSet.open(data) as opened:
        assert Gate.from_dict(gate.to_dict()) == gate == opened.gates[gate.recipe]
        assert opened.gates[gate.recipe].quality == Judged(judge.name, judge.verdicts, judge.config.anew)
        snapshot = opened.freeze().name
    with DataSet.open(data, snapshot=snapshot) as frozen:
        assert {one.sample.id: one.scores.quality for one in frozen.labels()} == {
            k: q for k, (q, _) in in_python.items()
        }
    book.undo(data, gate.recipe, who="ada")
    assert qualities(data) == (written, written)


def test_a_label_that_the_judge_has_not_seen_keeps_its_quality_until_it_has(data, make):
    judge = taught(data)
    judge_labels(data, judge)
    late = make("late", human=None)
    lineage = replace(late.lineage, recipe=judge.recipe)
    late = replace(late, lineage=lineage, scores=replace(late.scores, quality=0.4321))
    commit_part(data, PartResult("late", judge.recipe, (late,), ()))
    apply_judge(data, judge, who="ada")
    in_python, in_sql = qualities(data)
    assert in_python[late.sample.id][0] == in_sql[late.sample.id][0] == 0.4321
    assert judge_labels(data, judge) == 1
    in_python, in_sql = qualities(data)
    assert in_python == in_sql and in_python[late.sample.id][0] != 0.4321


def test_an_opinion_is_of_a_row_and_not_of_the_one_that_takes_its_place(data):
    judge = taught(data)
    judge_labels(data, judge)
    apply_judge(data, judge, who="ada")
    with DataSet.open(data) as opened:
        old = next(one for one in opened.labels() if one.proposals)
        part = opened.at(judge.recipe).light_of and next(iter(opened.light_of))[1]
    new = replace(old, scores=replace(old.scores, quality=0.1234))
    commit_part(data, PartResult(f"{part}@2", judge.recipe, (new,), ()))
    in_python, in_sql = qualities(data)
    assert in_python[old.sample.id][0] == in_sql[old.sample.id][0] == 0.1234
    write_weights(data, judge.name, f"{part}@2", [Weight(old.sample.id, judge.recipe, judge.name, 0.77, 0)])
    in_python, in_sql = qualities(data)
    assert in_python[old.sample.id][0] == in_sql[old.sample.id][0] == 0.77


def test_a_judge_of_another_recipe_is_refused(data):
    judge = replace(taught(data), recipe="another")
    with DataSet.open(data) as opened, pytest.raises(ConfigError, match="the judge learned labels of recipe another"):
        judged_gate(regate.current(opened), judge)
    with pytest.raises(ConfigError, match="no labels of recipe 'another'"):
        judge_labels(data, judge)


def test_what_is_missing_counts_from_the_judge_that_decides(data, tmp_path):
    with DataSet.open(data) as opened:
        known = len(said_of(data)[0].rows)
        first = readiness(opened, JudgeConfig(least=known + 7))
        assert (first.verdicts, first.more, first.text) == (known, 7, "7 more verdicts and the judge is trained")
        assert readiness(opened, JudgeConfig(least=50)).text == f"{known} verdicts: train the judge now"
    done = train_judge(data, tmp_path / "judge", config=replace(CONFIG, anew=33))
    with DataSet.open(data) as opened:
        assert readiness(opened, replace(CONFIG, anew=9), tmp_path / "judge").more == 9
    apply_judge(data, done.judge, who="ada")
    with DataSet.open(data) as opened:
        assert readiness(opened).text == "33 more verdicts and the judge is trained anew"


def test_the_command_teaches_a_judge_and_the_gate_stands_on_it(data, tmp_path):
    out = tmp_path / "judge"
    run = lambda *words: CliRunner().invoke(app, [str(word) for word in words])  # noqa: E731
    done = run("train-judge", "--data", data, "--out", out, "--set", "trees=20")
    assert done.exit_code == 0, done.output
    judge = Judge.load(out)
    assert judge.name in done.output and "look at what it changes" in done.output.replace("\n", " ")
    assert judge.name in (out / "README.md").read_text()
    assert not (data / "gates").exists()
    seen = run("gate", "--data", data, "--judge", out)
    assert seen.exit_code == 0 and not (data / "gates").exists()
    assert run("gate", "--data", data, "--judge", out, "--apply").exit_code == 0
    with DataSet.open(data) as opened:
        assert opened.gates[judge.recipe].quality == Judged(judge.name, judge.verdicts, judge.config.anew)
    assert run("train-judge", "--data", data, "--out", out, "--set", "trees=20", "--apply").exit_code == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["train-judge", "--out", "DATA"], "data set"),
        (["train-judge", "--out", "OUT", "--set", "tree=3"], "no field 'tree'"),
        (["train-judge", "--out", "OUT", "--set", "least=5000"], "a judge needs 5000 verdicts"),
        (["gate", "--judge", "OUT"], "there is no judge in 'OUT'"),
        (["gate", "--judge", "OUT", "--calibration", "written"], "give 'calibration' or 'judge'"),
    ],
)
def test_wrong_usages_are_told_and_write_nothing(data, tmp_path, words, why):
    named = {"DATA": str(data), "OUT": str(tmp_path / "judge")}
    result = CliRunner().invoke(app, [named.get(word, word) for word in words] + ["--data", str(data)])
    said = str(result.exception).replace(named["OUT"], "OUT")
    assert result.exit_code and why in said
    assert not (data / "weights").exists() and not (tmp_path / "judge").exists()
