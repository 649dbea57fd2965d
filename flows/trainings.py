"""What was trained on: a small file for each training, in the data set's folder.

DATA/trainings/<key>.json    recipe, accepted labels, checkpoint, moment; the key stands for labels and settings
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.parts.files import alone_in, replace

_STATE = """
    SELECT count(*) FILTER (status = 'accepted') AS accepted,
        bit_xor(md5_number_lower(concat_ws(' ', part, position, sample_id, status))) AS digest
    FROM labels WHERE recipe = $recipe"""


@dataclass(frozen=True)
class LabelState:
    """The labels of one recipe at one moment.

    Attributes:
        recipe: its hash; "" where nothing is labeled.
        accepted: number of accepted labels.
        digest: 16 hex digits over which inputs got a label, and with which status.
    """

    recipe: str
    accepted: int
    digest: str

    @classmethod
    def of(cls, data: Path, recipe: str = "", snapshot: str | None = None) -> LabelState:
        """The labels now, or those of a snapshot.

        Raises:
            ConfigError: no data set, or several recipes and none is chosen.
        """
        with DataSet.open(data, snapshot=snapshot) as opened, Catalog(opened) as catalog:
            chosen = recipe or (opened.recipe if opened.recipes else "")
            (row,) = catalog.sql(_STATE, recipe=chosen).to_pylist()
        return cls(chosen, row["accepted"], f"{row['digest'] or 0:016x}")


def settings(
    weighting: str, seed: int, overrides: Mapping[str, Any] | None, models: str = "embedded"
) -> dict[str, Any]:
    """What tells two trainings on the same labels apart; the embedded models go without saying."""
    how: dict[str, Any] = {"weighting": weighting, "seed": seed, "overrides": dict(overrides or {})}
    return how if models == "embedded" else how | {"models": models}


def training_key(labels: LabelState, how: Mapping[str, Any]) -> str:
    """16 hex digits that stand for these labels trained in this way."""
    text = json.dumps([labels.recipe, labels.digest, how], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def remember(data: Path, labels: LabelState, how: Mapping[str, Any], checkpoint: str) -> Path:
    """Write down that these labels were trained on."""
    path = data / "trainings" / f"{training_key(labels, how)}.json"
    facts = {"settings": how, "checkpoint": checkpoint, "trained_at": datetime.now(UTC).isoformat()}
    text = json.dumps(asdict(labels) | facts, indent=2, default=str) + "\n"
    with alone_in(path.parent):
        replace(path, lambda hidden: hidden.write_text(text, encoding="utf-8"))
    return path


def accepted_at_last_training(data: Path, recipe: str) -> int:
    """Accepted labels of the recipe when it was last trained on; 0 where it never was."""
    known = [json.loads(path.read_text(encoding="utf-8")) for path in (data / "trainings").glob("*.json")]
    of_recipe = [(each.get("trained_at", ""), each["accepted"]) for each in known if each["recipe"] == recipe]
    return max(of_recipe, default=("", 0))[1]


def is_trained(data: Path, key: str) -> bool:
    """Whether a training with this key has finished."""
    return (data / "trainings" / f"{key}.json").is_file()
