"""Requests to a model over HTTP: their order, how many at once, their pace, and what they cost."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from chat_server import IMAGE, logprobs, refusal, text

from ivm_data.experts.common.usage import Usage, metered
from ivm_data.experts.lmms.level import START

IMAGES = [np.full((6, 8, 3), value, np.uint8) for value in (10, 90, 170)]


def test_answers_keep_their_order_and_equal_questions_are_asked_once(server):
    def echo(handler):
        question = json.loads(server.asked[-1]["messages"][1]["content"][1]["text"])
        handler.send(*text(question.upper()))

    server.replies = [echo]
    questions = [f"q{number % 5}" for number in range(20)]
    assert server.lmm(concurrency=1).answer([IMAGE] * 20, questions) == [q.upper() for q in questions]
    assert len(server.asked) == 5


def test_requests_run_at_once_up_to_the_limit(server):
    meeting = threading.Barrier(4, timeout=60)

    def wait_for_three_others(handler):
        meeting.wait()
        handler.send(*text("ok"))

    server.replies = [wait_for_three_others]
    assert server.lmm(concurrency=4).answer([IMAGE] * 8, [f"q{n}" for n in range(8)]) == ["ok"] * 8


def test_a_server_that_takes_three_at_once_answers_all_questions(server):
    lock, under_way, statuses = threading.Lock(), [0], []

    def answer(handler):
        with lock:
            under_way[0] += 1
            is_too_many = under_way[0] > 3
        if not is_too_many:
            threading.Event().wait(0.02)
        with lock:
            under_way[0] -= 1
            statuses.append(429 if is_too_many else 200)
        handler.send(*(refusal(429, "busy", {"retry-after-ms": "20"}) if is_too_many else text("ok")))

    server.replies = [answer]
    lmm = server.lmm(concurrency=32, max_retries=20)
    assert lmm.answer([IMAGES[0]] * 60, [f"q{n}" for n in range(60)]) == ["ok"] * 60
    assert statuses.count(200) == 60 and 429 in statuses
    assert lmm._client.level.now < START


def test_an_image_is_encoded_once_for_all_that_is_asked_and_its_questions_follow_each_other(server, monkeypatch):
    server.replies = [logprobs(yes=0.6, no=0.2)]
    lmm, encoded = server.lmm(concurrency=1), []
    plain = lmm._sent._encode
    lmm._sent._encode = lambda image_HWC: encoded.append(image_HWC) or plain(image_HWC)
    order = [0, 1, 2, 1, 0, 2]
    lmm.p_yes([IMAGES[k] for k in order], [f"q{n}" for n in range(6)])
    lmm.answer([IMAGES[1]], ["and that?"])
    assert [id(image) for image in encoded] == [id(image) for image in IMAGES]
    turns = [asked["messages"][-1]["content"] for asked in server.asked]
    assert [json.loads(turn[1]["text"]) for turn in turns] == ["q0", "q4", "q1", "q3", "q2", "q5", "and that?"]
    assert turns[0][0] == turns[1][0] and turns[2][0] == turns[3][0] == turns[6][0]


def test_what_is_asked_of_one_image_has_everything_but_the_question_in_common(server):
    server.replies = [text("ok")]
    server.lmm(concurrency=1).answer([IMAGES[0]] * 2, ["gladiolus?", "xylophone?"])
    first, second = (json.dumps(asked["messages"]) for asked in server.asked)
    image = first.index("data:image")
    assert first[: image + 400] == second[: image + 400]
    assert first.index("gladiolus?") > image and second.index("xylophone?") > image


def test_requests_keep_their_pace(server):
    server.replies = [text("ok")]
    lmm = server.lmm(requests_per_minute=1200, concurrency=4)
    lmm.load()
    began = time.monotonic()
    lmm.answer([IMAGE] * 8, list("abcdefgh"))
    assert time.monotonic() - began >= 7 * 60 / 1200  # the first of the eight need not wait


def test_tokens_are_summed(server):
    lmm = server.lmm()
    lmm.answer([IMAGE] * 3, list("abc"))
    assert (lmm.usage.requests, lmm.usage.prompt_tokens, lmm.usage.completion_tokens) == (3, 30, 6)


def test_usage_is_counted_for_the_caller_whose_question_it_was(server):
    lmm = server.lmm()

    def asked(images):
        with metered() as meter:
            lmm.answer([IMAGE] * images, [f"{images} {n}" for n in range(images)])
        return meter.used

    with ThreadPoolExecutor(2) as pool:
        few, many = pool.map(asked, (2, 5))
    assert (few, many) == (Usage(2, 20, 4), Usage(5, 50, 10))
    assert lmm.usage == Usage(7, 70, 14)


def test_nothing_asked_is_nothing_sent(server):
    lmm = server.lmm()
    assert lmm.p_yes([], []).shape == (0,) and lmm.rewrite([]) == [] and lmm.answer([], []) == []
    with pytest.raises(ValueError, match="one image for each question"):
        lmm.p_yes([], ["a"])
    assert server.asked == []
