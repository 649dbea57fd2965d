"""Records, Arrow schemas, masks as run-length encoding, atomic Parquet shards, and the DuckDB catalog over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage.common.lazy import lazily

__version__ = "0.1.0"
"""Of the distribution, `ivm-engine`, with all four packages."""

if TYPE_CHECKING:
    from .catalog import Catalog as Catalog
    from .data_set import DataSet as DataSet
    from .errors import ConfigError as ConfigError
    from .errors import InputError as InputError
    from .errors import IvmError as IvmError
    from .errors import IvmWarning as IvmWarning
    from .errors import ShardError as ShardError
    from .errors import TransientError as TransientError
    from .errors import WeightsError as WeightsError
    from .parts.shards import commit_part as commit_part
    from .pixels import rle as rle
    from .records import Box as Box
    from .records import Label as Label
    from .records import PartResult as PartResult
    from .records import Rejection as Rejection
    from .records import Rle as Rle
    from .records import Sample as Sample
    from .records import Scores as Scores
    from .records import Status as Status
    from .upkeep.digest import content_hash as content_hash
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "catalog": ["Catalog"],
            "data_set": ["DataSet"],
            "upkeep.digest": ["content_hash"],
            "errors": [
                "ConfigError",
                "InputError",
                "IvmError",
                "IvmWarning",
                "ShardError",
                "TransientError",
                "WeightsError",
            ],
            "pixels": ["rle"],
            "records": ["Box", "Label", "PartResult", "Rejection", "Rle", "Sample", "Scores", "Status"],
            "parts.shards": ["commit_part"],
        },
    )
