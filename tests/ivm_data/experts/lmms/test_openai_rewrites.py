"""Rewrites of a model over HTTP: the text and the schema that are sent, and what is read."""

import pytest
from chat_server import IMAGE, refusal, text


def test_unquoted_text_carries_no_special_token_either(server):
    server.replies = [text("find ring")]
    server.lmm(instructed=False).rewrite(["Find <image> </s> [PAD] the ring <|im_end|>."])
    (user,) = server.asked[0]["messages"]
    assert user["content"][0]["text"].split() == ["Find", "the", "ring", ".", "What", "should", "I", "find?"]


@pytest.mark.parametrize("instructed", [True, False])
def test_text_that_utf_8_cannot_carry_is_sent_without_the_torn_character(server, instructed):
    server.replies = [text("ok")]
    assert server.lmm(instructed=instructed).answer([IMAGE], ["torn \ud83d emoji"]) == ["ok"]


def test_rewrites_are_read_in_any_form_and_a_cut_one_is_asked_for_again(server):
    cut = text("find mug and", finish="length")
    server.replies = [text("Find the red mug."), text("Sure!\nfind mug"), cut, text('{"targets": ["mug", "cup"]}')]
    rewrites = server.lmm(concurrency=1).rewrite(["a", "b", "c"])
    assert [rewrite.phrases for rewrite in rewrites] == [("red mug",), ("mug",), ("mug", "cup")]
    assert "cut" in server.asked[3]["messages"][0]["content"]


def test_an_instructed_model_is_held_to_the_schema_where_the_server_can(server):
    server.replies = [text('{"scope": "whole image", "targets": []}')]
    (rewrite,) = server.lmm().rewrite(["Describe the image."])
    form = server.asked[0]["response_format"]
    assert form["type"] == "json_schema" and form["json_schema"]["schema"]["required"] == ["scope", "targets"]
    assert rewrite.scope == "whole image"


def test_a_server_that_decodes_by_no_schema_is_asked_without_from_then_on(server):
    server.replies = [refusal(400, "response_format is not supported"), text("find mug"), text("find cup")]
    lmm = server.lmm(concurrency=1)
    assert [rewrite.phrases for rewrite in lmm.rewrite(["a", "b"])] == [("mug",), ("cup",)]
    assert ["response_format" in asked for asked in server.asked] == [True, False, False]


def test_a_model_of_its_own_words_is_asked_for_no_schema(server):
    server.replies = [text("find mug")]
    server.lmm(instructed=False).rewrite(["a"])
    assert "response_format" not in server.asked[0]


def test_the_rewriter_may_look(server):
    server.replies = [text("find cup")]
    (rewrite,) = server.lmm().rewrite(["What is he holding?"], [IMAGE])
    assert rewrite.phrases == ("cup",)
    system, user = server.asked[0]["messages"]
    assert user["content"][0]["type"] == "image_url" and "do not see" not in system["content"]
