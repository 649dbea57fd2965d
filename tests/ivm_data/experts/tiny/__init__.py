"""Every expert's checkpoint in miniature: random weights, saved in the format that its class reads.

A test gets this package as the fixture `tiny`.
"""

from .clip_models import CLIP_TEXT, clip, clip_tokenizer, clipseg
from .grounders import (
    SWIN,
    bert,
    florence2,
    groundingdino,
    kosmos2,
    mm_grounding_dino,
    owlv2,
    use_tiny_swin,
)
from .lmms import qwen2_5_vl, qwen3_vl
from .sam2_models import edgetam, edgetam_video, sam2, sam2_parts, sam2_video
from .sam3_models import (
    sam3,
    sam3_lite_text,
    sam3_tracker,
    sam3_tracker_video,
    sam3_video,
    sam3_video_processor,
)
from .sam_models import ivm, segment_anything, use_small_sam
from .specs import SPECS

__all__ = [
    "CLIP_TEXT", "SPECS", "SWIN", "bert", "clip", "clip_tokenizer", "clipseg", "edgetam", "edgetam_video", "florence2",
    "groundingdino", "ivm", "kosmos2", "mm_grounding_dino", "owlv2", "qwen2_5_vl", "qwen3_vl", "sam2", "sam2_parts",
    "sam2_video", "sam3", "sam3_lite_text", "sam3_tracker", "sam3_tracker_video", "sam3_video", "sam3_video_processor",
    "segment_anything", "use_small_sam", "use_tiny_swin",
]  # fmt: skip
