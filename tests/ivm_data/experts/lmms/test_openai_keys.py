"""The key of a model over HTTP: where it comes from, and that nobody sees it."""

import traceback

import pytest
from chat_server import IMAGE, p_yes, refusal, text

from ivm_data.experts.common.protocols import AnswerError
from storage.errors import ConfigError, TransientError, WeightsError

KEY = "IVM_TEST_KEY"
SECRET = "sk-live-0123456789abcdef"


@pytest.mark.parametrize(
    "reply",
    [
        refusal(401, f"no such key: {SECRET}"),
        refusal(400, f"bad request with {SECRET}"),
        refusal(500, f"oops: authorization Bearer {SECRET}"),
        refusal(404, SECRET),
        (200, {}, f'{{"torn {SECRET}'),
        text(f"my key is {SECRET}"),
        text("yes", model=f"org/{SECRET}"),
    ],
)
def test_a_known_key_is_in_no_message_and_no_answer(server, reply, monkeypatch, tmp_path):
    monkeypatch.setenv(KEY, SECRET)
    server.replies = [reply]
    lmm = server.lmm(api_key_env=KEY, max_retries=0, cache=str(tmp_path))
    try:
        shown = " ".join(lmm.answer([IMAGE], ["a"]))
    except (AnswerError, ConfigError, TransientError, WeightsError) as error:
        shown = "".join(traceback.format_exception(error))
    assert server.asked[0]["key"] == f"Bearer {SECRET}"
    assert shown and SECRET not in shown
    assert all(SECRET.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_dummy_key_hides_no_word_of_an_answer(server, monkeypatch):
    monkeypatch.setenv(KEY, "none")
    server.replies = [text("none")]
    assert server.lmm(api_key_env=KEY).answer([IMAGE], ["a"]) == ["none"]


def test_a_key_that_was_given_in_place_of_its_variables_name_is_not_repeated(server):
    with pytest.raises(ConfigError) as caught:
        server.lmm(api_key_env="gsk_0123456789abcdef").load()
    assert "gsk_" not in str(caught.value)


def test_a_refused_key_is_a_matter_of_configuration(server):
    server.replies = [refusal(401, "who are you?")]
    with pytest.raises(ConfigError, match=r"401.*'api_key_env' is empty"):
        p_yes(server.lmm())


def test_the_key_comes_from_the_named_variable_and_no_other_is_sent(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "private")
    with pytest.raises(ConfigError, match=f"'{KEY}' holds no key"):
        server.lmm(api_key_env=KEY).load()
    monkeypatch.setenv(KEY, "right")
    for variable in (KEY, ""):
        p_yes(server.lmm(api_key_env=variable, votes=1))
    assert {asked["key"] for asked in server.asked} == {"Bearer right", "Bearer EMPTY"}
