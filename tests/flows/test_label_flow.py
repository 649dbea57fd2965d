"""The label flow on a real server, with the embedded experts and real shards."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter, LogFilterFlowRunId
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter

from flows.label import LABELS_READY, label, label_one
from flows.label_artifacts import QUALITY_QUERIES
from ivm_data.engine.labeling_run import prepare
from ivm_data.recipes.labeling_recipes import recipe
from storage.catalog import Catalog
from storage.parts.layout import heavy_path, light_path
from storage.parts.shards import is_committed
from storage.upkeep.digest import content_hash

pytestmark = pytest.mark.usefixtures("prefect_server")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def plan(manifest, tmp_path):
    """Three parts of two pairs, planned into a folder of their own."""
    return prepare(manifest, tmp_path / "plan", recipe("demo"), part_size=2)


@pytest.fixture(scope="module")
def finished(manifest, tmp_path_factory):
    """A data set that one undisturbed flow run made, and that run."""
    data = tmp_path_factory.mktemp("finished") / "data"
    state = label(manifest, data, part_size=2, concurrency=2, return_state=True)
    return data, state


@pytest.fixture
def copy(finished, tmp_path):
    """A data set of one's own, to damage."""
    return Path(shutil.copytree(finished[0], tmp_path / "data"))


@pytest.fixture(scope="module")
def runs_of(settled):
    """Gives the parts that a flow run made tasks of."""

    def runs_of(state):
        with get_client(sync_client=True) as client:
            only = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
            runs = settled(lambda: client.read_task_runs(flow_run_filter=only))
        return {run.name for run in runs if not run.name.startswith("asset ")}

    return runs_of


def artifacts_of(state):
    with get_client(sync_client=True) as client:
        only = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
        return {artifact.key: artifact for artifact in client.read_artifacts(flow_run_filter=only, limit=50)}


def test_a_task_labels_a_part_once_without_any_server(plan):
    first = label_one.fn(plan, plan.parts[0])
    assert (first.fresh, first.rows) == (True, 2)
    assert is_committed(plan.data, plan.recipe_hash, plan.parts[0].name)
    assert not label_one.fn(plan, plan.parts[0]).fresh


def test_every_part_is_a_task_and_every_pair_ends_in_a_shard(finished, plan, runs_of):
    data, state = finished
    assert state.is_completed()
    assert runs_of(state) == {part.name for part in plan.parts}
    with Catalog(data) as catalog:
        (summary,) = catalog.query("summary").to_pylist()
    assert summary["inputs"] == 6


def test_the_flow_makes_the_same_rows_as_the_plain_loop(finished, plan):
    for part in plan.parts:
        label_one.fn(plan, part)
    assert content_hash(finished[0]) == content_hash(plan.data)


def test_progress_quality_picture_and_recipe_are_there_to_look_at(finished):
    artifacts = artifacts_of(finished[1])
    tables = {f"label-{name.replace('_', '-')}" for name in QUALITY_QUERIES}
    assert set(artifacts) == tables | {"label-progress", "label-recipe", "label-contact-sheet"}
    assert artifacts["label-progress"].data == 100
    assert "| 3/3 | 6/6 |" in artifacts["label-progress"].description
    assert artifacts["label-contact-sheet"].data.startswith("data:image/jpeg;base64,")
    assert "flowchart LR" in artifacts["label-recipe"].data
    assert '"inputs": 6' in artifacts["label-summary"].data


def test_the_run_says_what_it_does(finished):
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(finished[1].state_details.flow_run_id)
    assert re.fullmatch(r"world\d* by demo into data", run.name)


def test_what_the_libraries_log_is_in_the_log_of_the_run(finished, plan, settled):
    with get_client(sync_client=True) as client:
        only = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[finished[1].state_details.flow_run_id]))
        messages = [each.message for each in settled(lambda: client.read_logs(only, limit=200))]
    for part in plan.parts:
        assert [text for text in messages if text.startswith(f"committed part {part.name}: 2 inputs in ")]


def test_labels_ready_is_reported_with_what_training_needs(finished, settled):
    data, state = finished
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(state.state_details.flow_run_id)
        wanted = EventFilter(
            event=EventNameFilter(name=[LABELS_READY]), occurred=EventOccurredFilter(since=flow_run.start_time)
        )
        body = {"filter": wanted.model_dump(mode="json"), "limit": 10}
        events = settled(lambda: client._client.post("/events/filter", json=body).json()["events"])
    (event,) = [e for e in events if e["payload"]["data"] == str(data)]
    assert event["payload"]["inputs"] == 6
    assert light_path(data, event["payload"]["recipe"], "x").parent.is_dir()
    (deployment,) = [d for d in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"] if "triggers" in d]
    needed = re.findall(r"event\.payload\.(\w+)", str(deployment["triggers"]))
    assert needed
    assert set(needed) <= set(event["payload"])


def test_a_second_run_submits_only_the_part_that_is_missing(copy, manifest, plan, finished, runs_of):
    kept, lost = (light_path(copy, plan.recipe_hash, plan.parts[i].name) for i in (0, 1))
    lost.unlink()
    written = kept.stat().st_mtime_ns
    state = label(manifest, copy, part_size=2, return_state=True)
    assert runs_of(state) == {plan.parts[1].name}
    # The counts are the manifest's, not those of the one part that this run labeled.
    first, again = (artifacts_of(one)["label-progress"].description for one in (finished[1], state))
    assert again.split(" | ")[:-2] == first.split(" | ")[:-2]
    assert kept.stat().st_mtime_ns == written
    assert content_hash(copy) == content_hash(finished[0])


def test_a_part_that_fails_stops_no_other_and_the_next_run_commits_it(copy, manifest, plan, finished):
    shutil.rmtree(copy / "labels")
    bad = plan.parts[0].name
    obstacle = heavy_path(light_path(copy, plan.recipe_hash, bad))
    obstacle.mkdir(parents=True)
    state = label(manifest, copy, part_size=2, concurrency=1, return_state=True)
    assert state.is_failed()
    assert f"1 of 3 parts failed, all others are committed:\n  {bad}: " in state.message
    committed = [is_committed(copy, plan.recipe_hash, part.name) for part in plan.parts]
    assert committed == [False, True, True]
    obstacle.rmdir()
    assert label(manifest, copy, part_size=2, return_state=True).is_completed()
    assert content_hash(copy) == content_hash(finished[0])


def test_a_stage_that_rejects_nearly_everything_stops_the_flow_with_nothing_committed(manifest, tmp_path, runs_of):
    asked = {"part_size": 2, "concurrency": 1, "image_root": tmp_path, "return_state": True}
    state = label(manifest, tmp_path / "data", guard={"input_rows": 3}, **asked)
    assert state.is_failed()
    assert "2 of 3 parts failed, 1 were not tried any more" in state.message
    assert "stage 'ingest' rejects 4 of the 4 inputs that reached it as 'image_missing'" in state.message
    assert not list((tmp_path / "data").rglob("*.light.parquet"))
    assert label(manifest, tmp_path / "data", allow_rejections=True, **asked).is_completed()
    assert len(list((tmp_path / "data").rglob("*.light.parquet"))) == 3


def test_a_recipe_that_cannot_work_fails_before_any_task(tmp_path, manifest):
    state = label(manifest, tmp_path / "data", overrides={"gate.akzept": 1}, return_state=True)
    assert state.is_failed()
    assert "no field 'akzept'" in state.message
    assert not (tmp_path / "data").exists()
