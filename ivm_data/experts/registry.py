"""Experts by name: what a recipe writes down, and the one loaded copy of it in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from ivm_data.config import build
from storage.errors import ConfigError

EMBEDDED = Path(__file__).parents[1] / "zoo" / "weights"
"""Where the embedded experts' weights lie; `zoo:NAME` in a recipe means a folder in here."""

_CLASSES = {
    "groundingdino": "ivm_data.experts.groundingdino:NativeGroundingDino",
    "grounding-dino": "ivm_data.experts.grounding_dino:GroundingDino",
    "mm-grounding-dino": "ivm_data.experts.mm_grounding_dino:MmGroundingDino",
    "owlv2": "ivm_data.experts.owlv2:Owlv2",
    "segment-anything": "ivm_data.experts.segment_anything:NativeSam",
    "sam": "ivm_data.experts.sam:Sam",
    "sam2": "ivm_data.experts.sam2:Sam2",
    "hf-lmm": "ivm_data.experts.lmm:HfLmm",
    "openai": "ivm_data.experts.openai_lmm:OpenAiLmm",
    "everything": "ivm_data.experts.everything:Everything",
    "clipseg": "ivm_data.experts.clipseg:ClipSeg",
    "sam3": "ivm_data.experts.sam3:Sam3",
    "ivm": "ivm_data.experts.ivm:Ivm",
}
"""Name -> class. Its module is imported when a recipe asks for it, so that a missing extra harms nobody else."""


@dataclass(frozen=True)
class ExpertSpec:
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
        if self.expert not in _CLASSES:
            raise ConfigError(f"unknown expert {self.expert!r}; choose one of {', '.join(names())}")


def names() -> list[str]:
    """Every registered expert."""
    return sorted(_CLASSES)


def create(spec: ExpertSpec) -> Any:
    """A new expert, not loaded.

    Raises:
        ConfigError: an option that the expert does not have, or a value it does not take.
    """
    module, name = _CLASSES[spec.expert].split(":")
    expert_class = getattr(import_module(module), name)
    config_class = get_type_hints(expert_class.__init__)["config"]
    options = {name: embedded(value) if isinstance(value, str) else value for name, value in spec.options.items()}
    config = build(config_class, options, where=f"expert {spec.expert!r}")
    return expert_class(**{role: get(part) for role, part in spec.uses.items()}, config=config)


_loaded: dict[str, Any] = {}
_lock = threading.RLock()


def get(spec: ExpertSpec) -> Any:
    """The loaded expert for this spec: one copy in a process, whoever asks, from whichever thread."""
    key = json.dumps(asdict(spec), sort_keys=True)
    with _lock:
        if key not in _loaded:
            expert = create(spec)
            expert.load()
            _loaded[key] = expert
        return _loaded[key]


def embedded(path: str) -> str:
    """A path, with `zoo:NAME` resolved to the embedded file or folder of that name."""
    return str(EMBEDDED / path.removeprefix("zoo:")) if path.startswith("zoo:") else path
