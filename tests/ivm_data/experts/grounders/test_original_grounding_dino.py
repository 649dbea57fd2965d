"""The native Grounding DINO expert on a small random model, against the transformers port with the same weights."""

import re

import numpy as np
import pytest
import torch
from groundingdino.datasets import transforms
from groundingdino.models.GroundingDINO import bertwarper
from groundingdino.models.GroundingDINO.transformer_vanilla import TransformerEncoderLayer
from PIL import Image
from transformers import BertModel, GroundingDinoForObjectDetection, SwinConfig
from transformers import GroundingDinoConfig as PortConfig
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

from ivm_data.experts.grounders import original_grounding_dino_fixes as groundingdino_compat
from ivm_data.experts.grounders.grounding_dino import GroundingDino, GroundingDinoConfig
from ivm_data.experts.grounders.original_grounding_dino import (
    NativeGroundingDino,
    NativeGroundingDinoConfig,
    read_architecture,
)
from storage.errors import ConfigError, WeightsError

EDGES = {"shortest_edge": 64, "longest_edge": 128}
IMAGES = [
    np.random.default_rng(i).integers(0, 256, (*hw, 3), np.uint8)
    for i, hw in enumerate([(64, 64), (70, 100), (64, 64)])
]
PHRASES = [["red ring"], ["blue star", "small green circle"], ["big white square", "ring", "yellow star"]]
CAPTIONS = ["red ring .", "blue star . small green circle .", "big white square . ring . yellow star ."]

SWIN_NAME, LAYER = "model.backbone.conv_encoder.model", r"transformer\.encoder\.layers\.(\d+)\."
TEXT_LAYER, FUSION = r"transformer\.encoder\.text_layers\.(\d+)\.", r"transformer\.encoder\.fusion_layers\.(\d+)\."
DECODER = r"transformer\.decoder\.layers\.(\d+)\."
PORT_NAMES = [
    (r"backbone\.0\.patch_embed\.proj", rf"{SWIN_NAME}.swin.embeddings.patch_embeddings.projection"),
    (r"backbone\.0\.patch_embed\.norm", rf"{SWIN_NAME}.swin.embeddings.norm"),
    (r"backbone\.0\.norm(\d)", lambda m: f"{SWIN_NAME}.hidden_states_norms.stage{int(m[1]) + 1}"),
    (r"backbone\.0\.layers", rf"{SWIN_NAME}.swin.encoder.layers"),
    (r"(blocks\.\d+)\.norm1", r"\1.layernorm_before"),
    (r"(blocks\.\d+)\.norm2", r"\1.layernorm_after"),
    (r"(blocks\.\d+)\.attn\.relative", r"\1.attention.relative_position_bias.relative"),
    (r"(blocks\.\d+)\.attn\.proj", r"\1.attention.o_proj"),
    (r"(blocks\.\d+)\.attn\.", r"\1.attention."),
    (r"input_proj", "model.input_proj_vision"),
    (r"bert\.", "model.text_backbone."),
    (r"feat_map", "model.text_projection"),
    (r"transformer\.tgt_embed", "model.query_position_embeddings"),
    (r"transformer\.(level_embed|enc_output)", r"model.\1"),
    (r"transformer\.enc_out_bbox_embed", "model.encoder_output_bbox_embed"),
    (LAYER + "norm1", r"model.encoder.layers.\1.deformable_layer.self_attn_layer_norm"),
    (LAYER + "norm2", r"model.encoder.layers.\1.deformable_layer.final_layer_norm"),
    (LAYER, r"model.encoder.layers.\1.deformable_layer."),
    (TEXT_LAYER + "norm1", r"model.encoder.layers.\1.text_enhancer_layer.layer_norm_before"),
    (TEXT_LAYER + "norm2", r"model.encoder.layers.\1.text_enhancer_layer.layer_norm_after"),
    (TEXT_LAYER, r"model.encoder.layers.\1.text_enhancer_layer."),
    (FUSION + r"(attn\.|layer_norm_)?(.*)", lambda m: f"model.encoder.layers.{m[1]}.fusion_layer.{fusion(m[2], m[3])}"),
    (DECODER + "cross_attn", r"model.decoder.layers.\1.encoder_attn"),
    (DECODER + "norm1", r"model.decoder.layers.\1.encoder_attn_layer_norm"),
    (DECODER + "ca_text", r"model.decoder.layers.\1.encoder_attn_text"),
    (DECODER + "catext_norm", r"model.decoder.layers.\1.encoder_attn_text_layer_norm"),
    (DECODER + "norm2", r"model.decoder.layers.\1.self_attn_layer_norm"),
    (DECODER + "norm3", r"model.decoder.layers.\1.final_layer_norm"),
    (DECODER, r"model.decoder.layers.\1."),
    (r"transformer\.decoder\.norm", "model.decoder.layer_norm"),
    (r"transformer\.decoder\.ref_point_head", "model.decoder.reference_points_head"),
    (r"transformer\.decoder\.", "model.decoder."),
    (r"\.linear(\d)\.", r".fc\1."),
]
"""Tensor names of the original code -> of the port, applied in order."""


def fusion(part, rest):
    words = {"v": "vision", "l": "text", "gamma_v": "vision_param", "gamma_l": "text_param"}
    if part is None:
        return words[rest]
    return part + re.sub(r"(?<![a-z])(v|l)(?=_proj|\.)", lambda m: words[m[1]], rest)


def port_tensors(original):
    """The original's tensors under the port's names; stacked projections are split in three."""
    tensors = {}
    for name, tensor in original.items():
        for pattern, replacement in PORT_NAMES:
            name = re.sub("^" + pattern if not pattern.startswith(("(", r"\.")) else pattern, replacement, name)
        split = re.fullmatch(r"(.*)\.(qkv\.|in_proj_)(weight|bias)", name)
        if split:
            parts = ("q_proj", "k_proj", "v_proj") if split[2] == "qkv." else ("query", "key", "value")
            for part, rows in zip(parts, tensor.chunk(3), strict=True):
                tensors[f"{split[1]}.{part}.{split[3]}"] = rows
        else:
            tensors[name] = tensor
    return tensors


@pytest.fixture(scope="module", autouse=True)
def _tiny_swin(tiny):
    with pytest.MonkeyPatch.context() as patch:
        tiny.use_tiny_swin(patch)
        yield


@pytest.fixture(scope="module")
def bert(tiny):
    return tiny.bert()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny, bert):
    """A config, a text encoder and a `.pth` as they are published, and the port with the same weights."""
    folder = tmp_path_factory.mktemp("groundingdino")
    save_port(tiny.groundingdino(folder), bert, folder / "port", tiny.SWIN)
    return folder


def save_port(tensors, bert, folder, swin_size):
    layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    swin = SwinConfig(image_size=64, out_indices=[2, 3, 4], **swin_size)
    port = GroundingDinoForObjectDetection(
        PortConfig(backbone_config=swin, text_config=bert[0], d_model=256, num_queries=20, **layers)
    )
    given, wanted = port_tensors(tensors), port.state_dict().keys()
    unused = r".*(relative_position_index|text_backbone\.pooler.*)"
    assert [name for name in given.keys() - wanted if not re.fullmatch(unused, name)] == []
    made = r".*swin\.layernorm\..*"
    assert [name for name in wanted - given.keys() if not re.fullmatch(made, name)] == []
    port.load_state_dict({name: tensor for name, tensor in given.items() if name in wanted}, strict=False)
    port.save_pretrained(folder)
    GroundingDinoImageProcessorPil(size=dict(EDGES)).save_pretrained(folder)
    bert[1].save_pretrained(folder)


@pytest.fixture(scope="module")
def config(folder):
    def make(name="groundingdino_small.pth", **options):
        files = {"architecture": str(folder / "small.py"), "text_encoder": str(folder / "text")}
        return NativeGroundingDinoConfig(str(folder / name), **{**files, "box_threshold": 0.0, **EDGES, **options})

    return make


@pytest.fixture(scope="module")
def native(config):
    expert = NativeGroundingDino(config())
    expert.load()
    return expert


@pytest.fixture(scope="module")
def port(folder):
    expert = GroundingDino(GroundingDinoConfig(str(folder / "port"), box_threshold=0.0))
    expert.load()
    return expert


def rows(detections):
    return np.array([[d.box.x0, d.box.y0, d.box.x1, d.box.y1, 100 * d.score] for d in detections]).reshape(-1, 5)


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        assert len(one) > 3 and [d.phrase for d in one] == [d.phrase for d in other]
        assert np.allclose(rows(one), rows(other), atol=0.01)


def span_difference(first, second):
    """The largest difference of a box coordinate or a phrase's probability, over all captions."""
    return max(
        float((one - other).abs().max())
        for pair, again in zip(first, second, strict=True)
        for one, other in zip(pair, again, strict=True)
    )


def test_the_name_is_the_file_and_its_hash_before_anything_is_read(config):
    expert = NativeGroundingDino(config())
    model, revision = expert.name.split("@")
    assert model == "groundingdino_small" and len(revision) == 8
    assert expert._model is None


def test_probabilities_and_boxes_are_those_of_the_port_to_a_ten_thousandth(native, port):
    square = [native._pixels(IMAGES[i]) for i in (0, 2, 0)]
    ours, theirs = list(native._forward(CAPTIONS, square)), list(port._forward(CAPTIONS, square))
    scores = torch.cat([score_QP.flatten() for _, score_QP in ours])
    assert scores.std() > 0.02 and 0.01 < scores.mean() < 0.99
    assert span_difference(ours, theirs) < 1e-4


def test_detections_are_those_of_the_port(native, port):
    assert_same(native.ground(IMAGES, PHRASES), port.ground(IMAGES, PHRASES))


def test_a_batch_of_mixed_captions_and_sizes_gives_what_single_images_give(native):
    singles = [native.ground([image], [asked])[0] for image, asked in zip(IMAGES, PHRASES, strict=True)]
    assert_same(native.ground(IMAGES, PHRASES), singles)


def test_without_the_layout_of_masks_mixed_captions_change_each_other(native, config, monkeypatch):
    monkeypatch.setattr(groundingdino_compat, "mask_each_head", lambda layer: None)
    unrepaired = NativeGroundingDino(config())
    unrepaired.load()
    square = [native._pixels(IMAGES[0])] * 3
    alone = [next(native._forward([text], [image])) for text, image in zip(CAPTIONS, square, strict=True)]
    assert span_difference(native._forward(CAPTIONS, square), alone) < 1e-4
    assert span_difference(unrepaired._forward(CAPTIONS, square), alone) > 1e-2


def test_a_text_layer_reads_each_caption_with_its_own_mask():
    torch.manual_seed(0)
    layer = TransformerEncoderLayer(d_model=32, nhead=4, dim_feedforward=32).eval()
    text_TBC, hidden_BTT = torch.randn(6, 3, 32), torch.rand(3, 6, 6) > 0.5
    hidden_BTT[:, range(6), range(6)] = False

    def difference():
        with torch.inference_mode():
            together = layer(text_TBC, src_mask=hidden_BTT)
            alone = [layer(text_TBC[:, [b]], src_mask=hidden_BTT[[b]]) for b in range(3)]
        return float((together - torch.cat(alone, 1)).abs().max())

    assert difference() > 0.1
    groundingdino_compat.mask_each_head(layer)
    assert difference() < 1e-5


def test_the_packages_own_text_encoder_does_not_exist_on_this_transformers(bert):
    with pytest.raises(AttributeError):
        bertwarper.BertModelWarper(BertModel(bert[0]))


def phrase_difference(model, tokenizer, shape):
    """How far a phrase's encoding moves when another phrase stands before it: not at all, if the mask is read."""

    def encode(text):
        words = tokenizer(text, return_tensors="pt")
        borders = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", ".", "?"])
        mask_BTT, position_BT, _ = bertwarper.generate_masks_with_special_tokens_and_transfer_map(
            words, borders, tokenizer
        )
        with torch.inference_mode():
            return model(
                input_ids=words["input_ids"], attention_mask=shape(mask_BTT), position_ids=position_BT
            ).last_hidden_state[0]

    return float((encode("red ring . blue star .")[4:7] - encode("blue star .")[1:4]).abs().max())


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_phrases_of_a_caption_do_not_see_each_other(bert, attention):
    torch.manual_seed(0)
    config, tokenizer = bert
    model = BertModel._from_config(config, attn_implementation=attention).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    with pytest.raises(RuntimeError, match="expand"):
        phrase_difference(model, tokenizer, lambda mask_BTT: mask_BTT)
    if attention == "eager":
        assert phrase_difference(model, tokenizer, lambda mask_BTT: mask_BTT[:, None]) > 0.1
    assert phrase_difference(groundingdino_compat.text_encoder(model), tokenizer, lambda mask_BTT: mask_BTT) < 1e-5


@pytest.mark.parametrize("shape", [(64, 64), (70, 100), (200, 90), (50, 190), (300, 80), (1, 1), (640, 480)])
def test_pixels_are_those_of_the_packages_own_pipeline(native, shape):
    image_HWC = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    pipeline = transforms.Compose(
        [
            transforms.RandomResize([EDGES["shortest_edge"]], max_size=EDGES["longest_edge"]),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    pixels_CHW, _ = pipeline(Image.fromarray(image_HWC), None)
    assert torch.equal(native._pixels(image_HWC), pixels_CHW)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 700, 3), (400, 2, 3)])
def test_tiny_and_very_narrow_images_are_read(native, shape):
    (found,) = native.ground([np.full(shape, 120, np.uint8)], [["red ring"]])
    assert all(d.box.x1 <= shape[1] and d.box.y1 <= shape[0] for d in found)


def test_more_phrases_than_a_caption_holds_are_spread_over_several(native):
    phrases = [f"{size} {colour} ring" for size in ("small", "big") for colour in ("red", "blue", "white", "green")]
    (found,) = native.ground(IMAGES[:1], [phrases * 12])
    assert {d.phrase for d in found} == set(phrases)


def test_no_phrases_no_words_and_no_images_give_nothing(native):
    assert native.ground(IMAGES[:2], [[], [" . "]]) == [[], []]
    assert native.ground([], []) == []


def test_only_boxes_above_the_threshold_are_found(native, config):
    (everything,) = native.ground(IMAGES[:1], PHRASES[:1])
    middle = float(np.median([d.score for d in everything]))
    (some,) = NativeGroundingDino(config(box_threshold=middle)).ground(IMAGES[:1], PHRASES[:1])
    assert 0 < len(some) < len(everything) and all(d.score >= middle for d in some)


def test_the_published_architectures_are_known():
    assert read_architecture("swin-t")["backbone"] == "swin_T_224_1k"
    assert read_architecture("swin-b")["backbone"] == "swin_B_384_22k"


def test_a_config_file_is_read_and_never_run(tmp_path):
    file, trace = tmp_path / "evil.py", tmp_path / "trace"
    file.write_text(f"num_queries = open({str(trace)!r}, 'w').write('x')\n")
    with pytest.raises(ConfigError, match="a config is read and never run"):
        read_architecture(str(file))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import os\n", "line 1 is not 'name = value'"),
        ("a = (\n", "cannot read"),
        ("num_queries = 20\n", "lacks 'backbone'; start from a copy"),
    ],
)
def test_a_config_file_of_another_kind_is_refused(tmp_path, text, said):
    (tmp_path / "other.py").write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_architecture(str(tmp_path / "other.py"))


def test_an_unknown_architecture_is_refused_with_those_that_are_known():
    with pytest.raises(ConfigError, match="unknown architecture 'swin-x'; choose one of swin-t, swin-b"):
        read_architecture("swin-x")


def test_edges_that_leave_fewer_cells_than_queries_are_refused(config):
    with pytest.raises(ConfigError, match="leave 64 feature cells for 900 queries"):
        NativeGroundingDino(config(architecture="swin-t")).load()


@pytest.mark.parametrize("wrong", [{"shortest_edge": 8}, {"shortest_edge": 200}, {"nms_iou": 0.0}])
def test_a_config_that_cannot_work_is_refused(config, wrong):
    with pytest.raises(ValueError, match=f"'{next(iter(wrong))}' must"):
        config(**wrong)


def test_a_text_encoder_of_another_kind_is_refused(config, folder, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    with pytest.raises(WeightsError, match="is a 'roberta' model; 'bert' is needed"):
        NativeGroundingDino(config(text_encoder=str(tmp_path))).load()
    with pytest.raises(WeightsError, match="cannot read AutoConfig"):
        NativeGroundingDino(config(text_encoder=str(tmp_path / "nowhere"))).load()


def test_a_file_with_an_unknown_tensor_or_none_of_them_is_refused(config, folder, tmp_path):
    held = torch.load(folder / "groundingdino_small.pth", weights_only=True)["model"]
    torch.save({"model": {**held, "module.head.weight": torch.zeros(1)}}, tmp_path / "more.pth")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"of .* tensors 1 unknown .first 'head.weight'"):
        NativeGroundingDino(config(str(tmp_path / "more.pth"))).load()
    with pytest.raises(WeightsError, match=r"missing .first 'backbone.*1 unknown .first 'weight'"):
        NativeGroundingDino(config(str(tmp_path / "other.pth"))).load()
    with pytest.raises(WeightsError, match=r"no weights file .*nothing\.pth"):
        NativeGroundingDino(config("nothing.pth")).load()
