import json

import numpy as np
import pytest
import torch

from ivm_model.model.checkpoint import load_checkpoint, read_config, save_checkpoint, tensor_hash
from ivm_model.predictor import Predictor
from storage.errors import WeightsError

IMAGE_HWC = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
WORDS = "Find the red square ."


@pytest.fixture
def saved(model, tmp_path):
    with torch.no_grad():
        for value in model.trained_parameters().values():
            value += 0.05 * torch.randn_like(value)
    return save_checkpoint(tmp_path / "model", model, {"seed": 0}, "# Card\n", {"head": torch.ones(2)})


def test_a_loaded_model_answers_as_the_saved_one_did(model, saved):
    np.testing.assert_array_equal(
        Predictor.from_pretrained(saved).heatmap(IMAGE_HWC, WORDS), Predictor(model).heatmap(IMAGE_HWC, WORDS)
    )


def test_a_checkpoint_holds_the_trained_tensors_and_names_its_base_models(model, saved):
    config = read_config(saved)
    assert config["base_models"] == model.base_models and config["training"] == {"seed": 0}
    assert {path.name for path in saved.iterdir()} == {
        "model.safetensors",
        "discriminators.safetensors",
        "config.json",
        "README.md",
    }
    trained = sum(4 * value.numel() for value in model.trained_parameters().values())
    assert trained < (saved / "model.safetensors").stat().st_size < 1.2 * trained + 20_000


def test_saving_again_replaces_the_whole_directory(model, saved):
    save_checkpoint(saved, model, {"seed": 1}, "# Card\n")
    assert read_config(saved)["training"] == {"seed": 1}
    assert not (saved / "discriminators.safetensors").exists()
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_base_models_may_have_moved(saved, bases, tmp_path):
    import shutil

    shutil.copytree(bases.sam, tmp_path / "moved")
    load_checkpoint(saved, sam=str(tmp_path / "moved"))


def test_base_models_that_are_named_from_the_checkpoints_folder_move_with_it(saved, bases, tmp_path, monkeypatch):
    import shutil

    moved = tmp_path / "elsewhere"
    shutil.copytree(bases.sam, moved / "seg")
    shutil.copytree(bases.lmm, moved / "speak")
    shutil.copytree(saved, moved / "ours")
    config = json.loads((moved / "ours" / "config.json").read_text())
    config["model"] |= {"sam": "../seg", "lmm": "../speak"}
    (moved / "ours" / "config.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    assert load_checkpoint(moved / "ours").config.sam == str(moved / "seg")


def test_another_base_model_is_refused(saved, bases, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    other = tmp_path / "other"
    shutil.copytree(bases.lmm, other)
    tensors = load_file(other / "model.safetensors")
    name = next(iter(tensors))
    tensors[name] = tensors[name] + 1
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="was trained on lmm"):
        load_checkpoint(saved, lmm=str(other))


def test_a_missing_checkpoint_says_what_to_do(tmp_path):
    with pytest.raises(WeightsError, match=r"no readable config.json .* 'ivm train' wrote"):
        load_checkpoint(tmp_path)
    with pytest.raises(WeightsError, match=r"there is no checkpoint folder .* 'ivm train' wrote"):
        load_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"format": 99}', '{"format": 1}'])
def test_a_config_of_another_format_is_refused(saved, content):
    (saved / "config.json").write_text(content)
    with pytest.raises(WeightsError):
        load_checkpoint(saved)


def test_torn_weights_are_refused(saved):
    file = saved / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(WeightsError, match="copy it again"):
        load_checkpoint(saved)


def test_weights_of_another_training_are_refused(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "weights": "0" * 16}))
    with pytest.raises(WeightsError, match="not the file"):
        load_checkpoint(saved)


def test_the_tensor_hash_sees_names_and_values():
    one, two = torch.ones(2), torch.zeros(2)
    hashes = {tensor_hash(tensors) for tensors in ({"a": one}, {"b": one}, {"a": two}, {"a": one[None]})}
    assert len(hashes) == 4
    assert tensor_hash({"a": one, "b": two}) == tensor_hash({"b": two, "a": one})
