"""prefect.yaml and prefect.toml say what Prefect and the flows understand; a server is not needed for that."""

import re
import tomllib
from inspect import signature
from pathlib import Path
from typing import get_args

import pytest
import yaml
from prefect import Flow
from prefect.events import DeploymentEventTrigger
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import Settings, get_current_settings
from prefect.utilities.callables import parameter_schema

from flows.label import LABELS_READY, RecipeName
from flows.train import Weighting
from ivm_data.recipes import RECIPES
from ivm_model.weighting import WEIGHTINGS

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = {each["name"]: each for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}


def load(name) -> Flow:
    return load_flow_from_entrypoint(str(ROOT / DEPLOYMENTS[name]["entrypoint"]))


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_parameter_has_a_description_for_the_form(name):
    properties = parameter_schema(load(name)).properties
    assert properties
    assert [key for key, value in properties.items() if not value.get("description")] == []


def test_choices_in_the_form_are_what_the_engine_knows():
    assert set(get_args(RecipeName)) == set(RECIPES)
    assert set(get_args(Weighting)) == set(WEIGHTINGS)
    field = parameter_schema(load("label-batch")).properties["recipe"]
    assert field.get("enum", [field.get("const")]) == list(RECIPES)


def test_numbers_in_the_form_have_their_bounds():
    properties = parameter_schema(load("label-batch")).properties
    assert {properties[name]["exclusiveMinimum"] for name in ("part_size", "concurrency")} == {0}


def test_training_waits_for_the_event_that_labeling_emits_and_takes_what_its_payload_holds():
    (trigger,) = DEPLOYMENTS["train-dwsl"]["triggers"]
    assert DeploymentEventTrigger.model_validate(trigger).expect == {LABELS_READY}
    assert trigger["match_related"]["prefect.resource.name"] in DEPLOYMENTS
    assert set(trigger["parameters"]) <= set(signature(load("train-dwsl").fn).parameters)


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
        assert found == value, ".".join(path)


def test_nothing_is_reported_to_anybody_while_testing():
    assert get_current_settings().server.analytics_enabled is False


def leaves(tree, path=()):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value
