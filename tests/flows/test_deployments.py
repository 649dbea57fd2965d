"""prefect.yaml and prefect.toml say what Prefect and the flows understand; a server is not needed for that."""

import re
import tomllib
from datetime import timedelta
from inspect import signature
from pathlib import Path
from typing import get_args

import pytest
import yaml
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.events import DeploymentEventTrigger
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import Settings, get_current_settings
from prefect.utilities.callables import parameter_schema

from flows.choices import BaseModels, RecipeName, Weighting
from flows.gate import GATE_APPLIED
from flows.inbox import LABELING
from flows.label import LABELS_READY
from flows.serve import deployments
from flows.server import Server, is_section, variables
from flows.train_when_ready import TRAINING
from ivm_data.recipes.labeling_recipes import RECIPES
from ivm_data.recipes.training_recipes import RECIPES as TRAINING_RECIPES
from ivm_model.weighting.weightings import WEIGHTINGS

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = {each["name"]: each for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}


def load(name) -> Flow:
    return load_flow_from_entrypoint(DEPLOYMENTS[name]["entrypoint"])


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_parameter_has_a_description_for_the_form(name):
    properties = parameter_schema(load(name)).properties
    assert properties
    assert [key for key, value in properties.items() if not value.get("description")] == []


def test_choices_in_the_form_are_what_the_engine_knows():
    assert set(get_args(RecipeName)) == set(RECIPES)
    assert set(get_args(Weighting)) == set(WEIGHTINGS)
    assert set(get_args(BaseModels)) == set(TRAINING_RECIPES)
    for name in ("train-dwsl", "train-when-ready", "label-and-train"):
        assert set(parameter_schema(load(name)).properties["models"]["enum"]) == set(TRAINING_RECIPES)
    field = parameter_schema(load("label-batch")).properties["recipe"]
    assert field.get("enum", [field.get("const")]) == list(RECIPES)


def test_numbers_in_the_form_have_their_bounds():
    properties = parameter_schema(load("label-batch")).properties
    assert {properties[name]["exclusiveMinimum"] for name in ("part_size", "concurrency")} == {0}
    share = parameter_schema(load("evaluate")).properties["test_share"]
    assert (share["minimum"], share["exclusiveMaximum"]) == (0, 1)


def test_flows_start_deployments_that_exist():
    known = {f"{load(name).name}/{name}" for name in DEPLOYMENTS}
    assert {TRAINING, LABELING} <= known


def test_serving_makes_the_same_deployments_without_a_work_pool(monkeypatch):
    monkeypatch.chdir(ROOT)
    served = {each.name: each for each in deployments()}
    assert set(served) == set(DEPLOYMENTS)
    for name, given in DEPLOYMENTS.items():
        assert served[name].work_pool_name is None
        assert served[name].entrypoint == given["entrypoint"]
        assert served[name].parameters == given.get("parameters", {})
        assert [each.slug for each in served[name].schedules] == [each["slug"] for each in given.get("schedules", [])]
        assert len(served[name].triggers) == len(given.get("triggers", []))


def test_the_server_turns_a_schedule_into_runs(prefect_server, monkeypatch):
    # Prefect 3.8.8 cannot do it with SQLAlchemy 2.1: the server logs an error a minute, and nothing is ever scheduled.
    monkeypatch.chdir(ROOT)
    inbox = next(each for each in deployments() if each.name == "label-inbox").apply()
    with get_client(sync_client=True) as client:
        client._client.post(f"/deployments/{inbox}/schedule", json={}).raise_for_status()
        only = DeploymentFilter(id=DeploymentFilterId(any_=[inbox]))
        runs = client.read_flow_runs(deployment_filter=only)
    assert {run.state_name for run in runs} == {"Scheduled"}


def test_the_checkpoint_of_an_evaluation_is_optional_and_that_of_the_form_a_path():
    checkpoint = parameter_schema(load("evaluate")).properties["checkpoint"]
    assert {each.get("format", each["type"]) for each in checkpoint["anyOf"]} == {"path", "null"}


def test_training_waits_for_the_events_of_labeling_and_gates_and_takes_what_their_payloads_hold():
    triggers = DEPLOYMENTS["train-when-ready"]["triggers"]
    expected = [DeploymentEventTrigger.model_validate(trigger).expect for trigger in triggers]
    assert expected == [{LABELS_READY}, {GATE_APPLIED}]
    for trigger in triggers:
        assert trigger["match_related"]["prefect.resource.name"] in DEPLOYMENTS
        assert set(trigger["parameters"]) <= set(signature(load("train-when-ready").fn).parameters)


def test_no_file_of_the_deployment_names_a_folder_of_one_machine():
    for name in ("prefect.yaml", "prefect.toml"):
        assert not re.search(r"(?<![\w.:}/])/(work|root|home|tmp|Users)\b", (ROOT / name).read_text())


def test_every_setting_in_prefect_toml_is_known_to_prefect_and_in_force(monkeypatch):
    monkeypatch.chdir(ROOT)
    settings = Settings()
    for path, value in leaves(tomllib.loads((ROOT / "prefect.toml").read_text())):
        found = settings
        for name in path:
            assert name in type(found).model_fields, ".".join(path)
            found = getattr(found, name)
        assert found == in_force(value), ".".join(path)


def test_where_prefect_reads_no_prefect_toml_its_settings_are_handed_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = tomllib.loads((ROOT / "prefect.toml").read_text())
    for name, value in variables(settings):
        monkeypatch.setenv(name, value)
    for path, value in leaves(settings):
        found = Settings()
        for name in path:
            found = getattr(found, name)
        assert found == in_force(value), ".".join(path)
    monkeypatch.setenv("PREFECT_WORKER_QUERY_SECONDS", "7")
    assert Server(tmp_path, 4200).environment()["PREFECT_WORKER_QUERY_SECONDS"] == "7"


def test_nothing_is_reported_to_anybody_while_testing():
    assert get_current_settings().server.analytics_enabled is False


def leaves(tree, path=()):
    for key, value in tree.items():
        if is_section(value):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def in_force(value):
    """What Prefect makes of a setting: seconds by event become durations."""
    return {event: timedelta(seconds=seconds) for event, seconds in value.items()} if isinstance(value, dict) else value
