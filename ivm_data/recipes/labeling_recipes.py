"""Recipes: a labeling run is a function that returns its whole configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from ivm_data.config import override
from ivm_data.experts.registry import ExpertSpec
from ivm_data.stages.fuse import FuseConfig
from ivm_data.stages.gate import GateConfig
from ivm_data.stages.ground import GroundConfig
from ivm_data.stages.resolve import ResolveConfig
from ivm_data.stages.rewrite import RewriteConfig
from ivm_data.stages.verify import VerifyConfig
from storage import recipes
from storage.errors import ConfigError
from storage.validation import FILLED, Checked, Count


@dataclass(frozen=True)
class Recipe(Checked):
    """Everything that decides what labels look like; its hash names the shards.

    Attributes:
        name: the function that made it.
        rewriter, segmenter, verifier: one expert each.
        grounders: one expert or several, whose boxes are united.
        proposers: further experts that propose masks, for the consensus.
        calibration: JSON file that turns scores into quality; `zoo:NAME` for an embedded one, "" for none yet.
        batch_size: drafts that pass through the stages together. It decides the last digits of the scores, so it
            counts in the hash like everything else.
    """

    name: str
    rewriter: ExpertSpec
    grounders: Annotated[tuple[ExpertSpec, ...], FILLED]
    segmenter: ExpertSpec
    verifier: ExpertSpec
    proposers: tuple[ExpertSpec, ...]
    calibration: str
    rewrite: RewriteConfig = field(default_factory=RewriteConfig)
    ground: GroundConfig = field(default_factory=GroundConfig)
    resolve: ResolveConfig = field(default_factory=ResolveConfig)
    fuse: FuseConfig = field(default_factory=FuseConfig)
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    batch_size: Count = 16

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they are written beside the shards."""
        return dataclasses.asdict(self)


def recipe_hash(recipe: Recipe, experts: Sequence[tuple[str, str]]) -> str:
    """12 hex digits over everything that decides a label: the recipe and the content of every weight file.

    Args:
        experts: (role, `model@revision`) of every expert and of the calibration.
    """
    return recipes.recipe_hash(recipe.to_dict(), experts)


def demo() -> Recipe:
    """The embedded experts: miniature Grounding DINO, SAM and LLaVA, trained on the procedural world."""
    lmm = ExpertSpec("hf-lmm", {"path": "zoo:lmm"})
    sam = ExpertSpec("sam", {"path": "zoo:segmenter"})
    return Recipe(
        name="demo",
        rewriter=lmm,
        grounders=(ExpertSpec("grounding-dino", {"path": "zoo:grounder"}),),
        segmenter=sam,
        verifier=lmm,
        proposers=(ExpertSpec("everything", uses={"segmenter": sam, "verifier": lmm}),),
        calibration="zoo:calibration.json",
    )


def card() -> Recipe:
    """The original projects' own code and files: Grounding DINO Swin-T, SAM ViT-H, with LLaVA-1.5-7B and CLIPSeg."""
    lmm = _on_gpu("hf-lmm", path="llava-hf/llava-1.5-7b-hf", dtype="float16", batch=8, instructed=True)
    return Recipe(
        name="card",
        rewriter=lmm,
        grounders=(_on_gpu("groundingdino", path="weights/groundingdino_swint_ogc.pth", architecture="swin-t"),),
        segmenter=_on_gpu("segment-anything", path="weights/sam_vit_h_4b8939.pth", architecture="vit_h"),
        verifier=lmm,
        proposers=(_on_gpu("clipseg", path="CIDAS/clipseg-rd64-refined"),),
        calibration="",
    )


def modern() -> Recipe:
    """MM-Grounding-DINO, SAM 2.1 and Qwen2.5-VL-7B, with SAM 3 as the second proposer."""
    lmm = _on_gpu("hf-lmm", path="Qwen/Qwen2.5-VL-7B-Instruct", dtype="bfloat16", batch=8, instructed=True)
    return Recipe(
        name="modern",
        rewriter=lmm,
        grounders=(_on_gpu("mm-grounding-dino", path="openmmlab-community/mm_grounding_dino_large_all"),),
        segmenter=_on_gpu("sam2", path="facebook/sam2.1-hiera-large"),
        verifier=lmm,
        proposers=(_on_gpu("sam3", path="facebook/sam3"),),
        calibration="",
    )


def remote_lmm() -> Recipe:
    """The vision of `modern` here, the LMM behind an OpenAI-compatible endpoint; its answers are kept on disk."""
    lmm = ExpertSpec(
        "openai",
        {
            "base_url": "http://127.0.0.1:8000/v1",
            "model": "Qwen/Qwen2.5-VL-7B-Instruct",
            "cache": ".cache/responses",
        },
    )
    return replace(modern(), name="remote-lmm", rewriter=lmm, verifier=lmm)


def _on_gpu(expert: str, **options: Any) -> ExpertSpec:
    return ExpertSpec(expert, {"device": "cuda", **options})


RECIPES: dict[str, Callable[[], Recipe]] = {
    recipe.__name__.replace("_", "-"): recipe for recipe in (demo, card, modern, remote_lmm)
}
"""Every labeling recipe by name."""


def recipe(name: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """A named recipe with dotted fields replaced, for example `{"gate.accept": 0.9}`.

    Raises:
        ConfigError: an unknown recipe or field, with the choices.
    """
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}; choose one of {', '.join(sorted(RECIPES))}")
    return override(RECIPES[name](), changes or {})
