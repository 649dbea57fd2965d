from storage.common.markdown import markdown_table


def test_a_table_shows_floats_to_three_digits_and_nothing_as_a_dash():
    rows = [["a", 1, 0.12345], ["b", None, "0.1"]]
    assert markdown_table(("x", "n", "share"), rows) == (
        "| x | n | share |\n| --- | --- | --- |\n| a | 1 | 0.123 |\n| b | - | 0.1 |"
    )


def test_a_bar_in_a_cell_does_not_open_another_column():
    assert markdown_table(("a|b",), [["c|d"]]) == "| a\\|b |\n| --- |\n| c\\|d |"
