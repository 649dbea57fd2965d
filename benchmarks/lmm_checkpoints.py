"""Checkpoints of today's LMM families in miniature: their own config, model and processor classes, random weights.

Preprocessing is the published one. Tokenizers are the published ones where `processors` holds them; else they are made
here, with the family's own special tokens, and their vocabulary stands for nothing. Chat templates are the published
files where `processors` holds them; else short ones, which render one user's turn with one image as the published do.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from benchmarks.lmm_tokenizers import QWEN, chatml, made_tokenizer, qwen_tokenizer, template

LLAVA = "llava-1.5-7b"
"""Folder of LLaVA-1.5's published tokenizer, template and preprocessing."""
TEXT = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 65536,
}  # fmt: skip
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
TOWER = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2}


def save(folder: Path, config: Any, processor: Any = None) -> None:
    """Write a model of that config with weights by which answers differ, and its processor."""
    import torch
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:  # As drawn by the libraries, images hardly move the logits.
                fan_in = weight[0].numel() if weight.ndim > 1 else 1
                weight.normal_(std=1.0 if "embed" in name and weight.ndim == 2 else fan_in**-0.5)
    model.generation_config.eos_token_id = getattr(config.get_text_config(), "eos_token_id", None)
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)


def published(folder: Path, processors: Path, name: str, config: dict[str, Any]) -> None:
    """A checkpoint around the published processor files of that name."""
    from transformers import AutoConfig

    shutil.copytree(processors / name, folder, dirs_exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save(folder, AutoConfig.from_pretrained(folder))


def llava(folder: Path, processors: Path) -> None:
    """LLaVA-1.5: a square of 336 pixels."""
    vision = {**VISION, "model_type": "clip_vision_model", "image_size": 336, "patch_size": 14, "num_hidden_layers": 3}
    config = {
        "model_type": "llava", "image_token_index": 32000, "image_seq_length": 576, "vision_config": vision,
        "text_config": {**TEXT, "model_type": "llama", "vocab_size": 32064, "max_position_embeddings": 4096},
    }  # fmt: skip
    published(folder, processors, LLAVA, config)


def qwen2_5_vl(folder: Path, processors: Path) -> None:
    """Qwen2.5-VL: any size, positions in three dimensions."""
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}
    config = {
        "model_type": "qwen2_5_vl", "image_token_id": 151655, "video_token_id": 151656,
        "text_config": {**TEXT, "vocab_size": 152064, "rope_parameters": rope, "eos_token_id": 151645},
        "vision_config": {**TOWER, "out_hidden_size": 64, "fullatt_block_indexes": [1]},
    }  # fmt: skip
    published(folder, processors, QWEN, config)


def qwen3_vl(folder: Path, processors: Path) -> None:
    """Qwen3-VL: any size, features of several layers of the tower."""
    from transformers import Qwen3VLConfig, Qwen3VLProcessor, Qwen3VLVideoProcessor
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [2, 3, 3], "mrope_interleaved": True}
    text = {**TEXT, "vocab_size": 151936, "head_dim": 16, "rope_parameters": rope, "eos_token_id": 151645}
    vision = {**TOWER, "depth": 4, "out_hidden_size": 64, "deepstack_visual_indexes": [1, 2]}
    size = {"shortest_edge": 65_536, "longest_edge": 16_777_216}
    half = [0.5, 0.5, 0.5]
    image = Qwen2VLImageProcessor(patch_size=16, size=size, image_mean=half, image_std=half)
    processor = Qwen3VLProcessor(
        image,
        qwen_tokenizer(processors),
        Qwen3VLVideoProcessor(),
        chat_template=chatml("<|vision_start|><|image_pad|><|vision_end|>"),
    )
    save(folder, Qwen3VLConfig(text_config=text, vision_config=vision), processor)


def llava_onevision(folder: Path, processors: Path) -> None:
    """LLaVA-OneVision: tiles of 384 pixels, up to nine, and the whole."""
    from transformers import LlavaOnevisionConfig, LlavaOnevisionProcessor, LlavaOnevisionVideoProcessor
    from transformers.models.llava_onevision.image_processing_llava_onevision import LlavaOnevisionImageProcessor

    tokenizer = qwen_tokenizer(processors, ["<image>", "<video>"])
    image_id, video_id = tokenizer.convert_tokens_to_ids(["<image>", "<video>"])
    half = [0.5, 0.5, 0.5]
    pixels = LlavaOnevisionImageProcessor(image_mean=half, image_std=half)
    vision = {**VISION, "model_type": "siglip_vision_model", "image_size": 384, "patch_size": 14}
    config = LlavaOnevisionConfig(
        text_config={**TEXT, "model_type": "qwen2", "vocab_size": 152_000, "eos_token_id": 151_645},
        vision_config={**vision, "vision_use_head": False},
        image_token_index=image_id,
        video_token_index=video_id,
        image_grid_pinpoints=pixels.image_grid_pinpoints,
    )
    processor = LlavaOnevisionProcessor(
        pixels,
        tokenizer,
        LlavaOnevisionVideoProcessor(),
        num_image_tokens=729,
        vision_feature_select_strategy="full",
        chat_template=template("<|im_start|>user ", "<image>\n", "<|im_end|>", "<|im_start|>assistant\n"),
    )
    save(folder, config, processor)


def smolvlm2(folder: Path, processors: Path) -> None:
    """SmolVLM2: enlarged to 2,048 pixels, in tiles of 512, and the whole."""
    from transformers import SmolVLMConfig, SmolVLMProcessor, SmolVLMVideoProcessor
    from transformers.models.smolvlm.image_processing_smolvlm import SmolVLMImageProcessor

    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<end_of_utterance>", "<image>"]
    names += ["<fake_token_around_image>", "<global-img>", *tiles]
    tokenizer = made_tokenizer(names, eos_token="<end_of_utterance>", pad_token="<|im_end|>", bos_token="<|im_start|>")
    vision = {**VISION, "image_size": 512, "patch_size": 16}
    config = SmolVLMConfig(
        text_config={**TEXT, "model_type": "llama", "vocab_size": len(tokenizer), "eos_token_id": 3, "pad_token_id": 2},
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=4,
    )
    pixels = SmolVLMImageProcessor(size={"longest_edge": 2048}, max_image_size={"longest_edge": 512})
    answer = template("User:", "<image>", "<end_of_utterance>\n", "Assistant:", head="<|im_start|>")
    video = SmolVLMVideoProcessor(size={"longest_edge": 512}, max_image_size={"longest_edge": 512})
    save(folder, config, SmolVLMProcessor(pixels, tokenizer, video, image_seq_len=64, chat_template=answer))


_GEMMA_NAMES = ("<pad>", "<eos>", "<bos>", "<unk>")
_GEMMA_ROLES = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}


def gemma3(folder: Path, processors: Path) -> None:
    """Gemma 3: stretched to a square of 896 pixels, 256 tokens that see each other."""
    from transformers import Gemma3Config, Gemma3Processor
    from transformers.models.gemma3.image_processing_gemma3 import Gemma3ImageProcessor

    images = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    names = [*_GEMMA_NAMES, *images.values(), "<start_of_turn>", "<end_of_turn>"]
    tokenizer = made_tokenizer(names, **_GEMMA_ROLES, extra_special_tokens=images)
    image, begin, end = tokenizer.convert_tokens_to_ids(list(images.values()))
    text = {**TEXT, "vocab_size": len(tokenizer), "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 1024}
    vision = {**VISION, "model_type": "siglip_vision_model", "image_size": 896, "patch_size": 14}
    config = Gemma3Config(
        text_config={**text, "eos_token_id": tokenizer.convert_tokens_to_ids("<end_of_turn>")},
        vision_config={**vision, "vision_use_head": False},
        mm_tokens_per_image=256,
        image_token_index=image,
        boi_token_index=begin,
        eoi_token_index=end,
    )
    turn = template(
        "<start_of_turn>user\n", "<start_of_image>", "<end_of_turn>\n", "<start_of_turn>model\n", head="{{ bos_token }}"
    )
    pixels = Gemma3ImageProcessor(size={"height": 896, "width": 896})
    save(folder, config, Gemma3Processor(pixels, tokenizer, chat_template=turn, image_seq_length=256))


def gemma4(folder: Path, processors: Path) -> None:
    """Gemma 4: any shape, at most 280 tokens."""
    from transformers import Gemma4Config, Gemma4Processor, Gemma4VideoProcessor
    from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
    from transformers.models.gemma4.image_processing_gemma4 import Gemma4ImageProcessor

    images = {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>"}
    sounds = {"audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>"}
    names = [
        *_GEMMA_NAMES,
        *images.values(),
        *sounds.values(),
        "<|video|>",
        "<|turn>",
        "<turn|>",
        "<|channel>",
        "<channel|>",
    ]
    tokenizer = made_tokenizer(names, **_GEMMA_ROLES, extra_special_tokens={**images, **sounds})
    ids = dict(zip(names, tokenizer.convert_tokens_to_ids(names), strict=True))
    text = {**TEXT, "vocab_size": len(tokenizer), "vocab_size_per_layer_input": len(tokenizer), "head_dim": 16}
    kinds = ["sliding_attention", "full_attention"]
    text |= {"hidden_size_per_layer_input": 8, "layer_types": kinds, "global_head_dim": 16, "sliding_window": 1024}
    config = Gemma4Config(
        text_config={**text, "eos_token_id": ids["<turn|>"]},
        vision_config={**VISION, "num_key_value_heads": 2, "head_dim": 16},
        image_token_id=ids["<|image|>"],
        boi_token_id=ids["<|image>"],
        eoi_token_id=ids["<image|>"],
        video_token_id=ids["<|video|>"],
        audio_token_id=ids["<|audio|>"],
        boa_token_id=ids["<|audio>"],
        eoa_token_index=ids["<audio|>"],
    )
    answer = "<|turn>model\n{{ '' if enable_thinking else '<|channel>thought\n<channel|>' }}"
    turn = template("<|turn>user\n", "\n\n<|image|>\n\n", "<turn|>\n", answer, head="{{ bos_token }}")
    processor = Gemma4Processor(
        Gemma4AudioFeatureExtractor(), Gemma4ImageProcessor(), tokenizer, Gemma4VideoProcessor(), chat_template=turn
    )
    save(folder, config, processor)


def internvl(folder: Path, processors: Path) -> None:
    """InternVL3: tiles of 448 pixels, up to twelve, and the whole."""
    from transformers import InternVLConfig, InternVLProcessor, InternVLVideoProcessor
    from transformers.models.got_ocr2.image_processing_got_ocr2 import GotOcr2ImageProcessor

    images = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    named = {**images, "video_token": "<video>"}
    tokenizer = qwen_tokenizer(processors, list(named.values()), extra_special_tokens=named)
    config = InternVLConfig(
        text_config={**TEXT, "model_type": "qwen2", "vocab_size": 152_000, "eos_token_id": 151_645},
        vision_config={**VISION, "image_size": [448, 448], "patch_size": [14, 14]},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
    )
    pixels = GotOcr2ImageProcessor(
        size={"height": 448, "width": 448}, crop_to_patches=True, min_patches=1, max_patches=12
    )
    processor = InternVLProcessor(
        pixels, tokenizer, InternVLVideoProcessor(), image_seq_length=256, chat_template=chatml("<IMG_CONTEXT>\n")
    )
    save(folder, config, processor)


def glm4v(folder: Path, processors: Path, *, is_46: bool = False) -> None:
    """GLM-4.1V and GLM-4.6V: any size, positions in three dimensions, thoughts before the answer."""
    import transformers as hf
    from transformers.models.glm4v.image_processing_glm4v import Glm4vImageProcessor
    from transformers.models.glm46v.image_processing_glm46v import Glm46VImageProcessor

    pictures = ["<|begin_of_image|>", "<|image|>", "<|end_of_image|>"]
    videos = ["<|begin_of_video|>", "<|video|>", "<|end_of_video|>"]
    names = ["<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", *pictures, *videos]
    tokenizer = made_tokenizer([*names, "<think>", "</think>"], eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    ids = tokenizer.convert_tokens_to_ids([*pictures, *videos])
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3], "partial_rotary_factor": 1.0}
    text = {**TEXT, "vocab_size": len(tokenizer), "rope_parameters": rope, "eos_token_id": names.index("<|user|>")}
    tower = {**TOWER, "out_hidden_size": 64}
    config_class, processor_class = (
        (hf.Glm46VConfig, hf.Glm46VProcessor) if is_46 else (hf.Glm4vConfig, hf.Glm4vProcessor)
    )
    kinds = {"model_type": "glm4v_text"}, {"model_type": "glm4v_vision"}
    config = config_class(
        text_config={**kinds[0], **text} if is_46 else text,
        vision_config={**kinds[1], **tower} if is_46 else tower,
        image_start_token_id=ids[0],
        image_token_id=ids[1],
        image_end_token_id=ids[2],
        video_start_token_id=ids[3],
        video_token_id=ids[4],
        video_end_token_id=ids[5],
    )
    head = "[gMASK]<sop>"
    off = "if enable_thinking is defined and not enable_thinking else ''"
    quiet, answer = f"{{{{ '/nothink' {off} }}}}", f"<|assistant|>\n{{{{ '<think></think>\n' {off} }}}}"
    if not is_46:
        quiet, answer = "", "<|assistant|>\n"
    turn = template("<|user|>\n", "".join(pictures), quiet, answer, head=head)
    pixels = Glm46VImageProcessor() if is_46 else Glm4vImageProcessor()
    video = hf.Glm46VVideoProcessor() if is_46 else hf.Glm4vVideoProcessor()
    save(folder, config, processor_class(pixels, tokenizer, video, chat_template=turn))


def glm46v(folder: Path, processors: Path) -> None:
    """GLM-4.6V, asked not to think."""
    glm4v(folder, processors, is_46=True)


def molmo2(folder: Path, processors: Path) -> None:
    """Molmo 2: overlapping tiles of 378 pixels, up to eight, and the whole; answers with points."""
    from transformers import Molmo2Config, Molmo2Processor, Molmo2VideoProcessor
    from transformers.models.molmo2.image_processing_molmo2 import Molmo2ImageProcessor

    names = ["<im_start>", "<im_end>", "<im_patch>", "<im_col>", "<low_res_im_start>", "<|image|>", "<im_low>"]
    names += ["<frame_start>", "<frame_end>", "<|video|>"]
    tokenizer = qwen_tokenizer(processors, names)
    ids = dict(zip(names, tokenizer.convert_tokens_to_ids(names), strict=True))
    side, heads = 378, {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16}
    config = Molmo2Config(
        text_config={**TEXT, "vocab_size": 151_936, "head_dim": 16, "eos_token_id": 151_645},
        vision_config={**VISION, **heads, "image_size": [side, side], "num_position_embeddings": 27 * 27},
        adapter_config={**heads, "hidden_size": 32, "intermediate_size": 48, "text_hidden_size": 64,
                        "vision_feature_layer": [1, 0]},
        image_start_token_id=ids["<im_start>"],
        low_res_image_start_token_id=ids["<low_res_im_start>"],
        image_end_token_id=ids["<im_end>"],
        image_patch_id=ids["<im_patch>"],
        frame_start_token_id=ids["<frame_start>"],
        frame_end_token_id=ids["<frame_end>"],
    )  # fmt: skip
    processor = Molmo2Processor(
        Molmo2ImageProcessor(), Molmo2VideoProcessor(), tokenizer, chat_template=chatml("<|image|>")
    )
    save(folder, config, processor)
