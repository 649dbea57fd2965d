"""The flows around labeling and training, on a real data set and a real server."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from flows.compact import compact
from flows.evaluate import evaluate_data
from flows.gate import gate
from flows.inbox import label_inbox, manifests
from flows.label_artifacts import NAMED, rejected_samples
from flows.report import report
from flows.train import train
from flows.train_judge import train_judge
from flows.train_when_ready import train_when_ready
from flows.trainings import LabelState, accepted_at_last_training
from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.outputs import check
from ivm_data.quality.judge import Judge
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world
from ivm_model.model.checkpoint import read_config
from storage.data_set import DataSet
from storage.gates.gate import Judged
from storage.upkeep.digest import content_hash

BUILDERS = Path(__file__).parents[1] / "ivm_data" / "report" / "conftest.py"

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def labeled(manifest, tmp_path_factory):
    """A data set of three parts, made without Prefect."""
    run = prepare(manifest, tmp_path_factory.mktemp("labeled") / "data", recipe("demo"), part_size=2)
    label_manifest(run)
    return run


def artifacts_of(state):
    with get_client(sync_client=True) as client:
        only = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
        return {artifact.key: artifact for artifact in client.read_artifacts(flow_run_filter=only)}


def test_labels_without_a_checkpoint_are_scored_by_kind(labeled):
    state = evaluate_data(labeled.data, test_share=0.9, return_state=True)
    rows = json.loads(artifacts_of(state)["evaluate-scores"].data)
    assert rows[0]["kind"] == "all"
    assert rows[0]["giou"] == rows[0]["labels_giou"] == pytest.approx(state.result(), abs=1e-3)
    assert sum(row["count"] for row in rows[1:]) == rows[0]["count"]


@pytest.mark.slow
def test_a_checkpoint_is_scored_beside_the_labels_and_its_training_is_remembered(labeled, tmp_path):
    data = shutil.copytree(labeled.data, tmp_path / "data")
    small = {"generator.steps": 2, "generator.batch": 2, "rows.test_share": 0.9}
    checkpoint = Path(train(data, weighting="uniform", overrides=small))
    check("train", checkpoint, data)
    refused = train(data, data / "labels", weighting="uniform", overrides=small, return_state=True)
    assert refused.is_failed() and "lies in the data set" in refused.message
    assert accepted_at_last_training(data, labeled.recipe_hash) == LabelState.of(data).accepted
    state = evaluate_data(data, checkpoint, test_share=0.9, return_state=True)
    overall = json.loads(artifacts_of(state)["evaluate-scores"].data)[0]
    assert overall["giou"] == pytest.approx(state.result(), abs=1e-3)
    assert overall["giou"] != overall["labels_giou"]


def test_nothing_to_score_is_said(labeled):
    state = evaluate_data(labeled.data, test_share=0, return_state=True)
    assert state.is_failed()
    assert "no row with held-out truth" in state.message


def test_the_report_lies_in_the_data_set_by_default(labeled):
    state = report(labeled.data, return_state=True)
    page = Path(state.result())
    assert page == labeled.data / "report.html"
    assert page.read_text().startswith("<!doctype html>")
    assert str(page) in artifacts_of(state)["report-page"].data


def test_compaction_joins_the_files_and_keeps_the_labels(labeled, tmp_path):
    data = shutil.copytree(labeled.data, tmp_path / "data")
    before = content_hash(data), LabelState.of(data)
    state = compact(data, return_state=True)
    assert state.result() == 1
    assert (content_hash(data), LabelState.of(data)) == before
    (row,) = json.loads(artifacts_of(state)["compact-files"].data)
    assert (row["before"], row["after"], row["rows"]) == (3, 1, 6)


def test_a_gate_is_looked_at_applied_and_taken_back(labeled, tmp_path):
    data = shutil.copytree(labeled.data, tmp_path / "data")
    before = LabelState.of(data)
    state = gate(data, accept=0.0, reject=0.0, thresholds={"min_understood": 0}, return_state=True)
    shown = artifacts_of(state)
    assert LabelState.of(data) == before and {"gate-by-source", "gate-by-kind", "gate-sides"} <= set(shown)
    total = json.loads(shown["gate-by-source"].data)[-1]
    assert (
        total["accepted"] == before.accepted and total["labels"] == total["accepted_after"] + total["no_target_after"]
    )
    assert ("gate-contact-sheet" in shown) == bool(json.loads(shown["gate-changed"].data))

    applied = gate(data, accept=0.0, reject=0.0, thresholds={"min_understood": 0}, name="all", apply=True)
    assert applied == state.result() and LabelState.of(data).accepted == total["accepted_after"]
    assert train_when_ready(data, at_least=500, return_state=True).message == (
        f"not enough new labels: {total['accepted_after']} of 500"
    )
    assert gate(data, undo=True) == "written" and LabelState.of(data) == before


@pytest.mark.slow
def test_a_judge_waits_for_verdicts(labeled, tmp_path):
    data = shutil.copytree(labeled.data, tmp_path / "data")
    assert train_judge(tmp_path / "none", return_state=True).name == "NothingLabeled"
    waits = train_judge(data, return_state=True)
    assert waits.name == "TooFewVerdicts" and "more verdicts and the judge is trained" in waits.message
    assert not (data / "checkpoints").exists() and not (data / "weights").exists()


def test_a_judge_learns_once_from_the_same_verdicts_and_decides_the_quality(tmp_path):
    spec = importlib.util.spec_from_file_location("report_builders", BUILDERS)
    builders = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builders)
    manifest = write_world(tmp_path / "world", "test", scenes=60, pairs_per_scene=3, human_share=0.5)
    data = builders.commit(manifest, tmp_path / "data")
    state = train_judge(data, overrides={"trees": 20, "anew": 17}, apply=True, return_state=True)
    judge = Judge.load(data / "checkpoints" / "judge")
    assert state.name == "Applied" and judge.name in state.message
    rows = json.loads(artifacts_of(state)["judge-verdicts"].data)
    assert rows[0]["of"] == "all" and rows[0]["verdicts"] == judge.verdicts
    with DataSet.open(data) as opened:
        assert opened.gates[opened.recipe].quality == Judged(judge.name, judge.verdicts, 17)
    again = train_judge(data, overrides={"trees": 20}, apply=True, return_state=True)
    assert (again.name, again.message) == ("TooFewVerdicts", "17 more verdicts and the judge is trained anew")


def test_a_gate_without_a_wish_or_with_one_that_contradicts_itself_fails_with_what_to_do(labeled):
    for wish, why in (
        ({}, "say what to decide"),
        ({"accept": 0.2, "reject": 0.5}, "needs reject <= accept"),
        ({"precision": 0.9, "accept": 0.5}, "give 'accept' or 'precision'"),
        ({"name": "none"}, "no gate 'none'"),
    ):
        state = gate(labeled.data, **wish, return_state=True)
        assert state.is_failed() and why in state.message, (wish, state.message)


def test_too_few_labels_start_no_training(labeled):
    state = train_when_ready(labeled.data, at_least=500, return_state=True)
    assert state.name == "TooFewLabels"
    assert state.message == f"not enough new labels: {LabelState.of(labeled.data).accepted} of 500"


def test_a_data_set_that_does_not_exist_yet_is_no_failure(tmp_path):
    assert train_when_ready(tmp_path / "none", return_state=True).name == "NothingLabeled"


def test_only_manifests_that_nobody_hides_are_taken_from_an_inbox(tmp_path):
    for name in ("a.jsonl", "b/c.csv", ".d.jsonl", "e/.f/g.jsonl", "h.txt", "i.jsonl.part"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert [str(path.relative_to(tmp_path)) for path in manifests(tmp_path)] == ["a.jsonl", "b/c.csv"]


def test_a_manifest_that_is_still_being_written_is_left_alone(tmp_path):
    (tmp_path / "new.jsonl").write_text("")
    state = label_inbox(tmp_path, tmp_path / "data", quiet_s=3600, return_state=True)
    assert state.message == f"1 manifests in '{tmp_path}', 1 of them being written"
    assert not (tmp_path / "data").exists()


def test_rejected_samples_are_named_up_to_a_limit(tmp_path, manifest):
    lines = manifest.read_text().splitlines()[:1]
    broken = [
        json.dumps({"image": f"images/missing{i}.png", "instruction": "Find the ring."}) for i in range(NAMED + 3)
    ]
    mixed = manifest.with_name("mixed.jsonl")
    mixed.write_text("\n".join(lines + broken) + "\n")
    run = prepare(mixed, tmp_path / "data", recipe("demo"), part_size=64)
    (summary,) = label_manifest(run)
    listed = rejected_samples(run, summary)
    assert len(listed) == NAMED + 1
    assert "'images/missing0.png': image_missing at ingest" in listed[0]
    assert listed[-1].startswith(f"{run.parts[0].name}: 3 more; ivm query")


@pytest.mark.slow
def test_a_deployment_trains_on_the_base_models_that_are_chosen(labeled, tmp_path, tiny):
    tiny.sam2(tmp_path / "sam")
    tiny.qwen3_vl(tmp_path / "lmm")
    data = shutil.copytree(labeled.data, tmp_path / "data")
    bases = {"sam": str(tmp_path / "sam"), "lmm": str(tmp_path / "lmm"), "inputs.grid": 2}
    small = {"generator.steps": 2, "generator.batch": 2, "rows.test_share": 0.9} | bases
    checkpoint = Path(train(data, models="modern", weighting="verification_ratio", overrides=small))
    assert checkpoint.name == "modern-verification_ratio-0"
    settings = read_config(checkpoint)["model"]
    assert settings["sam"] == bases["sam"] and settings["inputs"]["frame"] == "stretch"
