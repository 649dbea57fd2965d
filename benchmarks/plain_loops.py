"""Each model as its own page shows it, one image and one prompt a call, beside our expert on the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from storage.records import Box
from storage.request import Request

PHRASES = ("red ring", "green star", "big blue square", "small yellow circle")
BOXES = (Box(40, 50, 200, 260), Box(300, 20, 420, 160), Box(10, 300, 630, 470), Box(500, 200, 560, 280))
QUESTIONS = tuple(f"Is there a {phrase}?" for phrase in PHRASES)
BEST = 800
"""Boxes whose scores are compared, of 900."""
NO_MASK = np.zeros((1, 1), bool)


@dataclass(frozen=True)
class Answer:
    """To one instruction about one image: scores in [0, 1], and a mask where the expert gives one."""

    scores: np.ndarray
    mask_HW: np.ndarray


Variant = Callable[[], list[Answer]]


def sam(folder: Path, device: str, images: Sequence[np.ndarray]) -> dict[str, Variant]:
    """A mask for each box."""
    from transformers import SamModel, SamProcessor
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    from ivm_data.experts.segmenters.sam import Sam, SamConfig

    model = SamModel.from_pretrained(folder).to(device).eval()
    processor = SamProcessor(SamImageProcessorPil.from_pretrained(folder))

    def plain() -> list[Answer]:
        return [one(Image.fromarray(image), box) for image in images for box in BOXES]

    def one(image: Image.Image, box: Box) -> Answer:
        corners = [[[box.x0, box.y0, box.x1, box.y1]]]
        inputs = processor(image, input_boxes=corners, return_tensors="pt").to(device)
        with torch.no_grad():
            outputs = model(**inputs, multimask_output=False)
        masks = processor.image_processor.post_process_masks(
            outputs.pred_masks.cpu(), inputs["original_sizes"].cpu(), inputs["reshaped_input_sizes"].cpu()
        )
        return Answer(outputs.iou_scores.flatten().clamp(0, 1).cpu().numpy(), masks[0][0, 0].numpy())

    def ours(expert: Sam) -> list[Answer]:
        found = expert.segment([image.copy() for image in images], [BOXES] * len(images))
        return [
            Answer(np.array([iou]), mask_HW)
            for row in found
            for mask_HW, iou in zip(row.mask_NHW, row.predicted_iou_N, strict=True)
        ]

    experts = [Sam(SamConfig(str(folder), device=device, dtype=dtype)) for dtype in ("float32", "bfloat16")]
    return {"plain loop": plain} | _ours(experts, ours)


def grounding_dino(folder: Path, device: str, images: Sequence[np.ndarray]) -> dict[str, Variant]:
    """The best boxes of each phrase; a score is the mean over the phrase's tokens in every variant."""
    from transformers import AutoTokenizer, GroundingDinoForObjectDetection, GroundingDinoProcessor
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

    from ivm_data.experts.common.phrase_score import phrase_spans, span_scores
    from ivm_data.experts.grounders.grounding_dino import GroundingDino, GroundingDinoConfig

    model = GroundingDinoForObjectDetection.from_pretrained(folder).to(device).eval()
    processor = GroundingDinoProcessor(
        GroundingDinoImageProcessorPil.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    )

    def plain() -> list[Answer]:
        return [one(Image.fromarray(image), phrase) for image in images for phrase in PHRASES]

    def one(image: Image.Image, phrase: str) -> Answer:
        inputs = processor(images=image, text=f"{phrase} .", return_tensors="pt").to(device)
        with torch.no_grad():
            outputs = model(**inputs)
        processor.post_process_grounded_object_detection(outputs, threshold=0.99, target_sizes=[image.size[::-1]])
        scores = span_scores(outputs.logits[0], phrase_spans(inputs["input_ids"][0].tolist()))[:, 0]
        return Answer(scores.sort(descending=True).values[:BEST].cpu().numpy(), NO_MASK)

    def ours(expert: GroundingDino) -> list[Answer]:
        rows = expert.ground([image for image in images for _ in PHRASES], [[p] for _ in images for p in PHRASES])
        return [Answer(np.array([hit.score for hit in row[:BEST]]), NO_MASK) for row in rows]

    experts = [
        GroundingDino(GroundingDinoConfig(str(folder), box_threshold=0, nms_iou=1, device=device, dtype=dtype))
        for dtype in ("float32", "bfloat16")
    ]
    return {"plain loop": plain} | _ours(experts, ours)


def clipseg(folder: Path, device: str, images: Sequence[np.ndarray]) -> dict[str, Variant]:
    """The mask of each phrase at the probability that the first image's first mask has in its middle."""
    from transformers import AutoTokenizer, CLIPSegForImageSegmentation, CLIPSegProcessor
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    from ivm_data.experts.proposers.clipseg import ClipSeg, ClipSegConfig

    model = CLIPSegForImageSegmentation.from_pretrained(folder).to(device).eval()
    processor = CLIPSegProcessor(ViTImageProcessorPil.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))

    def heat(image: Image.Image, phrase: str) -> np.ndarray:
        inputs = processor(text=[phrase], images=[image], return_tensors="pt").to(device)
        with torch.no_grad():
            logits_hw = model(**inputs).logits.reshape(352, 352)
        resized = torch.nn.functional.interpolate(
            logits_hw[None, None], image.size[::-1], mode="bilinear", align_corners=False
        )
        return resized[0, 0].sigmoid().cpu().numpy()

    threshold = float(np.median(heat(Image.fromarray(images[0]), PHRASES[0])))

    def plain() -> list[Answer]:
        return [one(heat(Image.fromarray(image), phrase)) for image in images for phrase in PHRASES]

    def one(heat_HW: np.ndarray) -> Answer:
        mask_HW = heat_HW >= threshold
        return Answer(np.array([heat_HW[mask_HW].mean() if mask_HW.any() else 0.0]), mask_HW)

    def ours(expert: ClipSeg) -> list[Answer]:
        asked = [Request.of((phrase,)) for _ in images for phrase in PHRASES]
        proposed = expert.propose([image for image in images for _ in PHRASES], asked)
        return [Answer(np.array([score]), mask_HW) for mask_HW, score in proposed]

    expert = ClipSeg(ClipSegConfig(str(folder), threshold=threshold, device=device))
    return {"plain loop": plain} | _ours([expert], ours)


def llava(folder: Path, device: str, images: Sequence[np.ndarray]) -> dict[str, Variant]:
    """P(yes) for each question; both in bfloat16, and on one copy of the weights."""
    from ivm_data.experts.lmms.hf_lmm import HfLmm, LmmConfig

    expert = HfLmm(LmmConfig(str(folder), device=device, dtype="bfloat16", batch=8))
    expert.load()
    model, processor = expert._model, expert._processor
    ids = torch.tensor([expert._yes_ids[0], expert._no_ids[0]])

    def plain() -> list[Answer]:
        return [one(Image.fromarray(image), question) for image in images for question in QUESTIONS]

    def one(image: Image.Image, question: str) -> Answer:
        turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
        prompt = processor.apply_chat_template([turn], add_generation_prompt=True)
        inputs = processor(images=image, text=prompt, return_tensors="pt").to(device, torch.bfloat16)
        with torch.no_grad():
            out = model.generate(
                **inputs, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True
            )
        return Answer(out.logits[0][0].cpu()[ids].float().softmax(0)[:1].numpy(), NO_MASK)

    def ours(expert: HfLmm) -> list[Answer]:
        chances = expert.p_yes([image for image in images for _ in QUESTIONS], list(QUESTIONS) * len(images))
        return [Answer(np.array([p]), NO_MASK) for p in chances]

    return {"plain loop, bfloat16": plain} | _ours([expert], ours)


def _ours(experts: Iterable, answer: Callable[..., list[Answer]]) -> dict[str, Variant]:
    """A variant for each expert, loaded, since the checkpoint's folder does not stay."""
    variants: dict[str, Variant] = {}
    for expert in experts:
        expert.load()
        variants[f"ours, {getattr(expert.config, 'dtype', 'float32')}"] = lambda expert=expert: answer(expert)
    return variants
