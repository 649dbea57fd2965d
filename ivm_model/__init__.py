"""Masking and its training: what a model sees, Discriminator Weighted Supervised Learning, metrics, the predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage import __version__ as __version__
from storage.common.lazy import lazily

if TYPE_CHECKING:
    from .how import How as How
    from .masking import Masked as Masked
    from .masking import apply as apply
    from .masking import crop_box as crop_box
    from .masking import keep_only as keep_only
    from .predictor import Predictor as Predictor
    from .train.model_card import TrainReport as TrainReport
    from .train.train_config import TrainConfig as TrainConfig
    from .train.trainer import train_dwsl as train_dwsl
    from .weighting.weightings import WEIGHTINGS as WEIGHTINGS
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "how": ["How"],
            "masking": ["Masked", "apply", "crop_box", "keep_only"],
            "predictor": ["Predictor"],
            "train.model_card": ["TrainReport"],
            "train.train_config": ["TrainConfig"],
            "train.trainer": ["train_dwsl"],
            "weighting.weightings": ["WEIGHTINGS"],
        },
    )
