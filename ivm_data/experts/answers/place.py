"""Where answers are kept."""

from __future__ import annotations

import logging
from pathlib import Path

from ivm_data.experts.answers.store import AnswersConfig
from storage.disk.mounts import is_on_network
from storage.errors import ConfigError

NONE = "none"
FOLDER = "answers"
GIB = 2.0
_LOG = logging.getLogger(__name__)


def place(data: Path, folder: str = "", gib: float = GIB) -> AnswersConfig | None:
    """Where a labeling run keeps the answers of its experts; None for nowhere.

    Args:
        data: folder of the data set.
        folder: `NONE` keeps none; "" means `FOLDER` in the data set, or nowhere if that is on a network file system.
        gib: see `AnswersConfig`.

    Raises:
        ConfigError: a folder on a network file system, where processes of several machines would tear the file.
    """
    if folder == NONE:
        return None
    chosen = Path(folder) if folder else data / FOLDER
    if not is_on_network(chosen):
        return AnswersConfig(str(chosen.resolve()), gib)
    if folder:
        raise ConfigError(
            f"answers cannot be kept in '{folder}', which is on a network file system; "
            f"name a folder on a local disk, or '{NONE}'"
        )
    _LOG.warning("'%s' is on a network file system: answers of experts are not kept; name a local folder", data)
    return None
