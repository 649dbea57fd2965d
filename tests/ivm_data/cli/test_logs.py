"""The libraries log; the command line decides what a person sees of it."""

import logging
import sys

import pytest

from ivm_data import cli
from ivm_data.cli.console import show_logs
from storage import __version__

LOG = logging.getLogger("ivm_data.experts.registry")


@pytest.mark.parametrize(
    ("verbose", "shown"), [(0, ["warning"]), (1, ["info", "warning"]), (2, ["debug", "info", "warning"])]
)
def test_each_v_shows_more_of_what_the_libraries_log(verbose, shown, capfd):
    show_logs(verbose)
    LOG.debug("stage %s fails", "[bold]ground[/]")
    LOG.info("loaded %s", "[bold]sam[/]")
    LOG.warning("again %s", "[bold]part[/]")
    out, err = capfd.readouterr()
    assert out == ""
    assert [line.split(":")[0] for line in err.splitlines()] == shown
    assert err.count("[bold]") == len(shown)


def test_a_traceback_comes_with_its_line(capfd):
    show_logs(2)
    try:
        raise ValueError("of size 0")
    except ValueError:
        LOG.debug("stage ground fails", exc_info=True)
    assert "ValueError: of size 0" in capfd.readouterr().err


def test_version_is_the_packages(capfd, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ivm", "--version"])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert not exit_.value.code
    assert capfd.readouterr().out == f"ivm-engine {__version__}\n"
