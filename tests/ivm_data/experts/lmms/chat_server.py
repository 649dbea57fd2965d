"""A server that speaks the chat protocol and fails on command, and the answers that it gives."""

import json
import math
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from ivm_data.experts.lmms.openai_client import OpenAiConfig
from ivm_data.experts.lmms.openai_lmm import OpenAiLmm

IMAGE = np.full((4, 5, 3), 90, np.uint8)


class Server:
    """Speaks the protocol on a free port: each chat request gets the next of `replies`, the last one for ever.

    A reply is (status, headers, body) or a callable that takes the request's handler and answers by itself.
    """

    def __init__(self):
        self.models, self.replies, self.asked, self.arrived = ["m"], [text("yes")], [], []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                listed = {"object": "list", "data": [{"id": name, "object": "model"} for name in server.models]}
                self.send(200, {}, json.dumps(listed))

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                server.arrived.append(time.monotonic())
                server.asked.append(body | {"key": self.headers["authorization"]})
                reply = server.replies.pop(0) if len(server.replies) > 1 else server.replies[0]
                reply(self) if callable(reply) else self.send(*reply)

            def send(self, status, headers, body, missing=0):
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body) + missing))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def lmm(self, **options):
        defaults = {"max_retries": 1, "timeout_s": 60.0, "concurrency": 2, "votes": 2}
        return OpenAiLmm(OpenAiConfig(self.url, "m", **(defaults | options)))


def text(content, model="m", logprobs=None, finish="stop"):
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": logprobs}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    completion = {"id": "1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    return 200, {}, json.dumps(completion | {"usage": usage})


def logprobs(**shares):
    top = [{"token": token, "logprob": math.log(share), "bytes": None} for token, share in shares.items()]
    return text("", logprobs={"content": [top[0] | {"top_logprobs": top}]})


def refusal(status, message, headers=None):
    return status, headers or {}, json.dumps({"error": {"message": message, "type": "x", "code": None}})


def p_yes(lmm):
    return float(lmm.p_yes([IMAGE], ["Is there a ring?"])[0])
