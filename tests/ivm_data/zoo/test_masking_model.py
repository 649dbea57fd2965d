"""The committed masking model, `zoo:ivm`."""

import sys

import numpy as np
import pytest
from PIL import Image

from ivm_data import cli
from ivm_data.experts.registry import embedded
from ivm_data.worlds.world import generate
from ivm_data.zoo.embedded import WEIGHTS
from ivm_model.metrics.mask_scores import overlap
from ivm_model.predictor import Predictor

FOLDER = WEIGHTS / "ivm"


@pytest.fixture(scope="module")
def asked():
    return list(generate("test", 9000, 20, kinds=("attribute", "counting", "absent"), per_scene=3))


def test_it_finds_most_of_what_is_named_on_new_scenes_and_mostly_says_when_there_is_nothing(asked):
    predictor = Predictor.from_pretrained(embedded("zoo:ivm"))
    heatmaps = predictor.heatmaps(
        [scene.image_HWC for scene, _, _ in asked], [pair.instruction for _, pair, _ in asked]
    )
    ious = {"absent": [], "there": []}
    for (scene, pair, _), heatmap_HW in zip(asked, heatmaps, strict=True):
        ious["there" if pair.targets else "absent"].append(overlap(heatmap_HW >= 0.5, pair.mask_HW(scene)).iou)
    assert np.mean(ious["there"]) > 0.5 and np.mean(ious["absent"]) > 0.6


def test_it_is_small_and_names_its_base_models_from_its_own_folder():
    assert (FOLDER / "model.safetensors").stat().st_size < 6e6
    model = Predictor.from_pretrained(FOLDER).model
    assert model.config.sam == str(WEIGHTS / "segmenter") and model.config.lmm == str(WEIGHTS / "lmm")


def test_the_command_takes_it_where_no_model_is_named(asked, tmp_path, monkeypatch):
    scene, pair, _ = next(each for each in asked if each[1].kind == "counting")
    Image.fromarray(scene.image_HWC).save(tmp_path / "scene.png")
    written = []
    for chosen in ([], ["--model", "zoo:ivm"]):
        out = tmp_path / f"masked-{len(chosen)}.png"
        monkeypatch.setattr(
            sys, "argv", ["ivm", "mask", str(tmp_path / "scene.png"), pair.instruction, "-o", str(out), *chosen]
        )
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        assert not exit_.value.code
        written.append(np.asarray(Image.open(out)))
    np.testing.assert_array_equal(*written)
    assert (written[0] != scene.image_HWC).any()
