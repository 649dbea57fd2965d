"""The stages as stateful actors in Ray Data: part after part streams through a pool of actors for each stage.

A part is one block, so that the unit of retry stays the unit of commit: the first pool reads it, the last one gates and
commits it. It passes a stage in the batches that the local engine makes, on as many threads, so that its bytes are
the same. Between pools travel drafts without their pixels: decoding costs less than moving ten times the bytes.
"""

from __future__ import annotations

import logging
import os
import pickle
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from ivm_data.engine.labeling import collect_open, commit_unless_suspect, read, skipped
from ivm_data.engine.labeling_run import LabelingRun, absolute
from ivm_data.engine.part_outcomes import Failure, PartOutcome, PartSummary, Suspect
from ivm_data.engine.pipeline import STAGES, Ledger, batches, decoded, make_gate, make_stage
from ivm_data.engine.ray_config import RayConfig
from ivm_data.engine.reading import Reading
from ivm_data.experts.common.prefetch import ahead
from ivm_data.experts.registry import unload
from ivm_data.sources.manifest_parts import ManifestPart
from ivm_data.stages.stage import Draft
from storage.common.extras import extra
from storage.errors import ConfigError, IvmError
from storage.records import Input, Rejection, Sample

_LOG = logging.getLogger(__name__)
*_, LAST = STAGES
PLACED_S = 60.0
"""Seconds that a cluster has to find a place for every actor, new machines of an autoscaler included."""
_WORK = pa.schema([("work", pa.large_binary())])
_NO_PIXELS = np.empty((0, 0, 3), np.uint8)


@dataclass
class _Work:
    """A part on its way, between two stages; `planned` is its name in the run."""

    planned: str
    part: str
    items: Sequence[Sample | Rejection]
    inputs: Sequence[Input]
    batches: list[list[Draft]]
    ledger: Ledger


def label_manifest(
    run: LabelingRun, config: RayConfig, progress: Callable[[PartSummary], None] = lambda summary: None
) -> list[PartSummary]:
    """Every part of a run.

    Raises:
        PartsFailedError: with all parts that failed, after all others are committed.
    """
    run = replace(run, compact=run.compact and config.here)
    return collect_open(run, label_parts(run, config), progress)


def label_parts(run: LabelingRun, config: RayConfig) -> Generator[PartOutcome | Suspect, None, None]:
    """Label the open parts of a run; each comes once, when it is committed, in doubt or given up.

    Raises:
        ConfigError: no cluster at the address, or it is too small for one actor of each stage; or the recipe tracks.
    """
    if run.recipe.track.tracker:
        raise ConfigError(
            "masks are carried along episodes by the local engine alone, as its rounds of key frames do not fit Ray's "
            "one pass through the stages; label without Ray: --devices gives each GPU whole parts"
        )
    on_any = absolute(run)
    waiting = {part.name: part for part in on_any.open_parts()}
    if not waiting:
        return
    threads = _threads()
    unload()
    with cluster(config):
        _check_room(config)
        for left in range(config.retries, -1, -1):
            died = {name: Failure(name, "the process that labeled it died", True) for name in waiting}
            for outcome in _pass_through(on_any, list(waiting.values()), config, threads):
                if isinstance(outcome, Failure) and outcome.may_pass:
                    died[outcome.part] = outcome
                else:
                    del waiting[outcome.part.partition("@")[0]]
                    yield outcome
            if not waiting:
                return
            if left:
                first = next(iter(waiting))
                _LOG.warning(
                    "%d parts start anew, %d times at most; %s: %s", len(waiting), left, first, died[first].why
                )
                time.sleep(config.retry_s)
        yield from died.values()


@contextmanager
def cluster(config: RayConfig) -> Iterator[None]:
    """Join the cluster at the address, or start one on the loopback interface; a session that is open stays open.

    Raises:
        ConfigError: there is none at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with extra("ray"):
        import ray

    if ray.is_initialized():
        yield
        return
    local: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    local |= {"num_cpus": config.local_cpus} if config.local_cpus else {}
    local |= {"object_store_memory": config.store_mib * 2**20} if config.store_mib else {}
    try:
        ray.init(
            config.address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **(local if config.address == "local" else {}),
        )
    except (ConnectionError, ValueError) as error:
        raise ConfigError(
            f"cannot use a Ray cluster at {config.address!r} ({error}); start one with 'ray start --head', or use local"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_room(config: RayConfig) -> None:
    """Ray would wait for ever for what the cluster does not have, in all or on one machine or one GPU."""
    import ray

    there, pools = ray.cluster_resources(), config.pools().values()
    for name, resource in (("cpus", "CPU"), ("gpus", "GPU")):
        wanted = sum(pool.actors * getattr(pool, name) for pool in pools)
        if wanted > there.get(resource, 0):
            raise ConfigError(
                f"the actors want {wanted:g} {resource}s in all and the cluster has {there.get(resource, 0):g}; "
                f"lower '{name}' or 'actors' of a stage, or add machines"
            )
    if not _placed([{"CPU": pool.cpus, "GPU": pool.gpus} for pool in pools for _ in range(pool.actors)]):
        shares = ", ".join(
            f"{name} {pool.actors} x ({pool.cpus:g}, {pool.gpus:g})" for name, pool in config.pools().items()
        )
        raise ConfigError(
            f"the cluster has no place for all actors after {PLACED_S:g} s; actors x (cpus, gpus): {shares}. What one "
            "actor wants lies on one machine, a share on one GPU, and other jobs hold theirs; lower it or add machines"
        )


def _placed(actors: Sequence[dict[str, float]]) -> bool:
    """Whether Ray finds a place for such actors beside each other; nothing is kept."""
    from ray.util import placement_group, remove_placement_group

    counted = [bundle for actor in actors if (bundle := {name: share for name, share in actor.items() if share})]
    if not counted:
        return True
    group = placement_group(counted)
    try:
        return bool(group.wait(PLACED_S))
    finally:
        remove_placement_group(group)


def _pass_through(
    run: LabelingRun, parts: Sequence[ManifestPart], config: RayConfig, threads: int
) -> Iterator[PartOutcome | Suspect]:
    """What becomes of the parts, as they finish; one whose process keeps dying does not come back."""
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    rows = [_row(part).to_pylist()[0] for part in parts]
    stream: ray.data.Dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    for name, pool in config.pools().items():
        with warnings.catch_warnings():
            # Ray 2.60 warns of every argument for the actors themselves and names no other way to bound the retries.
            warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
            stream = stream.map_batches(
                StageActor,
                fn_constructor_args=(name, run, threads),
                batch_size=1,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=pool.actors, max_tasks_in_flight_per_actor=pool.waiting),
                num_cpus=pool.cpus,
                num_gpus=pool.gpus or None,
                max_restarts=-1,
                max_task_retries=config.retries,
            )
    try:
        for block in stream.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0):
            yield _content(block)
    except ray.exceptions.RayError as error:
        raise IvmError(f"Ray gave up: {str(error).strip().splitlines()[-1]}; run the same again") from error


class StageActor:
    """One stage with its experts, in a process of its own; takes and gives an Arrow table with one part."""

    def __init__(self, name: str, run: LabelingRun, threads: int) -> None:
        # As many as the local engine has, for the same last digits; Ray sets one. Read when an expert imports torch.
        os.environ["OMP_NUM_THREADS"] = str(threads)
        self._name, self._run = name, run
        self._stage = make_stage(name, run.recipe, run.answers, run.anew)
        self._gate = make_gate(run.recipe, run.lineage)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Take a part one stage further; a part that failed or is committed passes through."""
        content = _content(block)
        try:
            if isinstance(content, ManifestPart | _Work):
                content = self._advance(content)
        except Exception as error:
            content = Failure.of(content.name if isinstance(content, ManifestPart) else content.planned, error)
        return _row(content)

    def _advance(self, content: ManifestPart | _Work) -> _Work | PartSummary | Suspect:
        if isinstance(content, ManifestPart):
            reading = read(self._run, content)
            if reading is None:
                return skipped(content)
            content = _begin(self._run, content.name, reading)
        kept = []
        with closing(ahead(_with_pixels, content.batches, depth=1)) as ready:
            for batch in ready:
                drafts = content.ledger.run(self._stage, batch)
                if self._name == LAST:
                    content.ledger.keep(self._gate.run(drafts))
                kept.append([replace(draft, image_HWC=_NO_PIXELS) for draft in drafts])
        content.batches = kept
        if self._name != LAST:
            return content
        result = content.ledger.result(content.part, self._run.recipe_hash, content.items)
        return commit_unless_suspect(self._run, replace(result, inputs=tuple(content.inputs)))


def _begin(run: LabelingRun, planned: str, reading: Reading) -> _Work:
    """A part before its first stage; images that cannot be decoded are rejected here, as in the local engine."""
    work = _Work(planned, reading.part, reading.items, reading.inputs, [], Ledger())
    for samples in batches(reading.items, run.recipe.batch_size):
        outcome = decoded(samples)
        work.ledger.keep(outcome.rejected)
        work.batches.append([replace(draft, image_HWC=_NO_PIXELS) for draft in outcome.kept])
    return work


def _with_pixels(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts with their images decoded, one array for each distinct image."""
    images = [full.image_HWC for full in decoded([draft.sample for draft in drafts]).kept]
    return [replace(draft, image_HWC=image) for draft, image in zip(drafts, images, strict=True)]


def _row(content: ManifestPart | _Work | PartOutcome | Suspect) -> pa.Table:
    return pa.Table.from_pylist([{"work": pickle.dumps(content)}], schema=_WORK)


def _content(block: pa.Table) -> Any:
    return pickle.loads(block["work"][0].as_py())


def _threads() -> int:
    import torch

    return torch.get_num_threads()
