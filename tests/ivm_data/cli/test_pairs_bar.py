"""The bar of a labeling run says what the endpoint costs while it runs."""

from collections import Counter

import pytest
from rich.progress import Progress

from ivm_data.cli.pairs_bar import PairsBar
from ivm_data.engine.part_outcomes import PartSummary


@pytest.mark.parametrize(
    ("price", "tokens", "said"),
    [
        (2.0, (400_000, 1_100_000), ("400,000 tokens, 0.80 in all", "1,500,000 tokens, 3.00 in all")),
        (0.0, (400_000, 1_100_000), ("400,000 tokens", "1,500,000 tokens")),
        (2.0, (0, 0), ("", "")),
    ],
)
def test_tokens_and_their_price_grow_with_every_part(price, tokens, said):
    bar = Progress(disable=True)
    pairs = PairsBar(bar, "recipe abc", 100, price)
    for rows, used, words in zip((64, 36), tokens, said, strict=True):
        pairs.add(PartSummary("p", rows, True, Counter(), tokens=used))
        assert pairs.spent == words
        assert bar.tasks[0].description == " · ".join(filter(None, ("recipe abc", words)))
    assert bar.tasks[0].completed == bar.tasks[0].total == 100
