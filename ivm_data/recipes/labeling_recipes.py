"""Recipes: a labeling run is a function that returns its whole configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from ivm_data.config import override
from ivm_data.experts.registry import ExpertSpec, spec_of
from ivm_data.stages.fuse import FuseConfig
from ivm_data.stages.ground import GroundConfig
from ivm_data.stages.resolve import ResolveConfig
from ivm_data.stages.rewrite import RewriteConfig
from ivm_data.stages.verify import VerifyConfig
from storage.common.near import meant
from storage.common.validation import FILLED, Checked, Count, Share
from storage.errors import ConfigError
from storage.gates.gate import GateConfig
from storage.tables import recipes


@dataclass(frozen=True)
class TrackConfig(Checked):
    """How the frames of an episode are labeled from some of them, its key frames.

    Attributes:
        tracker: carries masks from frame to frame; None labels every frame by itself.
        every: each so many-th row of an episode's camera is a key frame, and the last one.
        consistency: a frame in which masks from both sides overlap less becomes a key frame too, until `budget`.
        budget: share of the rows that may be key frames in all; those of `every` are, whatever it says.
        absence: a key frame that says that the target is absent is carried over where the masks from the key frames
            beside it, from both where there are two, still have this share of their pixels there; 1 believes it.
        refine: of each carried row the segmenter is asked for what is in the mask's box, and that is taken where its
            IoU with the carried mask is this much; None asks nothing. It costs a look at each image.
    """

    tracker: ExpertSpec | None = None
    every: Count = 8
    consistency: Share = 0.65
    budget: Share = 0.2
    absence: Share = 0.5
    refine: Share | None = None


@dataclass(frozen=True)
class Recipe(Checked):
    """Everything that decides what labels look like; its hash names the shards.

    Attributes:
        name: as it is chosen by.
        rewriter, segmenter, verifier: one expert each.
        grounders: one expert or several, whose boxes are united.
        proposers: further experts that propose masks, for the consensus.
        calibration: JSON file that turns scores into quality; `zoo:NAME` for an embedded one, "" for none yet.
        track: of manifests with episodes; whether masks are carried between their frames, and how.
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
    track: TrackConfig = field(default_factory=TrackConfig)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they are written beside the shards; without `track`, as before it, where nothing tracks."""
        values = dataclasses.asdict(self) | {"gate": self.gate.to_dict()}
        return values if self.track.tracker else {name: value for name, value in values.items() if name != "track"}


def recipe_hash(recipe: Recipe, experts: Sequence[tuple[str, str]]) -> str:
    """12 hex digits over everything that decides a label: the recipe and the content of every weight file.

    Args:
        experts: (role, `model@revision`) of every expert and of the calibration.
    """
    return recipes.recipe_hash(recipe.to_dict(), experts)


def demo() -> Recipe:
    """The embedded experts: miniature Grounding DINO, SAM, LLaVA and IVM, trained on the procedural world.

    Boxes count from a score of 0.2 on: the LMM and the order of things tell the right ones among them. Pictures larger
    than a scene are seen in tiles, which overlap by more than the largest thing of the world, and verified from near.
    """
    lmm = ExpertSpec("hf-lmm", {"path": "zoo:lmm"})
    sam = ExpertSpec("sam", {"path": "zoo:segmenter"})
    tiles = {"tiles": {"overlap": 0.35}}
    return Recipe(
        name="demo",
        rewriter=lmm,
        grounders=(ExpertSpec("grounding-dino", {"path": "zoo:grounder", "box_threshold": 0.2, **tiles}),),
        segmenter=replace(sam, options={**sam.options, **tiles}),
        verifier=lmm,
        proposers=(ExpertSpec("ivm", {"path": "zoo:ivm", **tiles}),),
        calibration="zoo:calibration.json",
        verify=VerifyConfig(near=True),
    )


def card() -> Recipe:
    """The original projects' own code and files: Grounding DINO Swin-T, SAM ViT-H, with LLaVA-1.5-7B and CLIPSeg."""
    lmm = _placed("hf-lmm", path="llava-hf/llava-1.5-7b-hf", batch=8, instructed=True, max_pixels=1_000_000)
    return Recipe(
        name="card",
        rewriter=lmm,
        grounders=(_placed("groundingdino", path="weights/groundingdino_swint_ogc.pth", architecture="swin-t"),),
        segmenter=_placed("segment-anything", path="weights/sam_vit_h_4b8939.pth", architecture="vit_h"),
        verifier=lmm,
        proposers=(_CLIPSEG,),
        calibration="",
    )


def modern() -> Recipe:
    """MM-Grounding-DINO and SAM 3 as grounders, SAM 3 as segmenter, Qwen3-VL-4B and CLIPSeg; for a GPU of 24 GB."""
    return replace(
        open_weights(),
        name="modern",
        grounders=(_MM_GROUNDING_DINO, _placed("sam3", path="facebook/sam3")),
        segmenter=_placed("sam3-tracker", path="facebook/sam3"),
    )


def open_weights() -> Recipe:
    """As `modern` without SAM 3, whose licence has to be accepted first: OWLv2 and SAM 2.1 take its places."""
    lmm = _placed("hf-lmm", path="Qwen/Qwen3-VL-4B-Instruct", batch=8, instructed=True, max_pixels=1_000_000)
    return Recipe(
        name="open",
        rewriter=lmm,
        grounders=(_MM_GROUNDING_DINO, _placed("owlv2", path="google/owlv2-base-patch16-ensemble")),
        segmenter=_placed("sam2", path="facebook/sam2.1-hiera-large"),
        verifier=lmm,
        proposers=(_CLIPSEG,),
        calibration="",
    )


def small() -> Recipe:
    """MM-Grounding-DINO tiny, SAM 2.1 small, Qwen3-VL-2B and CLIPSeg; for a GPU of 8 GB, without gated weights."""
    lmm = _placed("hf-lmm", path="Qwen/Qwen3-VL-2B-Instruct", batch=4, instructed=True, max_pixels=500_000)
    grounder = "openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det"
    return Recipe(
        name="small",
        rewriter=lmm,
        grounders=(_placed("mm-grounding-dino", path=grounder, images_per_batch=2),),
        segmenter=_placed("sam2", path="facebook/sam2.1-hiera-small"),
        verifier=lmm,
        proposers=(_placed("clipseg", path="CIDAS/clipseg-rd64-refined", images_per_batch=4),),
        calibration="",
    )


def remote_lmm() -> Recipe:
    """The vision of `modern` here, the LMM behind an OpenAI-compatible endpoint; its answers are kept on disk."""
    lmm = ExpertSpec(
        "openai",
        {
            "base_url": "http://127.0.0.1:8000/v1",
            "model": "Qwen/Qwen3-VL-8B-Instruct",
            "cache": ".cache/responses",
            "image_format": "jpeg",
            "jpeg_quality": 95,
            "max_pixels": 1_000_000,
        },
    )
    return replace(modern(), name="remote-lmm", rewriter=lmm, verifier=lmm)


def _placed(expert: str, **options: Any) -> ExpertSpec:
    """An expert on the GPU where there is one, in half precision there."""
    return ExpertSpec(expert, {"device": "auto", "dtype": "auto", **options})


_CLIPSEG = _placed("clipseg", path="CIDAS/clipseg-rd64-refined")
_MM_GROUNDING_DINO = _placed("mm-grounding-dino", path="openmmlab-community/mm_grounding_dino_large_all")


DOUBTFUL = 0.3
"""Consistency under which a frame goes to review where masks are carried; chosen on the world in motion, split val."""


def with_tracker(recipe: Recipe, tracker: str) -> Recipe:
    """The recipe with masks carried between the frames of episodes; unchanged for "".

    Frames of less consistency than `DOUBTFUL` go to review, unless `gate.min_consistency` says otherwise.

    Args:
        tracker: an expert with its options, as in `flow` or `sam2-video?path=facebook/sam2.1-hiera-large`.

    Raises:
        ConfigError: no such expert.
    """
    if not tracker:
        return recipe
    gate = replace(recipe.gate, min_consistency=recipe.gate.min_consistency or DOUBTFUL)
    return replace(recipe, track=replace(recipe.track, tracker=spec_of(tracker)), gate=gate)


RECIPES: dict[str, Callable[[], Recipe]] = {
    "demo": demo,
    "card": card,
    "modern": modern,
    "open": open_weights,
    "small": small,
    "remote-lmm": remote_lmm,
}
"""Every labeling recipe by name."""


def recipe(name: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """A named recipe with dotted fields replaced, for example `{"gate.accept": 0.9}`.

    Raises:
        ConfigError: an unknown recipe or field, with the choices.
    """
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}; choose one of {', '.join(sorted(RECIPES))}{meant(name, RECIPES)}")
    return override(RECIPES[name](), changes or {})
