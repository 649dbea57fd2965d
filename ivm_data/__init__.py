"""The labeling engine: sources, experts, stages, quality, review, exports, and the procedural world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage import __version__ as __version__
from storage.common.lazy import lazily

if TYPE_CHECKING:
    from .engine.labeling import label_manifest as label_manifest
    from .engine.labeling_run import LabelingRun as LabelingRun
    from .engine.labeling_run import prepare as prepare
    from .engine.part_outcomes import PartSummary as PartSummary
    from .experts.registry import ExpertSpec as ExpertSpec
    from .exports.run import export as export
    from .quality.calibration import Calibration as Calibration
    from .quality.fit_calibration import calibrate as calibrate
    from .recipes.labeling_recipes import RECIPES as RECIPES
    from .recipes.labeling_recipes import Recipe as Recipe
    from .recipes.labeling_recipes import recipe as recipe
    from .recipes.training_recipes import train_config as train_config
    from .report.build import write_report as write_report
    from .worlds.world import write_world as write_world
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "engine.labeling": ["label_manifest"],
            "engine.labeling_run": ["LabelingRun", "prepare"],
            "engine.part_outcomes": ["PartSummary"],
            "experts.registry": ["ExpertSpec"],
            "exports.run": ["export"],
            "quality.calibration": ["Calibration"],
            "quality.fit_calibration": ["calibrate"],
            "recipes.labeling_recipes": ["RECIPES", "Recipe", "recipe"],
            "recipes.training_recipes": ["train_config"],
            "report.build": ["write_report"],
            "worlds.world": ["write_world"],
        },
    )
