import numpy as np
import pytest

from ivm_data.experts.common.protocols import Reply
from ivm_data.experts.lmms.rewriting import rewrite_by


class Script:
    """Answers in turn, by instruction; keeps what was asked."""

    def __init__(self, **answers):
        self.answers, self.asked = answers, []

    def __call__(self, images, questions, task):
        self.asked.append((images, list(questions), task))
        return [Reply(self.answers[question.split()[0]].pop(0)) for question in questions]


def test_an_unreadable_answer_is_asked_for_once_more_with_its_fault():
    script = Script(mug=["find mug"], it=["find it", "find cup"], lost=["find it", "I'm sorry"])
    found = rewrite_by(script, ["mug", "it", "lost"], None, instructed=True)
    assert [request.phrases for request in found] == [("mug",), ("cup",), ()]
    assert len(script.asked) == 2, "answers with the same fault are asked for together"
    _, questions, task = script.asked[1]
    assert [question.split()[0] for question in questions] == ["it", "lost"]
    assert "'it' names nothing that can be searched for" in task
    assert found[1].notes[0].startswith("asked again") and found[1].answer == "find cup"
    assert "refuses" in found[2].notes[-1] and found[2].answer == "I'm sorry"


def test_a_model_that_follows_no_task_in_words_is_asked_once():
    script = Script(it=["find it"])
    (found,) = rewrite_by(script, ["it"], None, instructed=False)
    assert found.things == () and len(script.asked) == 1


@pytest.mark.parametrize("shown", [False, True])
def test_the_task_says_whether_the_image_is_seen(shown):
    script = Script(mug=["find it", "find mug"])
    images = [np.zeros((4, 4, 3), np.uint8)] if shown else None
    rewrite_by(script, ["mug"], images, instructed=True)
    assert all(("do not see" in task) != shown for _, _, task in script.asked)
    assert all((seen is None) != shown for seen, _, _ in script.asked)


def test_a_cut_answer_is_unreadable():
    (found,) = rewrite_by(lambda *asked: [Reply("find red mug and gre", is_cut=True)], ["mug"], None, instructed=False)
    assert found.things == () and "cut" in found.notes[-1]
