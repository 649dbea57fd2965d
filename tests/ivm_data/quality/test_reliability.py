import pytest

from ivm_data.quality.reliability import estimate
from storage.catalog import Catalog
from storage.errors import ConfigError
from storage.parts.shards import commit_part


def test_estimates_are_appended_and_the_view_shows_the_latest(tmp_path, build):
    commit_part(tmp_path, build.make_part("a", 40))
    estimate(tmp_path)
    latest = estimate(tmp_path)
    with Catalog(tmp_path) as catalog:
        rows = catalog.sql("FROM reliability ORDER BY expert").to_pylist()
    assert [row["expert"] for row in rows] == ["dino@1+sam@1", "heat@1"] == [one.expert for one in latest]
    assert {row["labels"] for row in rows} == {32}
    assert all(0.5 < row["sensitivity"] < 1 and 0.9 < row["specificity"] < 1 for row in rows)


def test_one_expert_alone_cannot_be_compared(commit, make):
    with pytest.raises(ConfigError, match=r"no label in .* has two proposals"):
        estimate(commit([]))
