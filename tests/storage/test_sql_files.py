import pytest

from storage.common.sql_files import description, fill, load
from storage.sql import queries


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with SQL files."""
    folder = tmp_path / "sql_of_a_test" / "sql"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "plain.sql").write_text("-- Plain.\nSELECT 1")
    (folder / "_near.sql").write_text("near AS (SELECT 1 {only})\n")
    (folder / "with_near.sql").write_text(
        "-- With near.\n-- {only} = WHERE {'a': 1}.a = 1\nWITH {near} FROM near {open}\n"
    )
    (folder / "by.sql").write_text(
        "-- By {column}.\n-- for by_kind: {column} = kind\n-- for by_all: {column} = source; {more} = , 2\n"
        "SELECT {column}{more}\n"
    )
    (folder / "notes.txt").write_text("no SQL")
    monkeypatch.syspath_prepend(tmp_path)
    return "sql_of_a_test"


def test_a_file_is_a_statement_or_several_that_differ_in_words(package):
    found = load(package, "sql")
    assert list(found) == ["by_all", "by_kind", "plain", "with_near"]
    assert found["by_kind"] == "-- By kind.\nSELECT kind{more}\n" and description(found["by_all"]) == "By source."
    assert found["by_all"] == "-- By source.\nSELECT source, 2\n"


def test_a_part_of_several_files_is_put_in_and_what_is_no_word_stays(package):
    text = load(package, "sql")["with_near"]
    assert text == "-- With near.\nWITH near AS (SELECT 1 WHERE {'a': 1}.a = 1) FROM near {open}\n"
    assert fill(text, {"open": "LIMIT 1"}).endswith("FROM near LIMIT 1\n")


def test_the_queries_keep_their_names():
    names = [query.name for query in queries.named_queries()]
    assert names == sorted(names) and len(names) == 34
    assert {"acceptance_by_kind", "acceptance_by_source", "held_out_by_difficulty", "summary"} <= set(names)
    assert not any("{" in query.description for query in queries.named_queries())
