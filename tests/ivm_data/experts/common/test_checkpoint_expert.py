import numpy as np
import pytest

from ivm_data.experts.common.checkpoint_expert import CheckpointExpert
from ivm_data.experts.registry import create
from ivm_data.experts.segmenters.sam import Sam, SamConfig
from ivm_data.recipes.labeling_recipes import recipe, recipe_hash
from ivm_data.zoo.embedded import WEIGHTS
from ivm_model.model.base_models import checkpoint_name
from ivm_model.model.placement import device_of, dtype_of
from storage.errors import ConfigError, WeightsError
from storage.records import Box

CONFIG = SamConfig(str(WEIGHTS / "segmenter"))


class Counting(CheckpointExpert):
    """Reads the embedded segmenter; fails as often as `failures` says."""

    def __init__(self, config, failures=0):
        super().__init__(config)
        self.reads, self.failures = 0, failures

    def _read(self):
        from transformers import SamModel
        from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

        self.reads += 1
        model = self._from_pretrained(SamModel, SamImageProcessorPil, tokenizer=False)
        if self.reads <= self.failures:
            raise WeightsError("torn")
        return model


def test_weights_are_read_once_and_not_before_load():
    expert = Counting(CONFIG)
    assert expert.reads == 0
    expert.load()
    expert.load()
    assert expert.reads == 1


def test_an_expert_that_could_not_be_read_is_read_again():
    expert = Counting(CONFIG, failures=1)
    with pytest.raises(WeightsError):
        expert.load()
    expert.load()
    assert expert.reads == 2


def test_the_name_is_known_before_anything_is_read():
    assert Counting(CONFIG).name == checkpoint_name(CONFIG.path)
    assert Counting(SamConfig("org/name", revision="v1")).name == "org/name@v1"


def test_pixels_are_what_the_checkpoints_own_processor_makes():
    image_HWC = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    counting, sam = Counting(CONFIG), Sam(CONFIG)
    counting.load()
    sam.load()
    assert counting._pixels(image_HWC).equal(sam.preprocess(image_HWC)[0])


def test_auto_is_settled_when_the_weights_are_read_and_the_answers_are_those_of_the_device_it_stands_for():
    image_HWC = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    auto = Sam(SamConfig(CONFIG.path, device="auto", dtype="auto"))
    assert auto.config.device == auto.config.dtype == "auto" and auto.name == Sam(CONFIG).name
    auto.load()
    device = device_of("auto")
    assert (auto.config.device, auto.config.dtype) == (device, dtype_of("auto", device))
    named = Sam(SamConfig(CONFIG.path, device=device, dtype=auto.config.dtype))
    boxes = [[Box(5, 5, 30, 30)]]
    found, expected = (expert.segment([image_HWC], boxes)[0] for expert in (auto, named))
    assert (found.mask_NHW == expected.mask_NHW).all() and found.predicted_iou_N == expected.predicted_iou_N


def test_a_recipe_keeps_the_word_auto_in_its_hash_whatever_the_machine():
    auto, cpu = (recipe("demo", {"segmenter.options.device": device}) for device in ("auto", "cpu"))
    before = recipe_hash(auto, [])
    assert before != recipe_hash(cpu, [])
    create(auto.segmenter).load()
    assert auto.segmenter.options["device"] == "auto" and recipe_hash(auto, []) == before


def test_an_unknown_dtype_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match="'auto', 'float32', 'bfloat16', 'float16', got 'half'"):
        SamConfig("x", dtype="half")
