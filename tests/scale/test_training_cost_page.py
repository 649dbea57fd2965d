"""docs/training-cost.md says what the formulas say, and the formulas what torch counted."""

import pytest

from benchmarks import training_cost
from benchmarks.capacity_page import with_table
from benchmarks.shallow import tiny_modern
from benchmarks.training_flops import row_flops


@pytest.fixture(scope="module")
def found() -> list[training_cost.Counted]:
    return training_cost.read()


def test_the_page_holds_the_tables_of_today(found):
    text = training_cost.PAGE.read_text(encoding="utf-8")
    for table in training_cost.tables(found):
        assert with_table(text, table) == text


def test_what_was_counted_at_full_width_is_what_is_computed(found):
    assert [each.recipe for each in found] == list(training_cost.RECIPES)
    for each in found:
        for _, part, computed, counted, _ in training_cost.comparison(each):
            assert float(computed) == pytest.approx(float(counted), rel=0.02), part


def test_more_gpus_take_less_time_of_what_they_share_and_no_less_of_what_each_does_whole(found):
    tokens = found[0].tokens
    rows = training_cost.hours_rows("paper", training_cost.whole("paper"), tokens)
    one, _, many = ([float(cell.replace(",", "")) for cell in row[3:]] for row in rows[:3])
    assert many[1] == pytest.approx(one[1] / 64, abs=0.05)
    alone, shared = training_cost.stage_one("paper", training_cost.whole("paper"), tokens)
    assert many[0] / one[0] == pytest.approx((alone + shared / 64) / (alone + shared), rel=0.01)
    assert many[3] > one[3]


def test_a_row_is_counted_on_models_that_are_written_here(monkeypatch, tmp_path):
    monkeypatch.setattr(training_cost, "shallow", lambda *_: tiny_modern())
    found = training_cost.counted("modern", 2, tmp_path)
    made, config = tiny_modern(), training_cost.settings("modern").model
    computed = row_flops(made.sam, made.lmm, config, found.tokens)
    assert (found.flops.sam, found.flops.tower) == (computed.sam, computed.tower)
    assert found.flops.learn == pytest.approx(computed.learn, rel=0.03)
    assert found.tokens > 24**2 and found.encode > 0
    kept = 2 * found.tokens * made.lmm.get_text_config().hidden_size * 2
    assert found.learn > kept
