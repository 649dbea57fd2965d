"""SAM 2 and SAM 3 as the image encoder of a masking model."""

import numpy as np
import pytest
import torch

from ivm_model.data.embedding_cache import EmbeddingCache
from ivm_model.model.decoder import DecoderConfig
from ivm_model.model.image_encoders import Sam2Encoder, encoder_of, load_sam, unpack
from ivm_model.model.inputs import InputConfig
from ivm_model.model.masking_model import MaskingModel, ModelConfig
from storage.errors import ConfigError, WeightsError

IMAGES = [np.random.default_rng(i).integers(0, 255, (64, 64, 3), np.uint8) for i in range(2)]
SQUARE = InputConfig(frame="stretch")


@pytest.fixture(scope="module", params=["sam2", "sam2_video", "sam3_tracker", "sam3_tracker_video"])
def folder(request, tiny, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp(request.param)
    getattr(tiny, request.param)(folder)
    return str(folder)


@torch.no_grad()
def _pictures(encoder: Sam2Encoder) -> torch.Tensor:
    return encoder(IMAGES)


def test_all_maps_of_an_image_come_back_from_the_packed_one(folder):
    sam = load_sam(folder)
    whole = load_sam(folder)
    encoder = encoder_of(sam, folder, "stretch")
    packed_BCHW = _pictures(encoder)
    assert packed_BCHW.shape[1:] == encoder.shape
    pixels = encoder._processor(images=IMAGES, return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    fine, middle, coarse = whole.get_image_embeddings(pixels)
    found, finer = unpack(packed_BCHW)
    for expected, each in zip((coarse, fine, middle), (found, *finer), strict=True):
        torch.testing.assert_close(each, expected)


@torch.no_grad()
def test_an_untrained_decoder_answers_as_sam_2_does_when_it_is_prompted_by_the_same_token(folder, bases):
    whole = load_sam(folder)
    plain = DecoderConfig(dense=False, fits=0)
    model = MaskingModel(ModelConfig(folder, bases.lmm, decoder=plain, inputs=SQUARE)).eval()
    encoded, words = model.encode(IMAGES), ["Find the red square .", "ok"]
    reading = model.lmm.read(words, encoded.vision_BTC, "generator")
    found_BHW = model.decoder(encoded.sam_BCHW, reading, encoded.vision_BTC)
    coarse_BCHW, finer = unpack(encoded.sam_BCHW)
    no_mask_C = whole.prompt_encoder.no_mask_embed.weight[0]
    whole.mask_decoder.train()  # as it answers in training: the first token's mask, whatever its stability
    masks, *_ = whole.mask_decoder(
        image_embeddings=coarse_BCHW,
        image_positional_embeddings=whole.get_image_wide_positional_embeddings().repeat(2, 1, 1, 1),
        sparse_prompt_embeddings=model.decoder.project_last(reading.last)[:, None, None],
        dense_prompt_embeddings=no_mask_C.view(1, -1, 1, 1).expand_as(coarse_BCHW),
        multimask_output=False,
        high_resolution_features=finer,
    )  # fmt: skip
    torch.testing.assert_close(found_BHW, masks[:, 0, 0])


def test_what_the_mask_does_not_need_is_not_trained_and_not_kept(folder, bases):
    model = MaskingModel(ModelConfig(folder, bases.lmm, inputs=SQUARE))
    names = set(model.trained_parameters())
    for part in ("iou_prediction_head", "pred_obj_score_head", "conv_s0", "conv_s1", "mlps.1"):
        assert not any(part in name for name in names)
    assert any("transformer" in name for name in names)
    assert not any("prompt_encoder" in name for name, _ in model.sam_encoder.named_parameters())


def test_embeddings_on_disk_are_those_of_all_maps(folder, bases, tmp_path):
    model = MaskingModel(ModelConfig(folder, bases.lmm, inputs=SQUARE)).eval()
    cache = EmbeddingCache(tmp_path, model)
    made = cache.embed(IMAGES, ["aa", "bb"])
    torch.testing.assert_close(cache.embed(IMAGES, ["aa", "bb"]), made)
    torch.testing.assert_close(made.float(), model.embed(IMAGES), atol=2e-3, rtol=2e-3)
    assert cache.price(["aa", "bb"]) == 0


def test_a_padded_frame_and_the_releases_decoder_are_refused(folder, bases):
    with pytest.raises(ConfigError, match=r"'inputs.frame' must be 'stretch' with the 'sam"):
        MaskingModel(ModelConfig(folder, bases.lmm))
    with pytest.raises(ConfigError, match=r"'decoder.trunk' must be 'sam' with a 'sam"):
        MaskingModel(ModelConfig(folder, bases.lmm, decoder=DecoderConfig(trunk="ivm"), inputs=SQUARE))


def test_another_kind_of_model_is_refused_with_those_that_will_do(bases):
    with pytest.raises(WeightsError, match="holds a 'llava' model; model_type 'sam' or 'sam2' or"):
        load_sam(bases.lmm)
