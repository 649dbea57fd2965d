import json
import shutil
from pathlib import Path

import pytest

import ivm_data.zoo
from ivm_data.experts.grounders.grounding_dino import GroundingDino, GroundingDinoConfig
from ivm_data.experts.segmenters.sam import Sam, SamConfig
from ivm_model.model.base_models import checkpoint_name
from storage.errors import WeightsError

WEIGHTS = Path(ivm_data.zoo.__file__).parent / "weights"
EXPERTS = {
    "segmenter": lambda path: Sam(SamConfig(str(path))),
    "grounder": lambda path: GroundingDino(GroundingDinoConfig(str(path))),
}


@pytest.fixture(params=sorted(EXPERTS))
def broken(request, tmp_path):
    """A copy of a committed checkpoint to damage, and the expert that will read it."""
    copy = shutil.copytree(WEIGHTS / request.param, tmp_path / request.param)
    return copy, EXPERTS[request.param](copy)


def test_a_name_changes_with_the_weights(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, content in ((first, b"1"), (second, b"2")):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(content)
    names = [checkpoint_name(str(folder), "") for folder in (first, second)]
    assert names[0].startswith("a@") and names[0].split("@")[1] != names[1].split("@")[1]


def test_a_hub_checkpoint_is_named_by_its_id_and_revision():
    assert checkpoint_name("facebook/sam-vit-base", "") == "facebook/sam-vit-base@main"
    assert checkpoint_name("facebook/sam-vit-base", "70c1a07") == "facebook/sam-vit-base@70c1a07"


@pytest.mark.parametrize("make", EXPERTS.values(), ids=EXPERTS)
def test_a_missing_directory_is_named(make, tmp_path):
    with pytest.raises(WeightsError, match=r"no checkpoint directory .*nowhere"):
        make(tmp_path / "nowhere").load()


def test_truncated_weights_are_refused(broken):
    copy, expert = broken
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(WeightsError, match="cannot read"):
        expert.load()


def test_weights_that_lack_a_tensor_are_refused(broken):
    from safetensors.torch import load_file, save_file

    copy, expert = broken
    tensors = load_file(copy / "model.safetensors")
    gone = next(name for name in sorted(tensors) if "layers.0" in name)
    del tensors[gone]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"lacks \d+ tensors"):
        expert.load()


def test_another_architecture_is_refused_before_its_weights_are_read(broken):
    copy, expert = broken
    (copy / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (copy / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="holds a 'bert' model"):
        expert.load()


def test_an_unreadable_config_is_refused(broken):
    copy, expert = broken
    (copy / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"no readable config\.json"):
        expert.load()


def test_a_checkpoint_without_its_processor_is_refused(broken):
    copy, expert = broken
    for file in copy.glob("*processor*.json"):
        file.unlink()
    with pytest.raises(WeightsError, match="processor"):
        expert.load()
