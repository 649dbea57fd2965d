import pytest
import torch
from groundingdino.models.GroundingDINO.fuse_modules import BiMultiHeadAttention
from transformers import GroundingDinoConfig as PortConfig
from transformers.models.grounding_dino.modeling_grounding_dino import GroundingDinoBiMultiHeadAttention

from ivm_data.experts.grounders.folded_fusion import FoldedFusion

WIDTH, INNER, HEADS = 16, 32, 4


@pytest.fixture(scope="module")
def attention():
    torch.manual_seed(0)
    config = PortConfig(d_model=WIDTH, encoder_ffn_dim=2 * INNER, encoder_attention_heads=2 * HEADS)
    attention = GroundingDinoBiMultiHeadAttention(config).eval()
    for weight in attention.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return attention


def folded(part):
    return FoldedFusion(
        part.vision_proj, part.text_proj, part.values_vision_proj, part.values_text_proj,
        part.out_vision_proj, part.out_text_proj, part.num_heads, part.scale,
    )  # fmt: skip


def features(tokens):
    torch.manual_seed(1)
    image_BNC, text_BTC = torch.randn(2, 50, WIDTH), torch.randn(2, tokens, WIDTH)
    ignored_BN, ignored_BT = torch.zeros(2, 50, dtype=torch.bool), torch.zeros(2, tokens, dtype=torch.bool)
    ignored_BN[0, 40:] = True
    ignored_BT[1, tokens // 2 + 1 :] = True
    return image_BNC, text_BTC, ignored_BN, ignored_BT


@pytest.mark.parametrize("tokens", [1, 5, 60], ids=["one token", "a phrase", "more text than image"])
@torch.inference_mode()
def test_folded_projections_give_what_the_library_gives(attention, tokens):
    image_BNC, text_BTC, ignored_BN, ignored_BT = features(tokens)
    (expected_image, _), (expected_text, _) = attention(image_BNC, text_BTC, ignored_BN, ignored_BT)
    image, text = folded(attention)(image_BNC, text_BTC, ignored_BN, ignored_BT)
    assert expected_image.std() > 0.1 and expected_text.std() > 0.1
    assert torch.allclose(image, expected_image, atol=1e-5) and torch.allclose(text, expected_text, atol=1e-5)


@torch.inference_mode()
def test_without_masks_too(attention):
    image_BNC, text_BTC, *_ = features(5)
    (expected_image, _), (expected_text, _) = attention(image_BNC, text_BTC)
    image, text = folded(attention)(image_BNC, text_BTC, None, None)
    assert torch.allclose(image, expected_image, atol=1e-5) and torch.allclose(text, expected_text, atol=1e-5)


@torch.inference_mode()
def test_the_original_code_computes_the_same_function():
    torch.manual_seed(0)
    part = BiMultiHeadAttention(WIDTH, WIDTH, INNER, HEADS).eval()
    for weight in part.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    ours = FoldedFusion(
        part.v_proj, part.l_proj, part.values_v_proj, part.values_l_proj,
        part.out_v_proj, part.out_l_proj, part.num_heads, part.scale,
    )  # fmt: skip
    for expected, found in zip(part(*features(5)), ours(*features(5)), strict=True):
        assert torch.allclose(found, expected, atol=1e-5)


@torch.inference_mode()
def test_autocast_does_not_round_what_is_folded(attention):
    image_BNC, text_BTC, ignored_BN, ignored_BT = features(5)
    exact, _ = folded(attention)(image_BNC, text_BTC, ignored_BN, ignored_BT)
    with torch.autocast("cpu", torch.bfloat16):
        half, _ = folded(attention)(image_BNC.bfloat16(), text_BTC.bfloat16(), ignored_BN, ignored_BT)
    assert half.dtype == torch.bfloat16 and torch.allclose(half.float(), exact, atol=0.05)
