"""Assets: what runs leave behind, for the server's event feed and the lineage graph of Prefect Cloud.

    manifest -> labels of one recipe -> checkpoint

The labels are one asset, reported once a run, with its counts. An asset for each shard, or a report for each part,
would be hundreds of thousands of events that add nothing: a part's task names it already, and Ray's parts have none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.assets import Asset, AssetProperties, add_asset_metadata, materialize
from prefect.cache_policies import NO_CACHE

from ivm_data.engine.labeling_run import LabelingRun
from ivm_model.train.model_card import TrainReport

BY = "ivm-engine"
_NOT_IN_A_KEY = re.compile(r"[^\w.~/:@=+,-]")
"""Prefect refuses most of these, the sign of percent-encoding among them."""
_LONGEST = 512


def report_labels(run: LabelingRun, counts: Mapping[str, int]) -> None:
    """The labels that a manifest's run made, with counts over the whole data set."""
    recipe = {"recipe": run.recipe.name, "recipe_hash": run.recipe_hash, "parts": len(run.parts)}
    manifests = {asset(Path(part.manifest)) for part in run.parts}
    report_asset(labels_asset(run.data, run.recipe_hash), sorted(manifests, key=str), {**recipe, **counts})


def report_checkpoint(report: TrainReport, data: Path, recipe: str) -> None:
    """The checkpoint that a training on these labels made, with its scores."""
    facts = {"weighting": report.weighting, "seed": report.seed, "data_hash": report.data_hash, **report.rows}
    if report.scores is not None:
        facts["giou"] = report.scores.overall.giou
    checkpoint = asset(Path(report.checkpoint), f"{report.weighting} on {data.name}, seed {report.seed}")
    report_asset(checkpoint, [labels_asset(data, recipe)] if recipe else [], facts)


def report_asset(made: Asset, upstream: Sequence[Asset], facts: Mapping[str, Any]) -> None:
    """Materialize an asset in a task of its own."""

    @materialize(
        made, by=BY, asset_deps=list(upstream), name="report-asset", task_run_name=f"asset {Path(made.key).name}",
        cache_policy=NO_CACHE, persist_result=False,
    )  # fmt: skip
    def materialized() -> None:
        add_asset_metadata(made, dict(facts))

    materialized()


def labels_asset(data: Path, recipe: str) -> Asset:
    """The labels of one recipe: the folder that their shards lie in."""
    return asset(data / "labels" / recipe, f"labels of {data.name}")


def asset(path: Path, name: str = "") -> Asset:
    """A file or folder under the path that every machine sees it at: no host, so that lineage spans machines."""
    uri = f"file://{path.resolve().as_posix()}"
    key = _NOT_IN_A_KEY.sub("_", uri)
    if key != uri or len(key) > _LONGEST:
        key = f"{key[: _LONGEST - 9]}~{hashlib.blake2b(uri.encode(), digest_size=4).hexdigest()}"
    return Asset(key=key, properties=AssetProperties(name=name or path.name))
