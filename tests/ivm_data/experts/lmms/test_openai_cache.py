"""Kept answers of a model over HTTP: what is kept, and for which server and model."""

import pytest
from chat_server import IMAGE, Server, logprobs, p_yes, refusal, text

from ivm_data.experts.common.protocols import AnswerError
from ivm_data.experts.lmms import chat_messages
from ivm_data.experts.lmms.openai_client import OpenAiConfig
from ivm_data.experts.lmms.openai_lmm import OpenAiLmm
from ivm_data.experts.lmms.response_cache import ResponseCache, response_key


def test_a_rerun_over_a_warm_cache_asks_nothing_even_of_a_server_that_is_gone(tmp_path):
    server, answers, lmms = Server(), [], []
    server.replies = [text("find ring")] * 2 + [text("yes")]
    for _ in range(2):
        lmm = server.lmm(cache=str(tmp_path), concurrency=1)
        lmms.append(lmm)
        answers.append(
            (lmm.rewrite(["a", "b"]), lmm.p_yes([IMAGE] * 2, ["c", "d"]).tolist(), lmm.answer([IMAGE], ["e"]))
        )
        if len(answers) == 1:
            server.stop()
    assert answers[0] == answers[1] and lmms[1].usage.requests == 0 < lmms[0].usage.requests


def test_nonsense_and_failures_are_not_cached(server, tmp_path):
    server.replies = [text("I'm sorry."), text("find it"), refusal(400, "too long"), text("find ring")]
    lmm = server.lmm(cache=str(tmp_path))
    assert lmm.rewrite(["a"])[0].things == ()
    with pytest.raises(AnswerError):
        lmm.rewrite(["a"])
    assert lmm.rewrite(["a"])[0].phrases == ("ring",)


def test_two_deployments_on_one_host_do_not_answer_for_each_other(server, tmp_path):
    server.replies = [text("find ring"), text("find star")]
    cache = {"cache": str(tmp_path), "max_retries": 0}
    first, second = (
        OpenAiLmm(OpenAiConfig(server.url.replace("/v1", f"/{name}/v1"), "m", **cache)) for name in ("one", "two")
    )
    assert first.name != second.name
    assert [lmm.rewrite(["a"])[0].phrases for lmm in (first, second, first)] == [("ring",), ("star",), ("ring",)]


def test_models_of_two_directories_of_one_name_do_not_answer_for_each_other(server, tmp_path):
    server.models = ["/a/m", "/b/m"]
    server.replies = [text("find ring", model=""), text("find star", model="")]
    first, second = (OpenAiLmm(OpenAiConfig(server.url, name, cache=str(tmp_path))) for name in server.models)
    assert [lmm.rewrite(["a"])[0].phrases for lmm in (first, second)] == [("ring",), ("star",)]


def test_an_answer_that_was_kept_under_the_endpoint_without_its_path_is_asked_for_again(server, tmp_path):
    lmm = server.lmm(cache=str(tmp_path))
    old = f"m@127.0.0.1:{server.http.server_port}"
    parameters = {"votes": 2, "answer_tokens": 64, "image_format": "jpeg", "jpeg_quality": 95}
    parameters |= {"max_pixels": 1_000_000, "square": False, "instructed": True}
    asked = [chat_messages.YES_NO, "Is there a ring?"]
    ResponseCache(tmp_path).keep(response_key(old, parameters, asked, IMAGE), 0.125)
    server.replies = [logprobs(yes=0.6, no=0.2)]
    assert p_yes(lmm) == pytest.approx(0.75)
