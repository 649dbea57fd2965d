import torch

from ivm_data.experts.common.phrase_score import caption, captions, phrase_spans, span_scores


def words(text: str) -> int:
    return len(text.split())


def test_a_caption_ends_every_phrase_with_a_separate_full_stop():
    assert caption(["Red  Ring", "green star"]) == "red ring . green star ."


def test_marks_that_would_split_a_phrase_are_removed():
    assert caption(["st. bernard?"]) == "st bernard ."


def test_spans_hold_the_words_of_each_phrase_and_no_border():
    assert phrase_spans([101, 7, 8, 1012, 9, 1012, 102, 0, 0]) == [(1, 3), (4, 5)]


def test_phrases_that_do_not_fit_together_get_captions_of_their_own():
    phrases = ["a b c", "d e f", "g", "h i j k"]
    parts = list(captions(phrases, max_tokens=10, count_tokens=words))
    assert [chosen for chosen, _ in parts] == [[0, 1], [2, 3]]
    assert all(words(text) + 2 <= 10 for _, text in parts)


def test_empty_and_oversized_phrases_are_in_no_caption():
    parts = list(captions(["", " . ", "a b c d e f g h i", "ok"], max_tokens=10, count_tokens=words))
    assert parts == [([3], "ok .")]


def test_a_phrase_scores_its_own_tokens_only():
    logits_QT = torch.full((1, 8), 9.0)
    logits_QT[0, 1:3] = torch.tensor([0.0, 2.0])
    logits_QT[0, 4] = -9.0
    score_QP = span_scores(logits_QT, [(1, 3), (4, 5)])
    assert torch.allclose(
        score_QP, torch.tensor([[(0.5 + torch.sigmoid(torch.tensor(2.0))) / 2, 1.2339e-4]]), atol=1e-6
    )
