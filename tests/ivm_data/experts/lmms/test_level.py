"""How many requests are under way: what an endpoint bears, found by counting."""

import heapq
import threading
from contextlib import ExitStack

import numpy as np
import pytest

from ivm_data.experts.lmms.level import START, Level
from ivm_data.experts.lmms.sent_pictures import SentPictures

IMAGE = np.full((6, 8, 3), 90, np.uint8)


class Endpoint:
    """One that computes `bears` requests at once, each in a second, and lets others wait; more than `takes` get 429."""

    def __init__(self, level, bears, takes=10**9):
        self.level, self.bears, self.takes = level, bears, takes
        self.time, self.highest, self.refusals = 0.0, 0, 0
        self.level._clock = lambda: self.time

    def serve(self, requests):
        """Keep as many under way as the level says, until so many are answered."""
        ends, free, answered = [], [0.0] * self.bears, 0
        while answered < requests:
            while len(ends) < self.level.now:
                attempt = ExitStack()
                tell = attempt.enter_context(self.level.attempt("answer"))
                status = 429 if len(ends) >= self.takes else 200
                starts = max(self.time, heapq.heappop(free)) if status == 200 else self.time
                ends_at = starts + (1.0 if status == 200 else 0.01)
                if status == 200:
                    heapq.heappush(free, ends_at)
                heapq.heappush(ends, (ends_at, id(attempt), attempt, tell, status))
                self.highest = max(self.highest, len(ends))
            self.time, _, attempt, tell, status = heapq.heappop(ends)
            tell(status)
            attempt.close()
            answered += status == 200
            self.refusals += status == 429
        for _, _, attempt, tell, status in ends:
            tell(status)
            attempt.close()


def test_an_endpoint_that_bears_everything_is_asked_the_most_at_once_after_a_few_rounds():
    level = Level(64)
    endpoint = Endpoint(level, bears=1000)
    endpoint.serve(START + 2 * START + 4 * START)
    assert level.now == 64
    endpoint.serve(1000)
    assert endpoint.highest == 64 and endpoint.refusals == 0


@pytest.mark.parametrize("takes", [3, 20, 50])
def test_refusals_find_the_number_that_is_taken_and_are_few(takes):
    level = Level(64)
    endpoint = Endpoint(level, bears=1000, takes=takes)
    endpoint.serve(4000)
    assert takes // 2 - 1 <= level.now <= takes + 2
    assert endpoint.refusals < 4000 / takes * 2


def test_requests_that_only_wait_in_line_lower_the_level_without_a_refusal():
    level = Level(512)
    endpoint = Endpoint(level, bears=16)
    endpoint.serve(20_000)
    assert endpoint.refusals == 0
    assert 16 <= level.now <= 5 * 16
    assert endpoint.highest <= 8 * 16


def test_requests_under_way_together_lower_the_level_once_and_never_below_one():
    level = Level(16)
    with ExitStack() as many:
        tells = [many.enter_context(level.attempt("a")) for _ in range(START)]
        for tell in tells:
            tell(503)
    assert level.now == START // 2
    for _ in range(9):
        with level.attempt("a") as tell:
            tell(429)
    assert level.now == 1


def test_an_attempt_without_an_answer_lowers_it_and_an_error_of_another_kind_says_nothing():
    level = Level(16)
    with pytest.raises(TimeoutError), level.attempt("a"):
        raise TimeoutError
    assert level.now == START // 2
    for status in (400, 404, 500):
        with level.attempt("a") as tell:
            tell(status)
    assert level.now == START // 2


def test_a_level_that_was_never_used_up_does_not_rise():
    times = iter(range(0, 100_000, 7))
    level = Level(64, lambda: next(times) ** 2)
    for _ in range(100):
        with level.attempt("a") as tell:
            tell(200)
    assert level.now == START


def test_threads_that_ask_about_one_image_share_its_encoding_and_its_error():
    meeting, calls = threading.Barrier(2, timeout=60), []

    def encode(image_HWC):
        calls.append(1)
        meeting.wait()
        raise ValueError("no picture")

    sent, errors = SentPictures(encode), []

    def ask():
        try:
            sent.url(IMAGE)
        except ValueError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    meeting.wait()
    for thread in threads:
        thread.join()
    assert errors == ["no picture"] * 4 and len(calls) == 1
