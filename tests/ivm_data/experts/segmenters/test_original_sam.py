"""The native SAM expert on a small random model, against the transformers port with the same weights."""

import re

import numpy as np
import pytest
import torch
from transformers import SamConfig as PortConfig
from transformers import SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from ivm_data.experts.segmenters.original_sam import NativeSam, NativeSamConfig
from ivm_data.experts.segmenters.prompted_masks import JoinedPrompt, corners, foreground
from ivm_data.experts.segmenters.sam import Sam, SamConfig
from storage.errors import ConfigError, WeightsError
from storage.records import Box

SIDE, WIDTH = 64, 32
IMAGES = [np.random.default_rng(i).integers(0, 256, (*hw, 3), np.uint8) for i, hw in enumerate([(64, 64), (50, 90)])]
BOXES = [[Box(4, 4, 40, 50), Box(10, 20, 60, 60)], [Box(0, 0, 30, 30), Box(20, 5, 88, 49), Box(1, 1, 2, 2)]]
POINTS = [np.array([[5, 5], [30, 40], [63, 63]]), np.array([[80.5, 20.25]])]

PORT_NAMES = [
    (r"image_encoder\.", "vision_encoder."),
    (r"patch_embed\.proj", "patch_embed.projection"),
    (r"\.blocks\.", ".layers."),
    (r"neck\.0", "neck.conv1"),
    (r"neck\.1", "neck.layer_norm1"),
    (r"neck\.2", "neck.conv2"),
    (r"neck\.3", "neck.layer_norm2"),
    (r"\.norm(\d|_final_attn)", r".layer_norm\1"),
    (r"prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix", "shared_image_embedding.positional_embedding"),
    (r"point_embeddings", "point_embed"),
    (r"mask_downscaling\.0", "mask_embed.conv1"),
    (r"mask_downscaling\.1", "mask_embed.layer_norm1"),
    (r"mask_downscaling\.3", "mask_embed.conv2"),
    (r"mask_downscaling\.4", "mask_embed.layer_norm2"),
    (r"mask_downscaling\.6", "mask_embed.conv3"),
    (r"output_upscaling\.0", "upscale_conv1"),
    (r"output_upscaling\.1", "upscale_layer_norm"),
    (r"output_upscaling\.3", "upscale_conv2"),
    (r"(iou_prediction_head|output_hypernetworks_mlps\.\d)\.layers\.0", r"\1.proj_in"),
    (r"(iou_prediction_head|output_hypernetworks_mlps\.\d)\.layers\.2", r"\1.proj_out"),
    (r"(iou_prediction_head|output_hypernetworks_mlps\.\d)\.layers\.1", r"\1.layers.0"),
]
"""Tensor names of the original code -> of the port, applied in order."""


def port_of(original, folder):
    """The same weights as a transformers checkpoint."""
    port = SamModel(
        PortConfig(
            vision_config=SamVisionConfig(
                hidden_size=WIDTH,
                mlp_dim=4 * WIDTH,
                output_channels=WIDTH,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=SIDE,
                patch_size=8,
                window_size=5,
                global_attn_indexes=[1],
                num_pos_feats=WIDTH // 2,
            ).to_dict(),
            prompt_encoder_config=SamPromptEncoderConfig(
                hidden_size=WIDTH, image_size=SIDE, patch_size=8, mask_input_channels=16
            ).to_dict(),
            # The original's norms have torch's default epsilon; the port's default is another.
            mask_decoder_config=SamMaskDecoderConfig(
                hidden_size=WIDTH, mlp_dim=64, num_attention_heads=2, iou_head_hidden_dim=WIDTH, layer_norm_eps=1e-5
            ).to_dict(),
        )
    )
    tensors = {}
    for name, tensor in original.state_dict().items():
        for pattern, replacement in PORT_NAMES:
            name = re.sub(pattern, replacement, name)
        tensors[name] = tensor
    tensors["prompt_encoder.shared_embedding.positional_embedding"] = tensors[
        "shared_image_embedding.positional_embedding"
    ]
    port.load_state_dict(tensors)
    port.save_pretrained(folder)
    square = {"height": SIDE, "width": SIDE}
    SamImageProcessorPil(size={"longest_edge": SIDE}, pad_size=square).save_pretrained(folder)


@pytest.fixture(scope="module", autouse=True)
def _registered(tiny):
    with pytest.MonkeyPatch.context() as patch:
        tiny.use_small_sam(patch)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp("sam")
    port_of(tiny.segment_anything(folder), folder / "port")
    return folder


@pytest.fixture(scope="module")
def path(folder):
    return str(folder / "sam_small.pth")


@pytest.fixture(scope="module")
def native(path):
    expert = NativeSam(NativeSamConfig(path, "small"))
    expert.load()
    return expert


@pytest.fixture(scope="module")
def port(folder):
    expert = Sam(SamConfig(str(folder / "port")))
    expert.load()
    return expert


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        assert one.mask_NHW.shape == other.mask_NHW.shape and (one.mask_NHW == other.mask_NHW).all()
        assert np.allclose(one.predicted_iou_N, other.predicted_iou_N, atol=1e-4)
        assert np.allclose(one.stability_N, other.stability_N, atol=1e-3)


def full_logits(expert, image_HWC, prompts_NP2, is_box):
    """Logits of every mask in the image's own size, and their predicted IoU."""
    ((embedding, resized_hw),) = expert.embed([image_HWC])
    hw = image_HWC.shape[:2]
    scale = np.array([resized_hw[1] / hw[1], resized_hw[0] / hw[0]], np.float32)
    logits_NMhw, iou_NM = expert.decode(embedding, torch.from_numpy(prompts_NP2 * scale), is_box)
    return torch.stack([expert.upscale(mask[:, None], hw, resized_hw)[:, 0] for mask in logits_NMhw]), iou_NM


def test_the_name_is_the_file_and_its_hash_before_anything_is_read(path):
    expert = NativeSam(NativeSamConfig(path, "small"))
    model, revision = expert.name.split("@")
    assert model == "sam_small" and len(revision) == 8
    assert NativeSam(NativeSamConfig(path, revision="v1")).name == "sam_small@v1"
    assert expert._model is None


@pytest.mark.parametrize("is_box", [True, False], ids=["boxes", "points"])
def test_mask_logits_are_those_of_the_port_to_a_ten_thousandth(native, port, is_box):
    rows = corners(BOXES) if is_box else foreground(POINTS)
    for image_HWC, prompts_NP2 in zip(IMAGES, rows, strict=True):
        ours, our_iou = full_logits(native, image_HWC, prompts_NP2, is_box)
        theirs, their_iou = full_logits(port, image_HWC, prompts_NP2, is_box)
        assert ours.shape[1] == (1 if is_box else 3) and ours.std() > 0.5
        assert (ours - theirs).abs().max() < 1e-4
        assert (our_iou - their_iou).abs().max() < 1e-4


def test_masks_and_scores_are_those_of_the_port(native, port):
    assert_same(native.segment(IMAGES, BOXES), port.segment(IMAGES, BOXES))
    assert_same(native.segment_points(IMAGES, POINTS), port.segment_points(IMAGES, POINTS))


@pytest.mark.parametrize("box", [None, Box(4, 4, 40, 50)], ids=["points", "points and a box"])
def test_joined_prompts_are_those_of_the_port(native, port, box):
    assert native.joins_prompts and port.joins_prompts
    for image_HWC in IMAGES:
        prompt = JoinedPrompt(POINTS[0][:2], np.array([True, False]), box)
        first, second = native.segment_joined(image_HWC, prompt), port.segment_joined(image_HWC, prompt)
        assert_same([first], [second])
        assert first.mask_NHW.shape == (1, *image_HWC.shape[:2])


def test_scores_are_float32_in_the_unit_interval(native):
    for result, row in zip(native.segment(IMAGES, BOXES), BOXES, strict=True):
        for score_N in (result.predicted_iou_N, result.stability_N):
            assert score_N.dtype == np.float32 and score_N.shape == (len(row),)
            assert ((score_N >= 0) & (score_N <= 1)).all()


def test_a_batch_of_mixed_sizes_gives_what_single_images_give(native):
    singles = [native.segment([image], [row])[0] for image, row in zip(IMAGES, BOXES, strict=True)]
    assert_same(native.segment(IMAGES, BOXES), singles)


def test_one_embedding_serves_all_boxes_and_none_is_made_without_boxes(native):
    seen = []
    hook = native._model.image_encoder.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    results = native.segment([image.copy() for image in (*IMAGES, IMAGES[0])], [BOXES[0] * 40, BOXES[1], []])
    hook.remove()
    assert seen == [1, 1]
    assert results[2].mask_NHW.shape == (0, 64, 64) and results[2].predicted_iou_N.shape == (0,)
    assert native.segment([], []) == []
    assert native.segment_points(IMAGES[:1], [np.zeros((0, 2))])[0].mask_NHW.shape == (0, 64, 64)


def test_two_thousand_boxes_pass_in_chunks_without_a_change(native, path):
    rng = np.random.default_rng(0)
    low_N2, size_N2 = rng.uniform(0, 40, (2000, 2)), rng.uniform(1, 20, (2000, 2))
    many = [Box(*low, *(low + size)) for low, size in zip(low_N2, size_N2, strict=True)]
    (whole,) = native.segment(IMAGES[:1], [many])
    assert whole.mask_NHW.shape == (2000, 64, 64)
    odd = NativeSam(NativeSamConfig(path, "small", prompts_per_batch=37))
    assert_same(odd.segment(IMAGES[:1], [many[:100]]), native.segment(IMAGES[:1], [many[:100]]))


@pytest.mark.parametrize("expert", ["native", "port"])
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 900, 3), (700, 2, 3)])
def test_tiny_and_very_narrow_images_are_cut(request, expert, shape):
    image_HWC = np.full(shape, 120, np.uint8)
    (result,) = request.getfixturevalue(expert).segment([image_HWC], [[Box(0, 0, shape[1], shape[0])]])
    assert result.mask_NHW.shape == (1, *shape[:2])


def test_a_missing_list_of_boxes_is_refused(native):
    with pytest.raises(ValueError, match="one list of prompts for each image, got 1 for 2"):
        native.segment(IMAGES, [[]])


def test_an_architecture_that_is_not_in_the_registry_is_refused_with_those_that_are(path):
    with pytest.raises(ConfigError, match=r"'vit_x'; choose one of .*vit_b, vit_h, vit_l"):
        NativeSam(NativeSamConfig(path, "vit_x")).load()


class Payload:
    """A pickle that would run code when read."""

    def __reduce__(self):
        return print, ("the file was run",)


def break_file(kind, path, tmp_path):
    broken = tmp_path / f"{kind}.pth"
    tensors = torch.load(path, weights_only=True)
    match kind:
        case "torn":
            data = (tmp_path / path).read_bytes()
            broken.write_bytes(data[: len(data) // 2])
        case "empty":
            broken.touch()
        case "text":
            broken.write_text("<html>404</html>")
        case "code":
            torch.save({"model": Payload()}, broken)
        case "no names":
            torch.save([torch.zeros(2)], broken)
        case "lacking":
            torch.save({k: v for k, v in tensors.items() if k != "prompt_encoder.no_mask_embed.weight"}, broken)
        case "foreign":
            torch.save({**tensors, "head.weight": torch.zeros(2)}, broken)
        case "wider":
            torch.save({**tensors, "mask_decoder.iou_token.weight": torch.zeros(1, 64)}, broken)
    return str(broken)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "no weights file .*missing.pth"),
        ("torn", "torn.pth.*is torn.*failed finding central directory; get the published"),
        ("empty", "empty.pth"),
        ("text", "text.pth.*is an HTML page"),
        ("code", "code.pth.*holds more than tensors.*weights_only=True"),
        ("no names", "is no state dict of tensors, found list"),
        ("lacking", "'small': of .* 1 missing .first 'prompt_encoder.no_mask_embed.weight'"),
        ("foreign", "1 unknown .first 'head.weight'.*choose the architecture"),
        ("wider", "1 of another shape .first 'mask_decoder.iou_token.weight'"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_what_to_do(kind, said, path, tmp_path, capsys):
    with pytest.raises(WeightsError, match=said):
        NativeSam(NativeSamConfig(break_file(kind, path, tmp_path), "small")).load()
    assert "the file was run" not in capsys.readouterr().out
