"""One hash over a whole label set, whatever its files are."""

from __future__ import annotations

from pathlib import Path

from storage.data_set import DataSet
from storage.parts.row_hashes import combine, part_digests


def content_hash(data: Path, recipe: str | None = None) -> str:
    """Hash over every outcome that counts, of a data set or of one recipe: equal hashes mean equal label sets.

    Raises:
        ShardError: a label file is torn, foreign or incomplete, so that there is no whole to hash.
    """
    with DataSet.open(data, recipe) as opened:
        digests = (digest for light in opened.files("light") for digest in part_digests(light))
        places = zip(*(opened.superseded[name].to_pylist() for name in ("recipe", "part", "position")), strict=True)
        gone = {(recipe, part, f"{position:010d}") for recipe, part, position in places}
        return combine(digest for digest in digests if digest[:3] not in gone)
