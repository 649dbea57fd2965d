"""A process on each device, which labels whole parts: what `--devices` runs on a machine with several GPUs.

The batches are those of the local engine, on as many threads, so the bytes are the same. A part is committed by the
process that labeled it; one in doubt comes back, and is decided upon here, where its neighbours are known.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from ivm_data.engine.devices import DevicePlan, place
from ivm_data.engine.labeling import collect_open, try_part
from ivm_data.engine.labeling_run import LabelingRun, absolute
from ivm_data.engine.part_outcomes import Failure, PartOutcome, PartSummary, Suspect
from ivm_data.engine.ray_config import RayConfig
from ivm_data.recipes.doctor import examine
from ivm_data.sources.manifest_parts import ManifestPart
from storage.catalog import Catalog

_LOG = logging.getLogger(__name__)
SECONDS = "select stage, sum(seconds) / sum(rows) as seconds from timings where rows > 0 group by stage"
RETRIES = 3
"""New starts of a part whose process died."""
_run: list[LabelingRun] = []
"""In a worker: what it labels."""


def label_manifest(
    run: LabelingRun,
    devices: Sequence[str],
    progress: Callable[[PartSummary], None] = lambda summary: None,
    ray: RayConfig | None = None,
) -> list[PartSummary]:
    """Every part of a run.

    Args:
        ray: spreads the stages over the devices in any case, as actors of a Ray that starts so.

    Raises:
        PartsFailedError: with all parts that failed, after all others are committed.
    """
    plan = on_devices(run, devices, pools=ray is not None)
    _LOG.info("%s", "; ".join(f"{device}: {what}" for device, what in plan.rows()))
    if plan.pools:
        from ivm_data.engine import ray_engine

        return ray_engine.label_manifest(run, plan.ray(ray or RayConfig()), progress)
    return collect_open(run, label_parts(run, plan.workers), progress)


def on_devices(run: LabelingRun, devices: Sequence[str], *, pools: bool = False) -> DevicePlan:
    """What each device does in this run, by the seconds that its data set has measured, if any; see `place`."""
    with Catalog(run.data) as catalog:
        seconds = {row["stage"]: row["seconds"] for row in catalog.sql(SECONDS).to_pylist()}
    return place(examine(run.recipe), devices, seconds, pools=pools)


def label_parts(run: LabelingRun, devices: Sequence[str]) -> Generator[PartOutcome | Suspect, None, None]:
    """Label the open parts of a run; each comes once, as it ends, and goes to the worker that is free first.

    Args:
        devices: of a worker each, see `devices_of`.
    """
    from ivm_data.experts.registry import unload

    here = absolute(run)
    waiting, tries = deque(here.open_parts()), dict[str, int]()
    unload()
    workers = [_Worker(here, device) for device in devices[: len(waiting)]]
    try:
        for worker in workers:
            worker.take(waiting)
        while busy := {worker.future: worker for worker in workers if worker.future}:
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                worker = busy[future]
                part, outcome = worker.ended()
                if outcome is None:
                    tries[part.name] = tries.get(part.name, 0) + 1
                    if tries[part.name] <= RETRIES:
                        _LOG.warning("part %s starts anew: the process that labeled it died", part.name)
                        waiting.appendleft(part)
                    else:
                        outcome = Failure(part.name, "the process that labeled it died", True)
                worker.take(waiting)
                if outcome is not None:
                    yield outcome
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """One process, with the part that it labels."""

    def __init__(self, run: LabelingRun, device: str) -> None:
        import torch

        self._start = partial(
            ProcessPoolExecutor, 1, multiprocessing.get_context("spawn"), _begin, (run, device, torch.get_num_threads())
        )
        self._pool = self._start()
        self.part: ManifestPart | None = None
        self.future: Future[PartSummary | Suspect] | None = None

    def take(self, waiting: deque[ManifestPart]) -> None:
        """Begin the next part, if there is one."""
        self.part = waiting.popleft() if waiting else None
        self.future = self._pool.submit(_label, self.part) if self.part else None

    def ended(self) -> tuple[ManifestPart, PartOutcome | Suspect | None]:
        """What became of the part; None where the process died, in whose place there is a new one."""
        assert self.part and self.future
        try:
            return self.part, self.future.result()
        except BrokenProcessPool:
            self.stop()
            self._pool = self._start()
            return self.part, None
        except Exception as error:
            return self.part, Failure.of(self.part.name, error)

    def stop(self) -> None:
        """End the process when its part is done."""
        self._pool.shutdown(cancel_futures=True)


def _begin(run: LabelingRun, device: str, threads: int) -> None:
    """Let this process see its device alone, under the name that recipes know: "cuda" is its GPU."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    number = device.removeprefix("cuda:")
    os.environ["CUDA_VISIBLE_DEVICES"] = "" if device == "cpu" else seen[int(number)] if seen != [""] else number
    import torch

    torch.set_num_threads(threads)
    _run.append(run)


def _label(part: ManifestPart) -> PartSummary | Suspect:
    return try_part(_run[0], part)
