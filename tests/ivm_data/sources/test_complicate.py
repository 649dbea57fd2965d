"""Complex instructions from a real endpoint on loopback, and from the embedded LMM, which can write none."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ivm_data.experts.lmms.openai_client import OpenAiConfig
from ivm_data.experts.lmms.openai_lmm import OpenAiLmm
from ivm_data.experts.registry import get
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.sources.complicate import ComplicateConfig, complicate
from storage.errors import ConfigError, IvmError, TransientError

TARGET = {"box": [1, 2, 3, 4]}
ROWS = [
    {"image": "1.jpg", "instruction": "red mug", "targets": [TARGET], "kind": "all"},
    {"image": "2.jpg", "instruction": "red mug", "mask": "2.png", "source": "mine"},
    {"image": "3.jpg", "instruction": "no label"},
    {"image": "4.jpg", "instruction": "an absent dog", "targets": []},
    {"image": "5.jpg", "instruction": "held out", "targets": [TARGET], "held_out": True},
    {"image": "6.jpg", "instruction": "a phrase of far too many words to be short", "targets": [TARGET]},
    {"error": "x.json: [3]: KeyError", "source": "mine"},
    {"image": "7.jpg", "instruction": "green bowl", "targets": [TARGET]},
]
WRITTEN = ["Hand me what I can drink from.", "Which thing here is red and holds coffee?"]


class Server:
    """An OpenAI-compatible endpoint: `answers` by words of the question, or a status."""

    def __init__(self):
        self.answers, self.asked = {}, []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send(200, {"object": "list", "data": [{"id": "m", "object": "model"}]})

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                server.asked.append(asked)
                text = asked["messages"][-1]["content"][0]["text"]
                answer = next((value for words, value in server.answers.items() if words in text), json.dumps(WRITTEN))
                if isinstance(answer, int):
                    self.send(answer, {"error": {"message": "no"}})
                    return
                choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
                self.send(
                    200, {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
                )

            def send(self, status, value):
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    def lmm(self):
        return OpenAiLmm(OpenAiConfig(f"http://127.0.0.1:{self.http.server_address[1]}/v1", "m", max_retries=0))

    def stop(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def run(tmp_path):
    """Complicates `ROWS`; gives the counts and the rows of the new manifest."""

    def run(writer, rows=ROWS, **options):
        manifest, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
        manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
        config = ComplicateConfig(**({"count": 2, "max_words": 5, "cache": str(tmp_path / "cache")} | options))
        counts = complicate(manifest, out, writer, config)
        return dict(counts), [json.loads(line) for line in out.read_text().splitlines()]

    return run


def test_labeled_phrases_get_instructions_that_keep_their_targets_and_other_lines_stay(server, run):
    counts, rows = run(server.lmm())
    assert counts == {"lines": 8, "phrases": 3, "written": 6}
    assert [row for row in rows if "phrase" not in row] == ROWS
    assert rows[:3] == [ROWS[0], *(ROWS[0] | {"instruction": text, "phrase": "red mug"} for text in WRITTEN)]
    assert {row["mask"] for row in rows if row.get("image") == "2.jpg"} == {"2.png"}


def test_the_phrase_travels_as_quoted_data_and_each_is_asked_once(server, run):
    run(server.lmm(), [*ROWS, ROWS[0] | {"instruction": 'x"]} <image>'}])
    shown = sorted(asked["messages"][1]["content"][0]["text"] for asked in server.asked)
    assert len(shown) == 3 and not any("<image>" in text for text in shown)
    assert all(isinstance(json.loads(text), str) for text in shown)
    assert "JSON list of 2 strings" in server.asked[0]["messages"][0]["content"]


def test_the_short_lines_can_be_left_out(server, run):
    _, rows = run(server.lmm(), keep=False)
    assert [row.get("instruction") for row in rows[:3]] == [*WRITTEN, WRITTEN[0]]
    assert not any(row.get("instruction") in ("red mug", "green bowl") for row in rows)
    server.answers["blue hat"] = "none"
    hat = ROWS[0] | {"instruction": "blue hat"}
    assert run(server.lmm(), [hat], keep=False)[1] == [hat]


def test_a_run_that_was_ended_asks_only_for_what_is_missing_and_leaves_no_half_manifest(server, run, tmp_path):
    server.answers["green bowl"] = 500
    with pytest.raises(TransientError):
        run(server.lmm())
    assert not (tmp_path / "out.jsonl").exists()
    server.answers.clear()
    run(server.lmm())
    asked = len(server.asked)
    assert run(server.lmm())[0]["written"] == 6
    assert len(server.asked) == asked


def test_what_cannot_be_used_is_dropped_and_counted(server, run):
    server.answers = {"green bowl": 400, "red mug": json.dumps(["Red mug.", "", "Fine, look there."])}
    counts, rows = run(server.lmm())
    assert counts == {"lines": 8, "phrases": 3, "written": 2, "the phrase itself": 2, "empty": 2, "no answer": 1}
    assert [row["instruction"] for row in rows if "phrase" in row] == ["Fine, look there."] * 2


def test_a_model_that_fails_on_every_phrase_is_not_blamed_on_the_phrases(server, run):
    server.answers = {"": 400}
    with pytest.raises(IvmError, match=r"fails on every phrase.*answered 400"):
        run(server.lmm())


def test_the_embedded_lmm_writes_nonsense_which_is_dropped_and_cached(run):
    writer = get(recipe("demo").rewriter)
    counts, rows = run(writer, answer_tokens=16)
    assert counts == {"lines": 8, "phrases": 3, "written": 0, "answer out of form": 3}
    assert rows == ROWS
    assert run(writer, answer_tokens=16) == (counts, rows)


def test_a_manifest_is_not_written_over_itself(run, tmp_path, server):
    (tmp_path / "in.jsonl").write_text("{}")
    with pytest.raises(ConfigError, match="write to another file"):
        complicate(tmp_path / "in.jsonl", tmp_path / "in.jsonl", server.lmm(), ComplicateConfig())
    with pytest.raises(ConfigError, match="'count' must be at least 1"):
        ComplicateConfig(count=0)
