"""Instructions, names and paths are data in the terminal: shown, not obeyed."""

import json
import sys

import pytest

from ivm_data import cli
from ivm_data.cli import console

HOSTILE = [
    "\\[/x]",
    "[bold]x[/bold]",
    "[/]",
    "a\x1b[31mb",
    "\x1b]0;t\x07",
    "x\u202egnp.exe",
    ":warning:",
    "a\nb",
    "\ud800",
]


@pytest.fixture
def ivm(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ivm", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        out, err = capfd.readouterr()
        return exit_.value.code or 0, out, err

    return run


def obeyed(text):
    return [sign for sign in text if sign in "\x1b\x07\r\u202e"]


def test_a_stage_that_comes_again_with_more_to_do_never_passes_its_end():
    with console.progress_bar() as bar:
        bars = console.StageBars(bar)
        for done, total in ((3, 3), (1, 9), (9, 9), (11, 10)):
            bars.show("features", done, total)
            (task,) = bar.tasks
            assert task.percentage <= 100 and (task.completed, task.total) == (min(done, total), total)


@pytest.mark.parametrize("text", HOSTILE)
def test_every_way_to_print_shows_hostile_text_as_it_is(text, capfd):
    shown = (
        text.replace("\x1b", "\\x1b").replace("\x07", "\\x07").replace("\u202e", "\\u202e").replace("\ud800", "\\ud800")
    )
    console.say(text)
    console.warn(text)
    console.fail(text)
    out, err = capfd.readouterr()
    assert out == f"{shown}\n"
    assert err == f"warning: {shown}\nerror: {shown}\n"
    console.show([text, "b"], [(text, 1)], title=text)
    with console.progress_bar() as bar:
        bar.add_task(text, total=1)
    out, err = capfd.readouterr()
    assert out.count(shown.replace("\n", "\\n")) == 3
    assert not obeyed(out)


def test_programs_get_the_text_that_was_stored_and_a_terminal_never_obeys_it(capfd, monkeypatch):
    console.show(["text"], [("a\x1b[31mb",)], "csv")
    console.show(["text"], [("a\x1b[31m\ud800",)], "json")
    written, line = capfd.readouterr().out.split("\r\n")[1:]
    assert written == "a\x1b[31mb"
    assert not obeyed(line) and json.loads(line) == {"text": "a\x1b[31m\ud800"}
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    console.show(["text"], [("a\x1b[31mb",)], "csv")
    assert capfd.readouterr().out == "text\r\na\\x1b[31mb\r\n"


def test_a_hostile_instruction_is_shown_by_every_question_about_it(ivm, tmp_path):
    rows = [{"image": f"{n}.png", "instruction": text} for n, text in enumerate(HOSTILE[:-1])]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, out, err = ivm("label", "--manifest", "m.jsonl", "--out", "data[/x]")
    assert status == 3 and "--data data[/x] rejections" in err
    for asked in (("query", "--data", "data[/x]", "rejections"), ("sql", "--data", "data[/x]", "from rejections")):
        status, out, err = ivm(*asked)
        assert status == 0 and not obeyed(out), err
        assert all(text.encode("unicode_escape").decode().replace("\\\\", "\\") in out for text in HOSTILE[:-1])
    status, out, _ = ivm("sql", "--data", "data[/x]", 'select 1 as "[/x]\x1b[2J"')
    assert status == 0 and "[/x]\\x1b[2J" in out
    status, _, err = ivm("sql", "--data", "data[/x]", "select [/x]\x1b[2J")
    assert status == 2 and not obeyed(err) and "Traceback" not in err
