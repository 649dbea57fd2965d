"""The masking model: frozen SAM encoder + LMM with LoRA -> prompts -> mask decoder -> heatmap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ivm_model.model.base_models import Dtype, checkpoint_name, computing_in
from ivm_model.model.decoder import DecoderConfig, PromptedDecoder
from ivm_model.model.image_encoders import encoder_of, load_sam
from ivm_model.model.inputs import InputConfig, fit
from ivm_model.model.lmm import Lmm, LoraSettings

GENERATOR = "generator"
"""The LoRA of the masking model; discriminators have their own."""
PIXELS_AT_ONCE = 4 << 20
"""Of images that pass through SAM's encoder together: at 1,024 x 1,024 ViT-H takes more than a gigabyte for each."""


@dataclass(frozen=True)
class ModelConfig:
    """What a masking model is made of.

    Attributes:
        sam: directory or hub id of a transformers SAM, SAM 2 or SAM 3 tracker with its processor.
        lmm: directory or hub id of a LLaVA, Qwen2.5-VL or Qwen3-VL with its processor.
        lora: adapters of the LMM.
        decoder: how the LMM prompts the mask decoder.
        inputs: how image and instruction reach both.
    """

    sam: str
    lmm: str
    lora: LoraSettings = field(default_factory=LoraSettings)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    inputs: InputConfig = field(default_factory=InputConfig)


@dataclass(frozen=True)
class Placement:
    """How an image lies in SAM's square input: resized to `resized_hw`, then padded on the right and at the bottom."""

    original_hw: tuple[int, int]
    resized_hw: tuple[int, int]


@dataclass(frozen=True)
class Encoded:
    """What the frozen encoders make of images; it depends on neither instruction nor training, so it can be kept.

    Attributes:
        sam_BCHW: SAM embedding, of SAM 2 packed.
        vision_BTC: what `Lmm.see` gives.
        placements: B.
    """

    sam_BCHW: torch.Tensor
    vision_BTC: torch.Tensor
    placements: tuple[Placement, ...]

    def to(self, device: torch.device) -> Encoded:
        """The same on a device, as float32."""
        return Encoded(self.sam_BCHW.to(device).float(), self.vision_BTC.to(device).float(), self.placements)


class MaskingModel(nn.Module):
    """IVM's generator (arXiv 2405.19783, Figure 6).

    Attributes:
        sam_dtype: in which SAM's encoder computes where that is safe; its weights and embeddings stay float32.

    Raises:
        WeightsError: a base model cannot be read.
        ConfigError: a setting does not go with a base model.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.sam_dtype: Dtype = "float32"
        sam = load_sam(config.sam)
        self.lmm = Lmm(config.lmm, config.lora, config.inputs)
        self.lmm.add_role(GENERATOR)
        self.decoder = PromptedDecoder(sam, self.lmm.hidden_size, config.decoder)
        self.sam_encoder = encoder_of(sam, config.sam, config.inputs.frame)

    @property
    def side(self) -> int:
        """Side of SAM's square input in pixels: the frame of `forward`'s logits."""
        return self.sam_encoder.side

    @property
    def base_models(self) -> dict[str, str]:
        """`model@revision` of the frozen base models by role."""
        return {"sam": checkpoint_name(self.config.sam), "lmm": checkpoint_name(self.config.lmm)}

    def fit(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """HWC uint8 RGB images as both base models are given them, see `inputs.fit`."""
        return [fit(image, self.side, self.config.inputs.frame) for image in images]

    @torch.no_grad()
    def encode(self, images: Sequence[np.ndarray], sam_BCHW: torch.Tensor | None = None) -> Encoded:
        """Run the frozen encoders on HWC uint8 RGB images of any sizes.

        Args:
            sam_BCHW: what `embed` made of the same images, where it was kept.
        """
        fitted = self.fit(images)
        sizes = [_resized_hw(image, self.side) for image in fitted]
        placements = tuple(Placement(image.shape[:2], size) for image, size in zip(images, sizes, strict=True))
        return Encoded(self.embed(fitted) if sam_BCHW is None else sam_BCHW, self.lmm.see(fitted), placements)

    @torch.no_grad()
    def embed(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """SAM's embedding of HWC uint8 RGB images, sam_BCHW."""
        group = max(1, PIXELS_AT_ONCE // self.side**2)
        with computing_in(self.sam_dtype, self.device.type):
            starts = range(0, len(images), group)
            parts = [self.sam_encoder(self.fit(images[start : start + group])) for start in starts]
        return torch.cat(parts).float()

    def train(self, mode: bool = True) -> MaskingModel:
        """Switch what learns; the frozen encoders never train."""
        super().train(mode)
        self.sam_encoder.eval()
        return self

    def forward(self, encoded: Encoded, instructions: Sequence[str]) -> torch.Tensor:
        """Mask logits in SAM's padded square frame, logits_BHW with H = W = `side`."""
        reading = self.lmm.read(instructions, encoded.vision_BTC, GENERATOR)
        logits_BHW = self.decoder(encoded.sam_BCHW, reading, self.lmm.patches(encoded.vision_BTC))
        return functional.interpolate(
            logits_BHW[:, None], (self.side, self.side), mode="bilinear", align_corners=False
        )[:, 0]

    @torch.no_grad()
    def heatmaps(self, images: Sequence[np.ndarray], instructions: Sequence[str]) -> list[np.ndarray]:
        """Probability that each pixel is needed, float32 in [0, 1], each of its image's size."""
        return self.decode(self.encode(images), instructions)

    @torch.no_grad()
    def decode(self, encoded: Encoded, instructions: Sequence[str]) -> list[np.ndarray]:
        """As `heatmaps`, from what `encode` made of the images."""
        logits_BHW = self(encoded.to(self.device), instructions)
        return [self.to_original(logits_BHW[k], at).sigmoid().cpu().numpy() for k, at in enumerate(encoded.placements)]

    def to_original(self, logits_HW: torch.Tensor, placement: Placement) -> torch.Tensor:
        """Remove the padding and resize to the original image."""
        height, width = placement.resized_hw
        inside = logits_HW[None, None, :height, :width].float()
        return functional.interpolate(inside, placement.original_hw, mode="bilinear", align_corners=False)[0, 0]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.no_mask_C.device

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """Everything that training changes, by name: the generator's LoRA and the decoder with its projections."""
        lora = {f"lmm.model.{name}": value for name, value in self.lmm.role_parameters(GENERATOR).items()}
        decoder = {f"decoder.{name}": value for name, value in self.decoder.named_parameters() if value.requires_grad}
        return {**lora, **decoder}

    def kept_tensors(self) -> dict[str, nn.Parameter]:
        """What a checkpoint holds: all that is trained, and the random frequencies that an IVM trunk started with."""
        fixed = {f"decoder.{name}": p for name, p in self.decoder.named_parameters() if name.endswith("frequencies_2F")}
        return {**self.trained_parameters(), **fixed}

    def parameter_report(self) -> dict[str, int]:
        """Numbers of parameters: `trained`, of it `trained_lora`, and `frozen`; discriminators are not counted."""
        trained = self.trained_parameters()
        every = {name: value.numel() for name, value in self.named_parameters() if ".lora_" not in name}
        lora = sum(value.numel() for name, value in trained.items() if ".lora_" in name)
        total = sum(value.numel() for value in trained.values())
        return {"trained": total, "trained_lora": lora, "frozen": sum(every.values()) - (total - lora)}


def _resized_hw(image_HWC: np.ndarray, side: int) -> tuple[int, int]:
    """Size after SAM's preprocessing has resized the longer side (segment-anything, ResizeLongestSide)."""
    height, width = image_HWC.shape[:2]
    scale = side / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)
