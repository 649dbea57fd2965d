"""What the page of wrong usages says is what the commands say."""

import re

import pytest

from benchmarks import wrong_usages

pytestmark = pytest.mark.slow
COMMANDS = [command for commands in wrong_usages.USAGES.values() for command in commands]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return wrong_usages.folder_with_mistakes(tmp_path_factory.mktemp("mistakes"))


def test_the_page_is_true(folder):
    assert wrong_usages.page(folder) == wrong_usages.PAGE.read_text()


def test_every_mistake_is_told_in_words_with_what_to_do(folder):
    assert len(COMMANDS) >= 40
    for said in wrong_usages.answers(folder, COMMANDS):
        assert said.text.startswith(("error: ", "warning: ")), said
        assert not re.search(r"Traceback|\b[A-Z][a-z]\w*(Error|Exception|Warning)\b|\[Errno", said.text), said
        assert said.status in ({2} if said.text.startswith("error") else {0, 3}), said
