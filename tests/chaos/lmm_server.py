"""An OpenAI-compatible server on loopback, as a process that can be killed: `python lmm_server.py PORT`.

It names the coloured shapes of an instruction, and its P(yes) is a hash of question and image: a restarted server
answers the same.
"""

import hashlib
import json
import math
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "shapes"
_PHRASE = re.compile(
    r"(?:(?:small|big) )?(?:red|orange|yellow|green|blue|purple|white) (?:circle|square|triangle|star|ring|cross)"
)


def answer(asked: dict) -> dict:
    """The `message` and `logprobs` of a choice."""
    content = asked["messages"][-1]["content"]
    if not asked.get("logprobs"):
        found = list(dict.fromkeys(_PHRASE.findall(json.dumps(content).lower())))[:2]
        return {
            "message": {"role": "assistant", "content": f"find {' and '.join(found) or 'red ring'}"},
            "logprobs": None,
        }
    share = 0.4 + 0.6 * hashlib.blake2b(json.dumps(content).encode(), digest_size=1).digest()[0] / 256
    top = [{"token": word, "logprob": math.log(p), "bytes": None} for word, p in (("yes", share), ("no", 1 - share))]
    return {
        "message": {"role": "assistant", "content": "yes"},
        "logprobs": {"content": [top[0] | {"top_logprobs": top}]},
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def do_POST(self):
        choice = answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        head = {"id": "1", "object": "chat.completion", "created": 1, "model": MODEL, "usage": usage}
        self.send(head | {"choices": [{"index": 0, "finish_reason": "stop", **choice}]})

    def send(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer.request_queue_size = 64
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
