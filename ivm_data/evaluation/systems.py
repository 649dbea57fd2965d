"""Everything that gives a mask for an image and an instruction, behind one verb, by a name for the command line.

A name is `KIND:WHAT?field=value&field=value`:

- `model:DIR`: a trained masking model, `model:zoo:ivm`, or IVM-V1.0.bin; fields of `_ModelOptions`.
- `recipe:NAME`: a whole labeling recipe; fields are dotted, as after `ivm label --set`.
- `boxes:NAME`: its rewriter, grounder and segmenter alone: the best box of each phrase, nothing verified.
- `proposer:NAME.K`: its rewriter and its mask proposer number K.
- `expert:NAME`: any mask proposer of the registry with the options that it takes, and the rewriter of `recipe=`.
- `labels:DIR`: what `ivm label` wrote; `recipe=` says whose, where there are several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl

import numpy as np

from ivm_data.config import build
from ivm_data.engine.pipeline import Pipeline
from ivm_data.evaluation.proposing import Boxes, Proposing
from ivm_data.experts.registry import ExpertSpec, embedded, get
from ivm_data.recipes.labeling_recipes import recipe as named_recipe
from ivm_data.stages.ground import GroundStage
from storage.errors import ConfigError
from storage.pixels import rle
from storage.pixels.images import decode
from storage.records import Label, Sample

KINDS = ("model", "recipe", "boxes", "proposer", "expert", "labels")


class System(Protocol):
    """One row of a table."""

    name: str

    def masks(self, samples: Sequence[Sample]) -> list[np.ndarray]:
        """A bool mask of each sample's image size, all zero for "not there"."""
        ...


@dataclass(frozen=True)
class _ModelOptions:
    threshold: float = 0.5
    device: str = "cpu"
    sam: str = ""
    lmm: str = ""
    dtype: str = ""
    zoom: int = 0


def system(name: str) -> System:
    """The system of a name, loaded.

    Raises:
        ConfigError: no such kind, recipe, expert or option.
        WeightsError: its weights cannot be used.
    """
    kind, _, what = name.partition(":")
    what, _, query = what.partition("?")
    if kind not in KINDS or not what:
        raise ConfigError(f"a system is one of {', '.join(f'{k}:...' for k in KINDS)}, got {name!r}")
    given = dict(parse_qsl(query, keep_blank_values=True))
    return _MAKERS[kind](name, what, given)


class _Model:
    def __init__(self, name: str, what: str, given: dict[str, str]) -> None:
        from ivm_model.predictor import Predictor

        self.name, self._options = name, build(_ModelOptions, given, name)
        options = self._options
        at = embedded(what)
        self._predictor = Predictor.from_pretrained(
            at, options.sam, options.lmm, options.device, options.dtype, zoom=options.zoom
        )

    def masks(self, samples: Sequence[Sample]) -> list[np.ndarray]:
        heatmaps = self._predictor.heatmaps([decode(s.image) for s in samples], [s.instruction for s in samples])
        return [heatmap_HW >= self._options.threshold for heatmap_HW in heatmaps]


class _Recipe:
    """A recipe's labels, whatever the gate says of them; an input that it rejects has an empty mask."""

    def __init__(self, name: str, what: str, given: dict[str, str]) -> None:
        self.name, self._pipeline = name, Pipeline(named_recipe(what, given))

    def masks(self, samples: Sequence[Sample]) -> list[np.ndarray]:
        outcomes = self._pipeline.run("evaluation", samples).outcomes
        return [
            rle.decode(outcome.mask) if isinstance(outcome, Label) else np.zeros((sample.height, sample.width), bool)
            for sample, outcome in zip(samples, outcomes, strict=True)
        ]


class _Labels:
    """Committed labels by sample id; what was never labeled, or rejected, has an empty mask."""

    def __init__(self, name: str, what: str, given: dict[str, str]) -> None:
        from storage.data_set import DataSet

        if given.keys() - {"recipe"}:
            raise ConfigError(f"{name!r}: labels have no option but 'recipe'")
        opened = DataSet.open(Path(what), given.get("recipe"))
        self.name, self._data = name, opened.at(opened.recipe)

    def masks(self, samples: Sequence[Sample]) -> list[np.ndarray]:
        known = self._data.masks([sample.id for sample in samples])
        return [rle.decode(known[s.id]) if s.id in known else np.zeros((s.height, s.width), bool) for s in samples]


def _boxes(name: str, what: str, given: dict[str, str]) -> System:
    recipe = named_recipe(what, given)
    grounders = [get(spec) for spec in recipe.grounders]
    ground = GroundStage(grounders, recipe.ground)
    return Boxes(name, get(recipe.rewriter), ground, get(recipe.segmenter), recipe.resolve.choose)


def _proposer(name: str, what: str, given: dict[str, str]) -> System:
    label, _, place = what.rpartition(".")
    recipe = named_recipe(label, given)
    if place not in map(str, range(len(recipe.proposers))):
        raise ConfigError(f"{name!r}: recipe {label!r} has {len(recipe.proposers)} proposers, the first is '{label}.0'")
    return Proposing(name, get(recipe.rewriter), get(recipe.proposers[int(place)]))


def _expert(name: str, what: str, given: dict[str, Any]) -> System:
    options = dict(given)
    rewriter = get(named_recipe(options.pop("recipe", "demo")).rewriter)
    expert = get(ExpertSpec(what, options))
    if not hasattr(expert, "propose"):
        raise ConfigError(
            f"{what!r} proposes no masks by itself; name a recipe with it and measure 'boxes:' or 'recipe:' of that"
        )
    return Proposing(name, rewriter, expert)


_MAKERS: dict[str, Callable[[str, str, dict[str, str]], System]] = {
    "model": _Model,
    "recipe": _Recipe,
    "labels": _Labels,
    "boxes": _boxes,
    "proposer": _proposer,
    "expert": _expert,
}
