"""`--json` before or behind any command: an object a line on standard output."""

import json

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from ivm_data.cli.app import app


def answered(*words):
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_messages_and_tables_are_objects_and_each_row_names_its_table(tmp_path):
    world = tmp_path / "world"
    (made,) = answered("world", str(world), "--scenes", "2", "--json")
    assert made == {"message": str(world / "manifest.jsonl")}
    rows = answered("--json", "doctor")
    assert {row["table"] for row in rows if "table" in row} == {"", "demo", "forwards a picture, with its tiles"}
    assert any(row.get("role") == "grounders.0" and row["state"] == "ready" for row in rows)
    told = answered("label", "--manifest", str(world / "manifest.jsonl"), "--out", str(tmp_path / "data"), "--json")
    assert sum(row.get("pairs", 0) for row in told if row.get("outcome") != "failed") > 0
    (row,) = answered("sql", "--data", str(tmp_path / "data"), "--json", "SELECT count(*) AS n FROM outcomes")
    assert row["n"] == 6 and row["table"] == ""


def test_the_format_of_a_table_that_was_asked_for_stays(tmp_path):
    words = ["--json", "sql", "--data", str(tmp_path), "--format", "csv", "SELECT 1 AS one"]
    assert CliRunner().invoke(app, words).stdout.split() == ["one", "1"]


def test_an_error_is_text_on_the_other_stream(tmp_path):
    result = CliRunner().invoke(
        app, ["report", "--data", str(tmp_path / "none"), "-o", str(tmp_path / "r.html"), "--json"]
    )
    assert result.exit_code != 0 and result.stdout == ""


def test_text_comes_back_after_json():
    answered("doctor", "--json")
    plain = CliRunner().invoke(app, ["doctor"])
    with pytest.raises(json.JSONDecodeError):
        json.loads(plain.stdout.splitlines()[0])


def test_what_follows_two_dashes_is_no_option(tmp_path):
    result = CliRunner().invoke(app, ["rewrite", "--", "--json"])
    assert result.exit_code == 0 and not result.stdout.startswith("{")


@pytest.mark.parametrize("name", sorted(get_command(app).commands))
def test_every_command_takes_it(name):
    for words in ([name, "--json", "--help"], ["--json", name, "--help"]):
        assert CliRunner().invoke(app, words).exit_code == 0
