import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ivm_data.cli.app import app
from ivm_data.exports.run import MARKER, Selection, export
from ivm_data.quality import regate
from ivm_data.quality.judged import evidence
from ivm_data.quality.promised import promised, sentence
from ivm_data.report.build import write_report
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.gates import book
from storage.parts.shards import commit_part
from storage.pixels import rle
from storage.records import MISSING, Drawn, Label, Rejection, Scores, Status
from storage.request import Request
from storage.tables import reviews
from storage.tables.recipes import write_recipe

BUILDERS = Path(__file__).parents[2] / "storage" / "builders.py"
LABELS = 160
RANDOM = Drawn("random")


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("storage_builders", BUILDERS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def labels(build):
    """Labels without a human mask, whose quality rises from 0.4 to 1."""
    made = []
    for seed in range(LABELS):
        label = build.make_label(seed, image_seed=0)
        sample = replace(label.sample, human_mask=None, held_out=False)
        scores = Scores(quality=0.4 + 0.6 * seed / LABELS, understood=1.0, agreement=0.9, area_ratio=0.2)
        request = Request.of(("red ring",))
        accepted = {"status": Status.ACCEPTED, "reason": "ok", "human_iou": MISSING}
        made.append(replace(label, sample=sample, scores=scores, request=request, **accepted))
    return made


def committed(data, build, labels):
    outcomes: tuple[Label | Rejection, ...] = tuple(labels)
    commit_part(data, replace(build.make_part(rows=0), outcomes=outcomes))
    write_recipe(data, build.RECIPE, {"gate": {}})
    return data


@pytest.fixture
def data(tmp_path, build, labels):
    return committed(tmp_path / "data", build, labels)


def review(data, build, labels, verdict="right", drawn=RANDOM, reviewer="ada"):
    for label in labels:
        reviews.append(data, build.RECIPE, label.sample.id, reviewer, verdict, drawn=drawn)


def seen(data, by=""):
    with DataSet.open(data) as opened:
        return evidence(opened, regate.current(opened), by)


def test_reviews_in_random_order_judge_and_no_others_do(data, build, labels):
    review(data, build, labels[:4], drawn=Drawn("informative"))
    review(data, build, labels[4:8], drawn=None)
    review(data, build, labels[8:12], drawn=Drawn("random", status="accepted"))
    review(data, build, labels[12:16], drawn=Drawn("random", above=0.5, quality="another"))
    found = seen(data)
    assert len(found.judged) == 0 and found.seen.tolist() == list(range(16))
    review(data, build, labels[20:25])
    assert seen(data).judged.tolist() == [20, 21, 22, 23, 24]
    review(data, build, labels[30:32], drawn=Drawn("random", source="world"))
    assert len(seen(data).judged) == 5 and len(seen(data, "source").judged) == 7
    with DataSet.open(data) as opened:
        quality = regate.current(opened).quality_hash
    review(data, build, labels[150:152], drawn=Drawn("random", above=0.9, quality=quality))
    assert seen(data).above_J.tolist() == [0, 0, 0, 0, 0, 0.9, 0.9]


def test_only_right_by_all_is_right_and_what_was_taken_back_says_nothing(data, build, labels):
    for verdict, label in zip(("right", "wrong", "wrong_instruction", "unsure", "right"), labels, strict=False):
        review(data, build, [label], verdict)
    review(data, build, labels[4:5], "wrong", reviewer="bo")
    review(data, build, labels[5:6])
    review(data, build, labels[5:6], "withdrawn")
    assert seen(data).right_J.tolist() == [True, False, False, False, False]


def test_held_out_masks_judge_and_those_that_may_teach_do_not(tmp_path, build, labels):
    whole = rle.encode(rle.decode(labels[0].mask))
    for i, held_out in ((0, True), (1, False)):
        sample = replace(labels[i].sample, human_mask=whole, held_out=held_out)
        labels[i] = replace(labels[i], sample=sample, mask=whole, human_iou=1.0)
    found = seen(committed(tmp_path / "data", build, labels))
    assert (found.judged.tolist(), found.seen.tolist(), found.right_K.tolist()) == ([0], [1], [True])


def test_a_promise_without_any_verdict_is_refused_with_what_to_do(data):
    with DataSet.open(data) as opened:
        gate = regate.current(opened)
        with pytest.raises(ConfigError, match=r"nobody reviewed in random order; .*--order random --above .* --limit"):
            promised(opened, gate, 0.9)
        for wrong in (0, 1, 1.5, float("nan")):
            with pytest.raises(ConfigError, match="precision"):
                promised(opened, gate, wrong)


def test_a_promise_by_source_accepts_nothing_where_nobody_looked(data, build, labels):
    photos = [label for label in labels if label.sample.source == "photos"]
    review(data, build, photos, drawn=Drawn("random", source="photos"))
    with DataSet.open(data) as opened:
        found = promised(opened, regate.current(opened), 0.9, by="source")
        pooled = evidence(opened, regate.current(opened), "")
    assert found.gate.accepts["world"] is None and found.gate.accepts["photos"] is not None
    assert len(pooled.judged) == 0
    book.apply(data, found.gate, who="ada")
    with Catalog(data) as catalog:
        rows = catalog.sql("SELECT DISTINCT source FROM labels WHERE status = 'accepted'").to_pylist()
    assert rows == [{"source": "photos"}]


def test_the_command_applies_what_it_can_promise_and_says_it_in_report_and_export(data, build, labels, tmp_path):
    def run(*words):
        return CliRunner().invoke(app, ["gate", "--data", str(data), "--precision", "0.9", *words])

    rng = np.random.default_rng(0)
    refused = run("--apply")
    assert refused.exit_code and not (data / "gates").exists()
    chosen = [labels[i] for i in sorted(rng.choice(LABELS, 90, replace=False))]
    for label in chosen:
        review(data, build, [label], "right" if label.scores.quality > 0.6 else "wrong")
    result = run("--apply", "--name", "promise", "--who", "ada")
    assert result.exit_code == 0, result.output
    with DataSet.open(data) as opened:
        gate = opened.gates[opened.recipe]
    group = gate.promise["groups"][""]
    assert gate.config.accept == group["accept"] and group["bound"] >= 0.9
    told = sentence(gate)
    assert "at least 90 % of the accepted labels are right" in told and gate.hash in told
    assert told in write_report(data, tmp_path / "r.html").read_text()
    export("coco", data, tmp_path / "coco", Selection(), {})
    assert told in (tmp_path / "coco" / "README.md").read_text()
    assert json.loads((tmp_path / "coco" / MARKER).read_text())["promise"]["precision"] == 0.9
    export("coco", data, tmp_path / "coco", Selection(), {})
    with DataSet.open(data) as opened:
        changed = regate.changed(regate.current(opened), {"accept": 0.5})
    assert changed.promise is None and sentence(changed) == ""
