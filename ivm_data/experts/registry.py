"""Experts by name: what a recipe writes down, and the one loaded copy of it in this process."""

from __future__ import annotations

import gc
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints
from urllib.parse import parse_qsl

from ivm_data.config import build
from ivm_data.experts.tiles.tiled import VERBS, Tiled, tiles_of
from storage.common.plugins import Registry
from storage.common.validation import Checked
from storage.errors import ConfigError

if TYPE_CHECKING:
    from ivm_data.experts.answers.store import AnswersConfig, AnswerStore
    from ivm_data.experts.common.protocols import Tracker
    from ivm_data.experts.tiles.config import TilesConfig

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
        "flow": "ivm_data.experts.trackers.flow:Flow",
        "sam2-video": "ivm_data.experts.trackers.sam2_video:Sam2Video",
        "sam3-tracker-video": "ivm_data.experts.trackers.sam3_tracker_video:Sam3TrackerVideo",
        "edgetam-video": "ivm_data.experts.trackers.edgetam_video:EdgeTamVideo",
    },
)
"""Name -> class. Its module is imported when a recipe asks for it, so that a missing extra harms nobody else."""


@dataclass(frozen=True)
class ExpertSpec(Checked):
    """An expert as a recipe names it.

    Attributes:
        expert: a name from `names()`.
        options: fields of the expert's config class; `path` may be `zoo:NAME`. Beside them `tiles`, of any grounder,
            mask proposer and segmenter: true, or the fields of `TilesConfig`.
        uses: experts that this one is made of, by the argument's name.
    """

    expert: str
    options: Mapping[str, Any] = field(default_factory=dict)
    uses: Mapping[str, ExpertSpec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        EXPERTS.check(self.expert)

    @property
    def tiles(self) -> TilesConfig | None:
        """How the expert is asked about large pictures; None where it is not asked about parts of them.

        Raises:
            ConfigError: the option `tiles` cannot be read.
        """
        return tiles_of(self.expert, self.options.get("tiles"))

    @property
    def whole(self) -> ExpertSpec:
        """The same without the option `tiles`."""
        if "tiles" not in self.options:
            return self
        return replace(self, options={name: value for name, value in self.options.items() if name != "tiles"})

    def all(self) -> Iterator[ExpertSpec]:
        """This one and all that it is made of."""
        yield self
        for part in self.uses.values():
            yield from part.all()


def spec_of(text: str) -> ExpertSpec:
    """An expert with its options as one text: `sam2-video?path=facebook/sam2.1-hiera-large`.

    Raises:
        ConfigError: an unknown expert.
    """
    expert, _, query = text.partition("?")
    return ExpertSpec(expert, dict(parse_qsl(query, keep_blank_values=True)))


def tracker(spec: ExpertSpec) -> Tracker:
    """The loaded tracker of that spec.

    Raises:
        ConfigError: the expert tracks nothing; see `create` for the others.
    """
    if not hasattr(configured(spec)[0], "carry"):
        raise ConfigError(f"expert {spec.expert!r} tracks nothing; one that needs no weights is 'flow'")
    found: Tracker = get(spec)
    return found


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
    if spec.tiles and not any(hasattr(expert_class, verb) for verb in VERBS):
        raise ConfigError(f"expert {spec.expert!r} takes no 'tiles': grounders, mask proposers and segmenters do")
    given = spec.whole.options
    options = {name: embedded(value) if isinstance(value, str) else value for name, value in given.items()}
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


def create(spec: ExpertSpec, part: Callable[[ExpertSpec], Any] | None = None) -> Any:
    """A new expert, not loaded, of parts that are.

    Args:
        part: gives the parts; None for `get`.

    Raises:
        ConfigError: see `configured`.
    """
    expert_class, config = configured(spec)
    if spec.tiles:
        return Tiled((part or get)(spec.whole), spec.tiles)
    return expert_class(**{role: (part or get)(one) for role, one in spec.uses.items()}, config=config)


def name_of(spec: ExpertSpec) -> str:
    """`model@revision` of an expert, which nothing is loaded for; see `create` for the errors."""
    return str(unloaded(spec).name)


def unloaded(spec: ExpertSpec) -> Any:
    """A new expert of new parts, none of them loaded; see `create` for the errors."""
    return create(spec, unloaded)


_LOG = logging.getLogger(__name__)
_loaded: dict[str, Any] = {}
_lock = threading.RLock()


def get(spec: ExpertSpec) -> Any:
    """The loaded expert for this spec: one copy in a process, for all callers and threads."""
    return _once(_key(spec), lambda: _ready(spec, get))


def kept(spec: ExpertSpec, answers: AnswersConfig | None, anew: bool = False) -> Any:
    """The expert for this spec, whose answers are kept: it is loaded when it is asked what is not known yet.

    One that is made of others and does not say what it asks `together` is those others' answers, and no more.

    Args:
        answers: where they are kept; None for `get`, which keeps none.
        anew: ask again whatever is asked.
    """
    if answers is None:
        return get(spec)
    if tiles := spec.tiles:
        return Tiled(kept(spec.whole, answers, anew), tiles)
    from ivm_data.experts.answers.kept import KeptExpert

    def part(one: ExpertSpec) -> Any:
        return kept(one, answers, anew)

    def load() -> Any:
        return _once(f"{_key(spec)} of {key}", lambda: _ready(spec, part)) if spec.uses else get(spec)

    def make() -> Any:
        plain = unloaded(spec)
        if spec.uses and not hasattr(plain, "together"):
            return load()
        return KeptExpert(asdict(spec), plain, load, _store(answers), anew=anew)

    key = json.dumps([asdict(answers), anew])
    return _once(f"{_key(spec)} kept in {key}", make)


def answers_of(spec: ExpertSpec, answers: AnswersConfig | None) -> int:
    """Questions whose answer is kept, of an expert and of those that it is made of."""
    if answers is None:
        return 0
    from ivm_data.experts.answers.identity import identity

    spec = spec.whole
    found = sum(answers_of(part, answers) for part in spec.uses.values())
    plain = unloaded(spec)
    if spec.uses and not hasattr(plain, "together"):
        return found
    return found + sum(_store(answers).rows_of([identity(asdict(spec), plain)]).values())


def _store(answers: AnswersConfig) -> AnswerStore:
    from ivm_data.experts.answers.store import AnswerStore

    store: AnswerStore = _once(json.dumps(asdict(answers)), lambda: AnswerStore(answers))
    return store


def _key(spec: ExpertSpec) -> str:
    return json.dumps(asdict(spec), sort_keys=True)


def _ready(spec: ExpertSpec, part: Callable[[ExpertSpec], Any]) -> Any:
    """A new expert, loaded."""
    began = time.perf_counter()
    expert = create(spec, part)
    expert.load()
    _LOG.info("loaded expert %s in %.1f s", spec.expert, time.perf_counter() - began)
    return expert


def _once(key: str, make: Callable[[], Any]) -> Any:
    with _lock:
        if key not in _loaded:
            _loaded[key] = make()
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
