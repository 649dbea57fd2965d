"""Key frames with tracks against a mask for every frame, on the world in motion: J&F, flicker, and known masks a frame.

    python -m benchmarks.episodes --episodes 20 --every 5 10

Key frames have their true masks, so that what is measured is the tracker alone.
"""

from __future__ import annotations

import argparse

import numpy as np

from ivm_data.evaluation.video_measures import VideoScores, score_video
from ivm_data.experts.common.tracks import track
from ivm_data.experts.registry import ExpertSpec, get
from ivm_data.worlds.motion import Episode, draw_episode

LEAST = 100
"""Pixels that a thing shows in its first frame, to be followed."""


def held(masks: tuple[np.ndarray, ...], every: int) -> list[np.ndarray]:
    """Each frame with the mask of the nearest key frame before it."""
    return [masks[number - number % every] for number in range(len(masks))]


def scores(episode: Episode, every: int) -> list[tuple[VideoScores, VideoScores, float]]:
    """For each thing: tracked, held still, and the mean consistency of its frames."""
    found = []
    for masks in episode.masks:
        if np.count_nonzero(masks[0]) >= LEAST:
            keys = {number: masks[number] for number in {*range(0, len(masks), every), len(masks) - 1}}
            tracked = track(get(ExpertSpec("flow")), episode.images, keys)
            consistency = float(np.nanmean([one.consistency for one in tracked]))
            made = [one.mask_HW for one in tracked]
            found.append((score_video(made, masks), score_video(held(masks, every), masks), consistency))
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--frames", type=int, default=41)
    parser.add_argument("--every", type=int, nargs="+", default=[5, 10])
    given = parser.parse_args()
    print("| key frames | masks | J | F | J&F | flicker | mean consistency |")
    print("|---|---|---|---|---|---|---|")
    for every in given.every:
        rows = [
            row for index in range(given.episodes) for row in scores(draw_episode("test", index, given.frames), every)
        ]
        for name, place in (("tracked", 0), ("held still", 1)):
            ones = [row[place] for row in rows]
            j, f, flicker = (np.mean([getattr(one, key) for one in ones]) for key in ("j", "f", "flicker"))
            agreed = f"{np.mean([row[2] for row in rows]):.3f}" if place == 0 else ""
            print(f"| every {every}th | {name} | {j:.3f} | {f:.3f} | {(j + f) / 2:.3f} | {flicker:.3f} | {agreed} |")


if __name__ == "__main__":
    main()
