"""Full-size checkpoints with random weights, from the published configs written out here: nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch

from benchmarks.lmm_tokenizers import chatml, made_tokenizer
from ivm_data.zoo.embedded import WEIGHTS
from ivm_model.model import modern, paper

SAM = {
    "vit-b": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "global": [2, 5, 8, 11]},
    "vit-h": {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "global": [7, 15, 23, 31]},
}
"""facebook/sam-vit-base and facebook/sam-vit-huge."""
QWEN_IMAGE = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>")


def save_sam(folder: Path, architecture: str) -> None:
    """SAM at 1024 x 1024 pixels."""
    from transformers import SamConfig

    size = dict(SAM[architecture])
    attention = {"global_attn_indexes": size.pop("global"), "window_size": 14, "mlp_dim": 4 * size["hidden_size"]}
    save_sam_of(folder, SamConfig(vision_config={**size, **attention, "image_size": 1024, "patch_size": 16}))


def save_sam_of(folder: Path, config: Any) -> None:
    """A SAM of a transformers SamConfig."""
    from transformers import SamModel
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    save(folder, SamModel(config))
    side = config.vision_config.image_size
    SamImageProcessorPil(size={"longest_edge": side}, pad_size={"height": side, "width": side}).save_pretrained(folder)


def save_sam2(folder: Path, config: Any = None) -> None:
    """facebook/sam2.1-hiera-large's images, or a SAM 2 of another config."""
    from transformers import Sam2ImageProcessor, Sam2Model

    config = config or modern.sam_config()
    save(folder, Sam2Model(config))
    side = config.prompt_encoder_config.image_size
    Sam2ImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)


def save_grounding_dino(folder: Path) -> None:
    """IDEA-Research/grounding-dino-tiny: Swin-T, BERT base, 900 queries; the tokenizer is the embedded grounder's."""
    from transformers import AutoTokenizer, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

    swin = SwinConfig(
        image_size=224,
        embed_dim=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        out_indices=[2, 3, 4],
    )
    config = GroundingDinoConfig(
        backbone_config=swin, encoder_layers=6, decoder_layers=6, d_model=256, num_queries=900, encoder_ffn_dim=2048
    )
    model = GroundingDinoForObjectDetection(config)
    with torch.no_grad():  # Random weights make logits of 30, whose probabilities jump from 0 to 1 at any rounding.
        for weight in model.model.decoder.layer_norm.parameters():
            weight.mul_(0.1)
        # A proposal's rank decides its query's embedding: ranks that tie within rounding must not change the answers.
        queries = model.model.query_position_embeddings.weight
        queries.copy_(queries[:1].clone().expand_as(queries))
    save(folder, model)
    GroundingDinoImageProcessorPil(size={"shortest_edge": 800, "longest_edge": 1333}).save_pretrained(folder)
    AutoTokenizer.from_pretrained(WEIGHTS / "grounder").save_pretrained(folder)


def save_clipseg(folder: Path, *, small: bool = False) -> None:
    """CIDAS/clipseg-rd64-refined: CLIP ViT-B/16 at 352 x 352 pixels; the tokenizer knows letters only.

    Args:
        small: two narrow layers instead, which a CPU runs in no time.
    """
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPTokenizer
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    start, end = "<|startoftext|>", "<|endoftext|>"
    letters = ("!", *ascii_lowercase, *(f"{letter}</w>" for letter in ascii_lowercase), start, end)
    text = {"hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8, "intermediate_size": 2048}
    vision = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "patch_size": 16}
    layers = [3, 6, 9]
    if small:
        little = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        text, vision, layers = little, little | {"patch_size": 16}, [0, 1]
    config = CLIPSegConfig(
        text_config=text | {"bos_token_id": letters.index(start), "eos_token_id": letters.index(end)},
        vision_config=vision,
        extract_layers=layers,
        reduce_dim=64,
        use_complex_transposed_convolution=True,
    )
    model = CLIPSegForImageSegmentation(config)
    with torch.no_grad():  # Random weights make logits of hundreds, whose probabilities would all be 0 or 1.
        model.decoder.transposed_convolution[-1].weight.mul_(1 / 300)
    save(folder, model)
    ViTImageProcessorPil(
        size={"height": 352, "width": 352}, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]
    ).save_pretrained(folder)
    vocabulary = {token: i for i, token in enumerate(letters)}
    CLIPTokenizer(vocabulary, [], pad_token=end, model_max_length=77).save_pretrained(folder)


def llava_config() -> Any:
    """llava-hf/llava-1.5-7b-hf, but for the image token, which is the embedded tokenizer's."""
    from transformers import AutoTokenizer

    config = paper.lmm_config()
    config.image_token_id = AutoTokenizer.from_pretrained(WEIGHTS / "lmm").convert_tokens_to_ids("<image>")
    return config


def save_llava(folder: Path, *, device: str = "cpu", config: Any = None) -> None:
    """LLaVA-1.5-7B in bfloat16, with the embedded LMM's tokenizer and chat template.

    Args:
        device: where its seven billion random numbers are drawn; a GPU does that in a second.
        config: another one than `llava_config`'s.
    """
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    with torch.device(device):
        model = LlavaForConditionalGeneration._from_config(config or llava_config(), dtype=torch.bfloat16)
    save(folder, model)
    processor = AutoProcessor.from_pretrained(WEIGHTS / "lmm")
    side = model.config.vision_config.image_size
    processor.patch_size, processor.num_additional_image_tokens = model.config.vision_config.patch_size, 1
    processor.vision_feature_select_strategy = "default"
    processor.image_processor.size = processor.image_processor.crop_size = {"height": side, "width": side}
    processor.save_pretrained(folder)


def save_qwen3_vl(folder: Path, *, device: str = "cpu", config: Any = None) -> None:
    """Qwen3-VL-2B in bfloat16; the tokenizer is made here, with Qwen's special tokens.

    Args:
        device, config: as of `save_llava`.
    """
    from transformers import Qwen3VLForConditionalGeneration, Qwen3VLProcessor, Qwen3VLVideoProcessor
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    config = config or modern.lmm_config()
    names = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *QWEN_IMAGE, "<|video_pad|>")
    tokenizer = made_tokenizer(names, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    ids = dict(zip(names, tokenizer.convert_tokens_to_ids(list(names)), strict=True))
    config.vision_start_token_id, config.image_token_id, config.vision_end_token_id = (ids[name] for name in QWEN_IMAGE)
    config.video_token_id = ids["<|video_pad|>"]
    with torch.device(device):
        model = Qwen3VLForConditionalGeneration._from_config(config, dtype=torch.bfloat16)
    save(folder, model)
    half = [0.5] * 3
    size = {"shortest_edge": 65_536, "longest_edge": 16_777_216}
    images = Qwen2VLImageProcessorPil(patch_size=16, size=size, image_mean=half, image_std=half)
    Qwen3VLProcessor(
        images, tokenizer, Qwen3VLVideoProcessor(), chat_template=chatml("".join(QWEN_IMAGE))
    ).save_pretrained(folder)


def llava_gigabytes() -> float:
    """Of the weights in bfloat16, without making any."""
    from transformers import LlavaForConditionalGeneration

    with torch.device("meta"):
        model = LlavaForConditionalGeneration(llava_config())
    return 2 * sum(parameter.numel() for parameter in model.parameters()) / 1e9


def save(folder: Path, model: Any) -> None:
    model.eval().save_pretrained(folder)
