"""Discriminator Weighted Supervised Learning from labeled shards to a checkpoint (IVM, arXiv 2405.19783)."""

from __future__ import annotations

import errno
import logging
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

from ivm_model.engine.optimization import Progress, silent
from ivm_model.engine.processes import Stop, join_processes
from ivm_model.engine.training_state import FOLDER, begun_with
from ivm_model.train.model_card import TrainReport
from ivm_model.train.train_config import TrainConfig
from ivm_model.train.training import Training
from storage.data_set import DataSet
from storage.disk.publish import make_folder, sweep
from storage.errors import ConfigError, IvmWarning, ShardError
from storage.tables import snapshots

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["TrainConfig", "train_dwsl"]

_LOG = logging.getLogger(__name__)
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def train_dwsl(config: TrainConfig, progress: Progress = silent) -> TrainReport:
    """Train, weigh, evaluate, audit, and write the checkpoint and the discriminator's weights.

    The generator learns for a while with uniform weights; stage I then judges each machine label, also by how it agrees
    with that generator; stage II goes on with the judged weights. A training that was killed goes on from its last
    state in `out` and ends with the same parameters, whatever was labeled, reviewed or cleaned meanwhile: its rows are
    those of a snapshot, which it makes where the config names none. A compaction leaves it the files that it reads.
    Under a launcher, every process calls this.

    Raises:
        ConfigError: the data or the weighting cannot be used, or `out` holds the state of another training.
        ShardError: too many rows cannot be read, or labels that the snapshot lists are gone.
        WeightsError: a base model cannot be read.
        TrainingDivergedError: a loss is not finite.
        TrainingStoppedError: SIGTERM came; the state is written.
    """
    with Stop() as stop, DataSet.open(config.data, config.rows.recipe or None) as data:
        accelerator = join_processes(config.run.precision)
        make_folder(config.out.parent)
        sweep(config.out.parent)
        snapshot = _first_says(accelerator, config, data)
        config = replace(config, rows=replace(config.rows, snapshot=snapshot))
        _LOG.info("training on the rows of snapshot %s", snapshot or "current, unnamed")
        rows = data.at(config.rows.recipe or None, snapshot or None)
        return Training(config, rows, accelerator, stop=stop, progress=progress).run()


def _first_says(accelerator: Accelerator, config: TrainConfig, data: DataSet) -> str:
    """The snapshot that the first process chose: labels may land while the others start."""
    from accelerate.utils import broadcast_object_list

    return str(broadcast_object_list([_snapshot(config, data) if accelerator.is_main_process else ""])[0])


def _snapshot(config: TrainConfig, data: DataSet) -> str:
    """The snapshot to train on: the one asked for, that of an unfinished training, or a new one of the current rows.

    "" where the data folder cannot be written: its rows are then the current ones, unnamed.
    """
    if config.rows.snapshot:
        return snapshots.load(config.data, config.rows.snapshot).name
    begun = begun_with(config.out)
    if not begun:
        try:
            return data.freeze().name
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise
            return ""
    try:
        frozen = snapshots.load(config.data, begun)
        _ = data.at(snapshot=frozen).by_kind
    except (ConfigError, ShardError) as error:
        raise type(error)(
            f"the training in '{config.out}' began with rows that are not there any more: {error}\n"
            f"Bring them back, or remove '{config.out / FOLDER}' to start again with the current rows."
        ) from error
    if data.now().rows("labels") != frozen.rows("labels"):
        warnings.warn(
            f"the training in '{config.out}' goes on with the rows of snapshot {begun}, with which it began "
            f"({frozen.created_at}); labels that came later are not among them",
            IvmWarning,
            stacklevel=2,
        )
    return begun
