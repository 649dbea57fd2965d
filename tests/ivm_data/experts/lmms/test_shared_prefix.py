import numpy as np
import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    MistralConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)

from ivm_data.experts.lmms import shared_prefix
from ivm_data.experts.lmms.hf_lmm import HfLmm, LmmConfig
from ivm_data.experts.lmms.shared_prefix import by_image, can_share, last_logits
from ivm_data.worlds.scene import draw_scene
from ivm_data.zoo.embedded import WEIGHTS

QUESTIONS = ["Is there a red ring?", "Is there a small striped green star?", "Is this a thing?", "Is there a ring?"]
IMAGE, PAD = 90, 0
TEXT = {
    "vocab_size": 100, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "initializer_range": 0.3,
}  # fmt: skip
VISION = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(shared_prefix, "LEAST_SAVED", 1)


@pytest.fixture
def forwards():
    """Shapes of the ids that pass through a model, by `forwards(model)`."""
    hooks = []

    def watch(model):
        seen = []
        look = lambda _, __, inputs: seen.append(tuple(inputs["input_ids"].shape))  # noqa: E731
        hooks.append(model.register_forward_pre_hook(look, with_kwargs=True))
        return seen

    yield watch
    for hook in hooks:
        hook.remove()


def llava(text=None):
    vision = CLIPVisionConfig(**VISION, image_size=32, patch_size=8)
    config = LlavaConfig(vision_config=vision, text_config=text or LlamaConfig(**TEXT), image_token_index=IMAGE)
    return LlavaForConditionalGeneration(config), 16, {"pixel_values": torch.randn(2, 3, 32, 32)}


def llava_next():
    vision = CLIPVisionConfig(**VISION, image_size=16, patch_size=8)
    config = LlavaNextConfig(
        vision_config=vision, text_config=LlamaConfig(**TEXT), image_token_index=IMAGE, image_grid_pinpoints=[[32, 32]]
    )
    # 4 cells of the whole image, 4 x 4 of its four tiles, a newline after each of their 4 rows.
    pixels = {"pixel_values": torch.randn(2, 5, 3, 16, 16), "image_sizes": torch.tensor([[32, 32], [32, 32]])}
    return LlavaNextForConditionalGeneration(config), 4 + 16 + 4, pixels


def llava_onevision():
    vision = CLIPVisionConfig(**VISION, image_size=16, patch_size=8)
    config = LlavaOnevisionConfig(
        vision_config=vision,
        text_config=LlamaConfig(**TEXT),
        image_token_id=IMAGE,
        image_grid_pinpoints=[[32, 32]],
        vision_feature_select_strategy="default",
    )
    pixels = {"pixel_values": torch.randn(2, 5, 3, 16, 16), "image_sizes": torch.tensor([[32, 32], [32, 32]])}
    return LlavaOnevisionForConditionalGeneration(config), 4 + 16 + 4, pixels


def smolvlm():
    config = SmolVLMConfig(
        vision_config={**VISION, "image_size": 32, "patch_size": 8},
        text_config=LlamaConfig(**TEXT),
        image_token_id=IMAGE,
        scale_factor=2,
    )
    return SmolVLMForConditionalGeneration(config), 4, {"pixel_values": torch.randn(2, 1, 3, 32, 32)}


def questions(image_tokens, pixels, texts, images):
    """Left-padded inputs of which each row has an image and then a text."""
    rows = [[1, *[IMAGE] * image_tokens, *text] for text in texts]
    length = max(map(len, rows))
    ids = torch.tensor([[PAD] * (length - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
    return {
        "input_ids": ids,
        "attention_mask": mask,
        **{name: value[images] for name, value in pixels.items()},
    }


@pytest.mark.parametrize("made", [llava, llava_next, llava_onevision, smolvlm])
@torch.inference_mode()
def test_a_shared_prefix_changes_no_logit(made, always, forwards):
    torch.manual_seed(0)
    model, image_tokens, pixels = made()
    model.eval()
    texts = [[5, 6, 7, 8], [5, 6, 9], [5, 6, 7, 8, 9, 10], [5, 11]]
    images = [0, 0, 1, 1]
    inputs = questions(image_tokens, pixels, texts, images)
    plain_BV = model(**inputs, logits_to_keep=1).logits[:, -1]
    assert plain_BV.std() > 0.1 and (plain_BV[0] - plain_BV[2]).abs().max() > 0.01
    seen = forwards(model)
    shared_BV = last_logits(model, inputs, images)
    assert seen == [(2, 1 + image_tokens + 2), (4, 5)]
    assert torch.allclose(shared_BV, plain_BV, atol=1e-4)


@torch.inference_mode()
def test_what_stands_before_the_image_or_has_no_row_of_its_own_is_asked_the_plain_way(always, forwards):
    torch.manual_seed(0)
    model, image_tokens, pixels = llava()
    inputs = questions(image_tokens, pixels, [[5, 6], [7, 8]], [0, 0])
    before = {**inputs, "input_ids": inputs["input_ids"].flip(1)}
    foreign = {**inputs, "token_type_ids": torch.zeros_like(inputs["input_ids"])}
    seen = forwards(model.eval())
    last_logits(model, before, [0, 0])
    assert seen == [(2, 19)]
    assert not shared_prefix._splits(model, foreign, [[[5, 6], [5, 7]]], [[5]])


def test_a_cache_that_forgets_is_not_shared():
    assert can_share(llava()[0])
    assert not can_share(llava(MistralConfig(**TEXT, sliding_window=8))[0])


def test_the_same_array_follows_itself_and_the_rest_stays_in_order():
    first, second, third = (np.zeros((1, 1, 3)) for _ in range(3))
    assert by_image([first, second, first, third, second]) == [0, 2, 1, 4, 3]
    assert by_image([first, second, third]) == [0, 1, 2] and by_image([]) == []


@pytest.mark.parametrize("instructed", [False, True])
def test_chances_are_those_of_questions_asked_one_by_one_in_whatever_order(instructed, forwards):
    lmm = HfLmm(LmmConfig(str(WEIGHTS / "lmm"), instructed=instructed, batch=7))
    scenes = [draw_scene("val", index).image_HWC for index in range(3)]
    images, asked = scenes * 4, [question for question in QUESTIONS for _ in scenes]
    alone = [float(lmm.p_yes([image], [question])[0]) for image, question in zip(images, asked, strict=True)]
    seen = forwards(lmm._model)
    together = lmm.p_yes(images, asked)
    assert len(seen) == 4 and seen[0][0] == 2 and seen[1][0] == 7
    assert np.std(alone) > 0.05 and np.allclose(together, alone, atol=1e-4)


def test_the_vision_tower_sees_each_image_once():
    lmm = HfLmm(LmmConfig(str(WEIGHTS / "lmm")))
    lmm.load()
    images = [draw_scene("val", index).image_HWC for index in range(2)]
    seen = []
    tower = lmm._model.model.vision_tower
    hook = tower.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    lmm.p_yes(images * 4, [question for question in QUESTIONS for _ in images])
    hook.remove()
    assert seen == [2]


def test_a_few_common_tokens_do_not_pay_for_a_second_pass(forwards):
    lmm = HfLmm(LmmConfig(str(WEIGHTS / "lmm")))
    lmm.load()
    image_HWC = draw_scene("val", 0).image_HWC
    seen = forwards(lmm._model)
    lmm.p_yes([image_HWC] * 2, QUESTIONS[:2])
    assert len(seen) == 1


def test_qwens_positions_in_three_dimensions_go_on_behind_a_shared_image(tmp_path, tiny, always, forwards):
    tiny.qwen2_5_vl(tmp_path, "yes")
    lmm = HfLmm(LmmConfig(str(tmp_path), instructed=True))
    lmm.load()
    torch.manual_seed(0)
    with torch.no_grad():  # The miniature's answers are a matter of its last token alone.
        for weight in lmm._model.model.language_model.parameters():
            weight.normal_(std=0.3)
        lmm._model.lm_head.weight.normal_()
    images = [np.random.default_rng(seed).integers(0, 255, (60, 40 + 30 * seed, 3), np.uint8) for seed in range(2)]
    alone = [lmm.p_yes([image], [question])[0] for image in images for question in QUESTIONS]
    seen = forwards(lmm._model)
    together = lmm.p_yes([image for image in images for _ in QUESTIONS], QUESTIONS * 2)
    assert [rows for rows, _ in seen] == [2, 8] and can_share(lmm._model)
    assert np.std(alone) > 1e-4 and np.abs(together - alone).max() < np.std(alone) / 50
