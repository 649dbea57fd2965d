import shutil
from dataclasses import replace

import pytest

from flows.trainings import LabelState, accepted_at_last_training, is_trained, remember, settings, training_key
from ivm_data.engine.labeling import label_manifest, label_part
from ivm_data.engine.labeling_run import prepare
from ivm_data.recipes.labeling_recipes import recipe
from storage.data_set import DataSet
from storage.parts.layout import light_path

HOW = settings("uniform", 0, None)


@pytest.fixture(scope="module")
def run(manifest, tmp_path_factory):
    run = prepare(manifest, tmp_path_factory.mktemp("trainings") / "data", recipe("demo"), part_size=2)
    label_manifest(run)
    return run


def test_the_same_labels_have_the_same_key_wherever_they_lie_and_others_have_another(run, tmp_path):
    labels = LabelState.of(run.data)
    assert labels.recipe == run.recipe_hash
    copy = shutil.copytree(run.data, tmp_path / "copy")
    assert LabelState.of(copy) == labels
    light_path(copy, run.recipe_hash, run.parts[0].name).unlink()
    fewer = LabelState.of(copy)
    assert fewer.digest != labels.digest
    others = [settings("uniform", 1, None), settings("uniform", 0, None, "modern")]
    keys = {training_key(labels, HOW), training_key(fewer, HOW), *(training_key(labels, how) for how in others)}
    assert len(keys) == 4


def test_a_data_set_remembers_what_was_trained_on(run, tmp_path):
    data = shutil.copytree(run.data, tmp_path / "data")
    labels = LabelState.of(data)
    assert accepted_at_last_training(data, labels.recipe) == 0
    assert not is_trained(data, training_key(labels, HOW))
    remember(data, labels, HOW, "checkpoint")
    assert accepted_at_last_training(data, labels.recipe) == labels.accepted
    assert accepted_at_last_training(data, "another") == 0
    assert is_trained(data, training_key(labels, HOW))
    assert not is_trained(data, training_key(labels, settings("clip_sigmoid", 0, None)))
    assert LabelState.of(data) == labels


def test_the_latest_training_counts_though_an_earlier_gate_accepted_more(run, tmp_path):
    data = shutil.copytree(run.data, tmp_path / "data")
    labels = LabelState.of(data)
    for accepted in (labels.accepted + 5, labels.accepted - 1):
        remember(data, replace(labels, accepted=accepted, digest=f"{accepted:016x}"), HOW, "checkpoint")
    assert accepted_at_last_training(data, labels.recipe) == labels.accepted - 1


def test_a_folder_without_labels_has_none(tmp_path):
    assert LabelState.of(tmp_path) == LabelState("", 0, "0" * 16)


def test_labels_are_counted_as_they_are_committed(run, tmp_path, manifest):
    partly = prepare(manifest, tmp_path / "data", run.recipe, part_size=2)
    label_part(partly, partly.parts[0])
    first = LabelState.of(partly.data)
    label_part(partly, partly.parts[1])
    assert LabelState.of(partly.data).accepted >= first.accepted
    assert LabelState.of(partly.data).digest != first.digest


def test_the_labels_of_a_snapshot_are_those_that_were_trained_on(run, tmp_path, manifest):
    partly = prepare(manifest, tmp_path / "data", run.recipe, part_size=2)
    label_part(partly, partly.parts[0])
    first, frozen = LabelState.of(partly.data), DataSet.open(partly.data).freeze()
    label_part(partly, partly.parts[1])
    assert LabelState.of(partly.data, snapshot=frozen.name) == first != LabelState.of(partly.data)
