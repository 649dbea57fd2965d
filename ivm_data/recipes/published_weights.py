"""What the recipes' models weigh as they are published, where they are had, and what their owners ask first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ivm_model.model.base_models import HUB_ID

DOWNLOADS = {
    "groundingdino_swint_ogc.pth": "https://github.com/IDEA-Research/GroundingDINO/releases/download/v0.1.0-alpha/",
    "groundingdino_swinb_cogcoor.pth": "https://github.com/IDEA-Research/GroundingDINO/releases/download/v0.1.0-alpha2/",
    "sam_vit_h_4b8939.pth": "https://dl.fbaipublicfiles.com/segment_anything/",
    "sam_vit_l_0b3195.pth": "https://dl.fbaipublicfiles.com/segment_anything/",
    "sam_vit_b_01ec64.pth": "https://dl.fbaipublicfiles.com/segment_anything/",
}
"""Where the original projects publish their files."""
GATED = ("facebook/sam3", "google/gemma-3", "meta-llama/")
"""How hub ids begin whose owners want a licence accepted before a download."""


@dataclass(frozen=True)
class Weights:
    """Weights as their makers tell of them.

    Attributes:
        millions: of parameters.
        bytes_each: of a parameter in the files.
    """

    millions: float
    bytes_each: int = 4

    @property
    def file_bytes(self) -> float:
        """Bytes of the files, without their heads."""
        return self.millions * 1e6 * self.bytes_each

    def loaded_bytes(self, bytes_each: int) -> float:
        """Bytes once loaded in numbers of so many bytes."""
        return self.millions * 1e6 * bytes_each


PUBLISHED = {
    "groundingdino_swint_ogc.pth": Weights(173),
    "groundingdino_swinb_cogcoor.pth": Weights(234),
    "sam_vit_h_4b8939.pth": Weights(641),
    "sam_vit_l_0b3195.pth": Weights(312),
    "sam_vit_b_01ec64.pth": Weights(94),
    "llava-hf/llava-1.5-7b-hf": Weights(7_063, 2),
    "Qwen/Qwen2.5-VL-7B-Instruct": Weights(8_292, 2),
    "Qwen/Qwen3-VL-2B-Instruct": Weights(2_128, 2),
    "Qwen/Qwen3-VL-4B-Instruct": Weights(4_438, 2),
    "Qwen/Qwen3-VL-8B-Instruct": Weights(8_767, 2),
    "openmmlab-community/mm_grounding_dino_large_all": Weights(343),
    "openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det": Weights(173),
    "google/owlv2-base-patch16-ensemble": Weights(155),
    "facebook/sam2.1-hiera-large": Weights(224),
    "facebook/sam2.1-hiera-small": Weights(46),
    "facebook/sam3": Weights(860),
    "CIDAS/clipseg-rd64-refined": Weights(151),
}
"""By hub id or file name; rounded. Of SAM 3 an expert reads only a part: it takes less than this."""


def published(where: str) -> Weights | None:
    """What is known of a checkpoint, by its hub id or the name of its file."""
    return PUBLISHED.get(where) or PUBLISHED.get(Path(where).name)


def how_to_get(where: str, revision: str = "", files: str = "") -> str:
    """The command that brings a checkpoint here, and what has to be done before; "" where nobody publishes it.

    Args:
        where: path, or hub id.
        files: those of a hub id that are needed, with spaces between them; "" for all.
    """
    path = Path(where)
    if path.name in DOWNLOADS:
        return f"curl -L --fail --create-dirs -o {where} {DOWNLOADS[path.name]}{path.name}"
    if not HUB_ID.fullmatch(where) or path.suffix in (".pth", ".py", ".bin"):
        return ""
    command = " ".join(["hf download", where, *([files] if files else [])])
    command += f" --revision {revision}" if revision else ""
    if where.startswith(GATED):
        return f"hf auth login && {command}  # once its licence is accepted on huggingface.co/{where}"
    return command
