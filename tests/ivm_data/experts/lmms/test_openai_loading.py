"""A model over HTTP is loaded and named: what its server lists, and what its configuration must say."""

import socket

import pytest
from chat_server import IMAGE, refusal, text

from ivm_data.experts.lmms.openai_client import OpenAiConfig
from ivm_data.experts.lmms.openai_lmm import OpenAiLmm
from storage.errors import ConfigError, WeightsError


def test_loading_asks_nobody_to_think_where_the_model_is_listed(server):
    lmm = server.lmm()
    lmm.load()
    lmm.load()
    assert server.asked == []


def test_a_server_with_another_model_is_refused_with_what_it_offers(server):
    server.models, server.replies = ["other", "third"], [refusal(404, "no such model")]
    with pytest.raises(WeightsError, match=r"does not serve 'm': it lists 'other', 'third'.*set 'model'") as caught:
        server.lmm().load()
    assert server.url in str(caught.value)


def test_a_server_that_answers_as_another_model_is_refused(server):
    server.replies = [text("ok", model="org/m-tiny")]
    with pytest.raises(WeightsError, match="answered with model 'org/m-tiny' although 'm'"):
        server.lmm().answer([IMAGE], ["a"])
    server.replies = [text("ok", model="org/m-2026-01-31")]
    assert server.lmm().answer([IMAGE], ["a"]) == ["ok"]


def test_where_no_server_listens_loading_says_so():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(WeightsError, match=r"no server answers at .*refused.*start one that serves 'm'") as caught:
            OpenAiLmm(OpenAiConfig(url, "m", max_retries=0)).load()
    assert url in str(caught.value)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"base_url": "http://gpu:8000/v1", "model": "org/m"}, "org/m@gpu:8000/v1"),
        ({"base_url": "https://api.example.com/v1", "model": "m", "revision": "2"}, "m@api.example.com:443/v1#2"),
        ({"base_url": "http://gpu/v1", "model": "/srv/models/m"}, "m@gpu:80/v1"),
        ({"base_url": "http://gpu/openai/deployments/a/", "model": "m"}, "m@gpu:80/openai/deployments/a"),
        ({"base_url": "http://gpu", "model": "m"}, "m@gpu:80"),
    ],
)
def test_the_name_is_known_without_a_server(options, name):
    assert OpenAiLmm(OpenAiConfig(**options)).name == name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": "gpu:8000"}, "'base_url' must look like"),
        ({"base_url": "http://me:secret@gpu/v1"}, "no user, password or query"),
        ({"base_url": "http://gpu/v1?key=secret"}, "no user, password or query"),
        ({"api_key_env": "sk-abc"}, "never holds the key"),
        ({"votes": 0}, "'votes' must be at least 1, got 0"),
        ({"max_retries": -1}, "'max_retries' must be at least 0, got -1"),
        ({"timeout_s": 0}, "'timeout_s' must be above 0, got 0"),
    ],
)
def test_a_bad_config_is_refused_and_no_secret_is_repeated(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        OpenAiConfig(**({"base_url": "http://gpu/v1", "model": "m"} | options))
    assert "secret" not in str(caught.value) and "sk-abc" not in str(caught.value)
