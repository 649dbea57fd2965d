"""What a million pairs cost with an LMM behind an endpoint: `python -m benchmarks.endpoint --tokens-a-second 20000`.

Requests and tokens of a pair are those of a labeled data set (`--data`), where its LMM was behind an endpoint; else
they are worked out: requests of each stage, each with an image, a task and a question. What a prefix cache saves is
worked out too: the task and the image of all but the first of several questions about the same picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ivm_data.engine.pipeline import STAGES
from storage.catalog import Catalog
from storage.common.markdown import markdown_table
from storage.errors import ConfigError

HOUR_S = 3600
TASK = 120
"""Tokens of a system message with the question behind the image."""
PIECE = 300
"""Tokens of a crop around a candidate."""
ANSWER = 1
"""Tokens of a yes or no."""
REWRITTEN = 90
"""Tokens of a request as JSON."""
REQUESTS = {"rewrite": (1.0, "no image"), "resolve": (8.1, "crop"), "verify": (2.0, "image")}
"""Requests a pair, and what they show: 11.1 in all; how they split is an assumption."""
USED = "select stage, sum(requests) r, sum(prompt_tokens) p, sum(completion_tokens) c from timings group by stage"


@dataclass(frozen=True)
class Asked:
    """What one stage asks for a pair, on average.

    Attributes:
        cached: prompt tokens that a prefix cache has.
    """

    requests: float
    prompt: float
    answer: float
    cached: float = 0.0


def worked_out(image: int) -> dict[str, Asked]:
    """By stage, without a data set.

    Args:
        image: tokens of a whole picture, as 1,300 for a Qwen-VL and a million pixels.
    """
    shown = {"no image": 0, "crop": PIECE, "image": image}
    found = {}
    for stage, (requests, what) in REQUESTS.items():
        prompt = shown[what] + TASK
        repeated = max(0.0, requests - 1) * (TASK / 2 + (image if what == "image" else 0))
        answer = REWRITTEN if stage == "rewrite" else ANSWER
        found[stage] = Asked(requests, requests * prompt, requests * answer, repeated)
    return found


def measured(data: Path) -> dict[str, Asked]:
    """By stage, of a data set whose LMM was behind an endpoint; a prefix cache is not known there.

    Raises:
        ConfigError: no endpoint was asked for it.
    """
    with Catalog(data) as catalog:
        pairs = catalog.sql("select count(*) n from outcomes").to_pylist()[0]["n"]
        rows = [row for row in catalog.sql(USED).to_pylist() if row["r"]]
    if not rows or not pairs:
        raise ConfigError(f"no endpoint was asked for the labels of '{data}'; leave --data out to work it out")
    return {row["stage"]: Asked(row["r"] / pairs, row["p"] / pairs, row["c"] / pairs) for row in rows}


def tables(asked: dict[str, Asked], pairs: Sequence[int], speeds: Sequence[float], prices: tuple[float, float]) -> str:
    """What a pair asks; and hours and price of many pairs at each speed, without and with a prefix cache."""
    stages = [stage for stage in STAGES if stage in asked]
    sums = Asked(*(sum(getattr(asked[stage], name) for stage in stages) for name in Asked.__dataclass_fields__))
    head = ("stage", "requests", "prompt tokens", "of them in a prefix cache", "answer tokens")
    rows = [(stage, asked[stage]) for stage in stages] + [("all", sums)]
    a_pair = [(name, *map(_number, (one.requests, one.prompt, one.cached, one.answer))) for name, one in rows]
    whole = [_cost(sums, count, speed, prices) for count in pairs for speed in speeds]
    titles = ("pairs", "tokens/s", "hours", "hours with a prefix cache", "requests/s", "price")
    return "\n\n".join(["Asked for a pair:", markdown_table(head, a_pair), markdown_table(titles, whole)])


def _cost(one: Asked, pairs: int, speed: float, prices: tuple[float, float]) -> Sequence[object]:
    tokens, cached = one.prompt + one.answer, one.prompt + one.answer - one.cached
    price = pairs * (one.prompt * prices[0] + one.answer * prices[1]) / 1e6
    hours = pairs * tokens / speed / HOUR_S
    shown = (f"{hours:,.0f}", f"{pairs * cached / speed / HOUR_S:,.0f}", f"{speed / tokens * one.requests:.1f}")
    return f"{pairs:,}", f"{speed:,.0f}", *shown, f"{price:,.0f}" if price else None


def _number(value: float) -> str:
    return f"{value:,.1f}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="labeled data set whose LMM was behind an endpoint")
    parser.add_argument("--pairs", type=int, nargs="+", default=[1_000_000])
    parser.add_argument(
        "--tokens-a-second", type=float, nargs="+", default=[5_000.0, 20_000.0, 80_000.0], help="of the endpoint"
    )
    parser.add_argument("--image-tokens", type=int, default=1300, help="of a whole picture")
    parser.add_argument(
        "--prices", type=float, nargs=2, default=[0.0, 0.0], help="of a million tokens of prompts, and of answers"
    )
    options = parser.parse_args()
    asked = measured(options.data) if options.data else worked_out(options.image_tokens)
    print(tables(asked, options.pairs, options.tokens_a_second, tuple(options.prices)))


if __name__ == "__main__":
    main()
