"""A model over HTTP that fails: what may pass, what is one sample's fault, and answers that never end."""

import time
from contextlib import suppress

import pytest
from chat_server import IMAGE, logprobs, p_yes, refusal, text

from ivm_data.engine.pipeline import run_isolated
from ivm_data.experts.common.protocols import AnswerError
from ivm_data.experts.lmms.bounded_client import MAX_BYTES
from ivm_data.stages.rewrite import RewriteStage
from ivm_data.stages.stage import Draft
from storage.errors import TransientError
from storage.records import Sample


def test_a_busy_server_is_asked_again_when_it_says(server):
    server.replies = [refusal(429, "slow down", {"retry-after": "1"}), text("ok")]
    assert server.lmm().answer([IMAGE], ["a"]) == ["ok"]
    assert server.arrived[1] - server.arrived[0] >= 0.95


def test_a_failure_that_passes_is_not_seen(server):
    server.replies = [refusal(500, "oops"), text("ok")]
    assert server.lmm().answer([IMAGE], ["a"]) == ["ok"]


def late(handler):
    time.sleep(0.6)


def cut_off(handler):
    handler.send(*text("ok"), missing=50)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (refusal(429, "slow down"), "answered 429 to 1 attempts: .*slow down.*try again later"),
        (refusal(503, "loading"), "answered 503 .*loading"),
        (late, "no answer to 1 attempts of at most 0.3 s: .*raise 'timeout_s'"),
        (cut_off, "gave no answer"),
        ((200, {}, '{"id": "1", "choices": [{"mess'), "torn or of another protocol"),
        ((200, {"content-type": "text/html"}, "<html>"), "torn or of another protocol"),
        ((200, {}, '{"choices": []}'), "torn or of another protocol"),
    ],
)
def test_what_keeps_failing_is_transient_and_says_where(server, reply, message):
    server.replies = [reply]
    with pytest.raises(TransientError, match=message) as caught:
        server.lmm(max_retries=0, timeout_s=0.3 if reply is late else 60).answer([IMAGE], ["a"])
    assert server.url in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (refusal(400, "maximum context length is 4096 tokens"), "400: .*4096 tokens.*shorten the instruction"),
        (refusal(413, "image too large"), "413"),
        (text("As an AI", logprobs=None), "neither yes nor no in 2 votes, first 'As an AI'"),
        (logprobs(I=0.9, As=0.1), "begins with 'I'.*neither yes nor no"),
    ],
)
def test_a_question_that_cannot_be_answered_is_blamed_on_its_sample_alone(server, reply, message):
    server.replies = [reply]
    with pytest.raises(AnswerError, match=message):
        p_yes(server.lmm())


def test_one_prompt_over_the_context_length_costs_one_sample_of_its_batch(server):
    def answer(handler):
        long = "word " * 50 in str(server.asked[-1]["messages"])
        handler.send(*(refusal(400, "maximum context length") if long else text("find ring")))

    server.replies = [answer]
    stage = RewriteStage(server.lmm(concurrency=1))
    instructions = ["Find the ring.", "word " * 60, "Find it.", "Take it."]
    drafts = [
        Draft(Sample(str(number), b"", "", 5, 4, instruction, "test"), IMAGE)
        for number, instruction in enumerate(instructions)
    ]
    outcome = run_isolated(stage, drafts)
    assert [draft.sample.id for draft in outcome.kept] == ["0", "2", "3"]
    assert [(r.sample_id, r.reason) for r in outcome.rejected] == [("1", "expert_failed")]
    assert "maximum context length" in outcome.rejected[0].detail


def drip_head(handler):
    with suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(200):
            handler.wfile.write(b"x-more: 1\r\n")
            time.sleep(0.05)


def drip_body(handler):
    with suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        for _ in range(200):
            handler.wfile.write(b" ")
            time.sleep(0.05)


def endless(handler):
    with suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        for _ in range(2000):
            handler.wfile.write(b" " * (1 << 20))


def zipped(handler):
    handler.send(200, {"content-encoding": "gzip"}, "x")


def endless_redirect(handler):
    with suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /v1/chat/completions\r\n\r\n")
        for _ in range(2000):
            handler.wfile.write(b" " * (1 << 20))


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (drip_head, "no whole answer within 0.5 s"),
        (drip_body, "no whole answer within 0.5 s"),
        (endless, f"more than {MAX_BYTES} bytes"),
        (zipped, "compressed, which was not asked for"),
        (endless_redirect, "more than 5 redirects"),
    ],
)
@pytest.mark.parametrize("kept_alive", [False, True])
def test_an_answer_that_never_ends_is_given_up_in_time_and_size(server, reply, message, kept_alive):
    lmm = server.lmm(max_retries=0, timeout_s=0.5 if "0.5" in message else 60.0)
    if kept_alive:
        server.http.RequestHandlerClass.protocol_version = "HTTP/1.1"
        lmm.answer([IMAGE], ["first"])
    server.replies = [reply]
    with pytest.raises(TransientError, match=f"{server.url}.* gave no answer .*{message}"):
        lmm.answer([IMAGE], ["a"])
    server.replies = [text("ok")]
    assert lmm.answer([IMAGE], ["b"]) == ["ok"]


def test_a_redirect_of_a_question_is_followed(server):
    server.replies = [(307, {"location": "/v1/chat/completions"}, ""), text("ok")]
    assert server.lmm().answer([IMAGE], ["a"]) == ["ok"] and len(server.asked) == 2


def test_a_server_that_goes_away_is_a_failure_that_may_pass(server):
    lmm = server.lmm(max_retries=0)
    lmm.load()
    server.http.socket.close()
    with pytest.raises(TransientError, match="gave no answer"):
        p_yes(lmm)
