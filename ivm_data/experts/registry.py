"""Experts by name: what a recipe writes down, and the one loaded copy of it in this process."""

from __future__ import annotations

import gc
import json
import logging
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from ivm_data.config import build
from storage.errors import ConfigError
from storage.plugins import Registry
from storage.validation import Checked

EMBEDDED = Path(__file__).parents[1] / "zoo" / "weights"
"""Where the embedded experts' weights lie; `zoo:NAME` in a recipe means a folder in here."""

EXPERTS = Registry(
    "expert",
    "ivm.experts",
    {
        "groundingdino": "ivm_data.experts.grounders.original_grounding_dino:NativeGroundingDino",
        "grounding-dino": "ivm_data.experts.grounders.grounding_dino:GroundingDino",
        "mm-grounding-dino": "ivm_data.experts.grounders.mm_grounding_dino:MmGroundingDino",
        "owlv2": "ivm_data.experts.grounders.owlv2:Owlv2",
        "florence2": "ivm_data.experts.grounders.florence2:Florence2",
        "kosmos-2": "ivm_data.experts.grounders.kosmos2:Kosmos2",
        "lmm-boxes": "ivm_data.experts.grounders.lmm_boxes:LmmBoxes",
        "segment-anything": "ivm_data.experts.segmenters.original_sam:NativeSam",
        "sam": "ivm_data.experts.segmenters.sam:Sam",
        "sam2": "ivm_data.experts.segmenters.sam2:Sam2",
        "sam3-tracker": "ivm_data.experts.segmenters.sam3_tracker:Sam3Tracker",
        "edgetam": "ivm_data.experts.segmenters.edgetam:EdgeTam",
        "hf-lmm": "ivm_data.experts.lmms.hf_lmm:HfLmm",
        "openai": "ivm_data.experts.lmms.openai_lmm:OpenAiLmm",
        "everything": "ivm_data.experts.proposers.everything:Everything",
        "lmm-points": "ivm_data.experts.proposers.lmm_points:LmmPoints",
        "clipseg": "ivm_data.experts.proposers.clipseg:ClipSeg",
        "sam-clip": "ivm_data.experts.proposers.sam_clip:SamClip",
        "sam3": "ivm_data.experts.proposers.sam3:Sam3",
        "sam3-lite-text": "ivm_data.experts.proposers.sam3_lite_text:Sam3LiteText",
        "ivm": "ivm_data.experts.proposers.ivm:Ivm",
    },
)
"""Name -> class. Its module is imported when a recipe asks for it, so that a missing extra harms nobody else."""


@dataclass(frozen=True)
class ExpertSpec(Checked):
    """An expert as a recipe names it.

    Attributes:
        expert: a name from `names()`.
        options: fields of the expert's config class; `path` may be `zoo:NAME`.
        uses: experts that this one is made of, by the argument's name.
    """

    expert: str
    options: Mapping[str, Any] = field(default_factory=dict)
    uses: Mapping[str, ExpertSpec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        EXPERTS.check(self.expert)


def names() -> list[str]:
    """Every registered expert."""
    return sorted(EXPERTS.names())


def configured(spec: ExpertSpec) -> tuple[Any, Any]:
    """The expert's class and its config; nothing is made or loaded.

    Raises:
        ConfigError: an option or a part that the expert does not have, or a value it does not take.
    """
    expert_class = EXPERTS.get(spec.expert)
    hints = _arguments(expert_class, spec.expert)
    parts = sorted(hints.keys() - {"config", "return"})
    if sorted(spec.uses) != parts:
        raise ConfigError(
            f"expert {spec.expert!r} is made of {', '.join(parts) or 'no others'}, got "
            f"{', '.join(spec.uses) or 'none'}; name an expert for each in 'uses'"
        )
    options = {name: embedded(value) if isinstance(value, str) else value for name, value in spec.options.items()}
    config = build(hints["config"], options, where=f"expert {spec.expert!r}")
    return expert_class, config


def _arguments(expert_class: Any, name: str) -> dict[str, Any]:
    """The annotated arguments of an expert's class; `config` is a dataclass, the others are its parts."""
    try:
        hints = get_type_hints(expert_class.__init__)
    except (AttributeError, NameError, TypeError) as error:
        raise EXPERTS.broken(name, EXPERTS.package(name), f"its arguments cannot be read: {error}") from error
    if not is_dataclass(hints.get("config")):
        raise EXPERTS.broken(name, EXPERTS.package(name), "its __init__ takes no 'config' annotated with a dataclass")
    return hints


def create(spec: ExpertSpec) -> Any:
    """A new expert, not loaded, of parts that are.

    Raises:
        ConfigError: see `configured`.
    """
    expert_class, config = configured(spec)
    return expert_class(**{role: get(part) for role, part in spec.uses.items()}, config=config)


def name_of(spec: ExpertSpec) -> str:
    """`model@revision` of an expert, which nothing is loaded for; see `create` for the errors."""
    return str(_unloaded(spec).name)


def _unloaded(spec: ExpertSpec) -> Any:
    expert_class, config = configured(spec)
    return expert_class(**{role: _unloaded(part) for role, part in spec.uses.items()}, config=config)


_LOG = logging.getLogger(__name__)
_loaded: dict[str, Any] = {}
_lock = threading.RLock()


def get(spec: ExpertSpec) -> Any:
    """The loaded expert for this spec: one copy in a process, for all callers and threads."""
    key = json.dumps(asdict(spec), sort_keys=True)
    with _lock:
        if key not in _loaded:
            began = time.perf_counter()
            expert = create(spec)
            expert.load()
            _loaded[key] = expert
            _LOG.info("loaded expert %s in %.1f s", spec.expert, time.perf_counter() - began)
        return _loaded[key]


def unload() -> None:
    """Let go of every loaded expert, so that other processes find the memory free."""
    with _lock:
        _loaded.clear()
    gc.collect()
    if (torch := sys.modules.get("torch")) and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def embedded(path: str) -> str:
    """A path, with `zoo:NAME` resolved to the embedded file or folder of that name."""
    return str(EMBEDDED / path.removeprefix("zoo:")) if path.startswith("zoo:") else path
