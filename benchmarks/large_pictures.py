"""What tiles cost: seconds and parts of an expert's answer about pictures of 0.3, 2 and 12 MP, with and without.

    python -m benchmarks.large_pictures --photo photo.jpg --recipe card --set grounders.0.options.path=...

Each expert is asked alone, so that it does not matter what the rewriter makes of the words: the grounder and the mask
proposers about one phrase, the segmenter about one box of 40 pixels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ivm_data.cli.options import parse_changes
from ivm_data.experts.common.usage import metered
from ivm_data.experts.registry import ExpertSpec, get
from ivm_data.recipes.labeling_recipes import Recipe, recipe
from ivm_data.recipes.tile_costs import MEGAPIXELS
from storage.records import Box
from storage.request import Request

BOX = Box(100, 100, 140, 140)


def pictures(photo: Path) -> Iterator[np.ndarray]:
    """The photograph at 4:3 with each of `MEGAPIXELS`, uint8 RGB."""
    with Image.open(photo) as opened:
        for megapixels in MEGAPIXELS:
            height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
            yield np.asarray(opened.convert("RGB").resize((round(height * 4 / 3), height)))


def asks(chosen: Recipe, phrase: str) -> Iterator[tuple[str, ExpertSpec, Callable[[Any, np.ndarray], Any]]]:
    """Role, expert, and what it is asked about a picture."""
    for i, spec in enumerate(chosen.grounders):
        yield f"grounders.{i}", spec, lambda expert, image_HWC: expert.ground([image_HWC], [[phrase]])
    yield "segmenter", chosen.segmenter, lambda expert, image_HWC: expert.segment([image_HWC], [[BOX]])
    for i, spec in enumerate(chosen.proposers):
        yield f"proposers.{i}", spec, lambda expert, image_HWC: expert.propose([image_HWC], [Request.of((phrase,))])


def main() -> None:
    """Print a row of Markdown for each expert and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--phrase", default="small red star")
    parser.add_argument("--set", action="append", default=[], dest="changes")
    options = parser.parse_args()
    measure(recipe(options.recipe, parse_changes(options.changes)), options.photo, options.phrase)


def measure(chosen: Recipe, photo: Path, phrase: str) -> None:
    """As `main`, of a recipe."""
    shown = list(pictures(photo))
    print("| expert | MP | parts | seconds, whole | seconds, tiles |\n|---|---|---|---|---|")
    for role, spec, ask in asks(chosen, phrase):
        plain = get(spec.whole)
        parted = get(spec if spec.tiles else replace(spec, options={**spec.options, "tiles": True}))
        ask(plain, shown[0])
        for megapixels, image_HWC in zip(MEGAPIXELS, shown, strict=True):
            seconds = []
            for expert in (plain, parted):
                began = time.process_time()
                with metered() as meter:
                    ask(expert, image_HWC.copy())
                seconds.append(time.process_time() - began)
            row = (f"{role} {spec.expert}", f"{megapixels:g}", meter.used.tiles, *(f"{s:.2f}" for s in seconds))
            print("|", " | ".join(map(str, row)), "|", flush=True)


if __name__ == "__main__":
    main()
