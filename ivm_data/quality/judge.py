"""A judge that people teach: verdicts on labels -> P(right) of any label of the same recipe.

Each fold grows a forest on the verdicts of the other folds' images, and judges its own: no label is judged by what it
taught, nor by what another label of its image or episode taught. Its word counts beside the quality that labeling
wrote, the more the more verdicts taught it:

    logit P(right) = w logit(forest) + (1 - w) logit(quality),    w = n / (n + prior) after n verdicts
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from ivm_data.config import build
from ivm_data.quality.forest import Forest, Growth, grow
from ivm_data.quality.judge_features import FEATURES, features, group
from ivm_data.quality.verdicts import Verdicts
from storage.common.validation import Checked, Count, NotNegative, Share, at_least
from storage.disk.publish import whole_folder
from storage.errors import ConfigError, WeightsError

TENSORS, CONFIG, CARD = "judge.safetensors", "judge.json", "README.md"
EDGE = 0.005
"""Shares are cut at EDGE and 1 - EDGE before their logit is taken."""


@dataclass(frozen=True)
class JudgeConfig(Checked):
    """How a judge learns.

    Attributes:
        least: verdicts that it needs.
        anew: new verdicts after which it is worth training again.
        folds: a label is judged by the forest that saw none of its fold's images.
        trees: of each fold's forest.
        leaf: least verdicts in a leaf.
        columns: share of the columns that a node chooses among.
        prior: verdicts that the quality which labeling wrote is worth.
        seed: of the trees.
    """

    least: Count = 50
    anew: Count = 120
    folds: Annotated[int, at_least(2)] = 5
    trees: Count = 150
    leaf: Count = 3
    columns: Share = 0.3
    prior: NotNegative = 100.0
    seed: int = 0


DEFAULT = JudgeConfig()


@dataclass(frozen=True, eq=False)
class Judge:
    """What verdicts taught.

    Attributes:
        recipe: hash of the recipe whose labels it judges; scores of another mean something else.
        forests: one for each fold.
        taught: verdicts that each forest learned from; 0 where they were all right or all wrong: the quality stands.
        by: verdicts by what gave them, as `Verdicts.by`.
    """

    config: JudgeConfig
    recipe: str
    forests: tuple[Forest, ...]
    taught: tuple[int, ...]
    by: Mapping[str, int] = field(default_factory=dict)

    @property
    def verdicts(self) -> int:
        """How many taught it in all."""
        return sum(self.by.values())

    @cached_property
    def name(self) -> str:
        """What its opinions are kept under."""
        digest = hashlib.blake2b(json.dumps(self._facts(), sort_keys=True).encode(), digest_size=6)
        for key, tensor in sorted(self._tensors().items()):
            digest.update(f"{key} {tensor.shape} {tensor.dtype} ".encode() + tensor.tobytes())
        return f"judge@{digest.hexdigest()}"

    def judge(self, rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """P(right) of N labels, float64 (N,), and the fold that judged each, int64 (N,).

        Args:
            rows: light rows with `judge_features.COLUMNS`, of its recipe.
        """
        x_NF, fold_N = features(rows), folds_of(rows, self.config.folds)
        p_N = np.zeros(len(rows))
        for fold, (forest, taught) in enumerate(zip(self.forests, self.taught, strict=True)):
            here_N = fold_N == fold
            p_N[here_N] = weighed(forest, taught, x_NF[here_N], self.config.prior)
        return p_N, fold_N

    def save(self, folder: Path, card: str) -> None:
        """Write tensors, configuration and card; a folder that is there is replaced."""
        from safetensors.numpy import save_file

        with whole_folder(folder) as hidden:
            save_file(self._tensors(), hidden / TENSORS)
            (hidden / CONFIG).write_text(json.dumps(self._facts(), indent=1) + "\n", encoding="utf-8")
            (hidden / CARD).write_text(card, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Judge:
        """What `save` wrote.

        Raises:
            WeightsError: there is no judge, or a damaged one, or one that looks at other columns.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        how = "make one with 'ivm train-judge --data DIR --out JUDGE'"
        if not (folder / CONFIG).is_file():
            raise WeightsError(f"there is no judge in '{folder}'; {how}")
        try:
            facts = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            if tuple(facts["features"]) != FEATURES:
                raise ValueError("it looks at other columns than judges do now")
            config: JudgeConfig = build(JudgeConfig, facts["config"], str(folder / CONFIG))
            tensors = load_file(folder / TENSORS)
            forests = [_of_fold(tensors, fold) for fold in range(config.folds)]
            taught = tuple(int(n) for n in facts["taught"])
            if len(taught) != config.folds:
                raise ValueError(f"it has {len(taught)} counts of verdicts for {config.folds} folds")
            by = {str(what): int(n) for what, n in facts["by"].items()}
            return cls(config, str(facts["recipe"]), tuple(forests), taught, by)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError, ConfigError) as error:
            raise WeightsError(f"judge '{folder}' cannot be used ({type(error).__name__}: {error}); {how}") from error

    def _facts(self) -> dict[str, Any]:
        facts = {"recipe": self.recipe, "config": asdict(self.config), "features": list(FEATURES)}
        return facts | {"taught": list(self.taught), "by": dict(sorted(self.by.items()))}

    def _tensors(self) -> dict[str, np.ndarray]:
        named = [(fold, forest.tensors()) for fold, forest in enumerate(self.forests)]
        return {f"{fold}.{name}": tensor for fold, tensors in named for name, tensor in tensors.items()}


def teach(said: Verdicts, recipe: str, config: JudgeConfig = DEFAULT) -> Judge:
    """Grow the forests.

    Raises:
        ConfigError: too few verdicts, with what is missing.
    """
    said.check(config.least)
    x_NF, fold_N = features(said.rows), folds_of(said.rows, config.folds)
    grown = [_grown(x_NF[fold_N != fold], said.right_N[fold_N != fold], config, fold) for fold in range(config.folds)]
    forests, taught = zip(*grown, strict=True)
    return Judge(config, recipe, forests, taught, dict(said.by))


def folds_of(rows: Sequence[Mapping[str, Any]], folds: int) -> np.ndarray:
    """The fold of each row, int64 (N,): that of its image, or of its episode."""
    return np.array([fold_of(group(row), folds) for row in rows], np.int64)


def fold_of(name: str, folds: int) -> int:
    """The fold of an image or an episode."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big") % folds


def _grown(x_NF: np.ndarray, right_N: np.ndarray, config: JudgeConfig, fold: int) -> tuple[Forest, int]:
    if len(set(right_N.tolist())) < 2:
        return Forest(*(np.array(one) for one in ([0], [[-1, -1]], [0], [0.0], [0.5]))), 0
    shape = Growth(config.trees, config.leaf, config.columns)
    return grow(x_NF, right_N, shape, seed=config.seed + fold), len(right_N)


def weighed(forest: Forest, taught: int, x_NF: np.ndarray, prior: float) -> np.ndarray:
    """What a forest and the quality say together, float64 (N,).

    Args:
        taught: verdicts that the forest learned from.
        x_NF: the columns of `FEATURES`, and more behind them where the forest looks at more.
        prior: verdicts that the quality is worth.
    """
    written_N = x_NF[:, FEATURES.index("quality")]
    quality_N = np.where(written_N < 0, 0.5, written_N)
    weight = taught / (taught + prior) if taught else 0.0
    logit_N = weight * _logit(forest.probability(x_NF)) + (1 - weight) * _logit(quality_N)
    p_N: np.ndarray = 1 / (1 + np.exp(-logit_N))
    return p_N


def _logit(p_N: np.ndarray) -> np.ndarray:
    p_N = np.clip(p_N, EDGE, 1 - EDGE)
    logit_N: np.ndarray = np.log(p_N / (1 - p_N))
    return logit_N


def _of_fold(tensors: Mapping[str, np.ndarray], fold: int) -> Forest:
    mine = {name.removeprefix(f"{fold}."): one for name, one in tensors.items() if name.startswith(f"{fold}.")}
    return Forest.of(mine, len(FEATURES))
