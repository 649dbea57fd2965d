"""A hundred million pairs on paper."""

from benchmarks.far import carried_on, row


def test_parts_files_rows_and_requests_follow_from_pairs():
    assert row(512_000, 512)[:2] == ("512,000", "1,000")
    assert row(512_000, 512)[5:] == ("27", "6", "6,000", "2,000", "2")
    assert row(100_000_000, 512)[4] == "10"


def test_work_grows_by_its_exponent_and_work_on_parts_with_the_parts():
    rows = {"what": "query", "unit": "rows", "sizes": [1000, 2000], "cpu_s": [1.0, 2.0], "exponent": 1.0}
    parts = {"what": "open", "unit": "parts", "sizes": [50, 100], "cpu_s": [1.0, 4.0], "exponent": 2.0}
    page = carried_on({"query": rows, "open": parts}, 100_000, 100)
    assert "| query | 1.00 | 100,000 rows | 100 | 100 |" in page
    assert "| open | 2.00 | 1,000 parts | 400 | 58 |" in page
