"""A web service: each request asks references at the same time and sends what the aggregator makes of them."""

import json
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from openai import OpenAI

MODELS = ["tern", "skua"]


@cache
def client():
    return OpenAI()


def reference(model, question):
    reply = client().chat.completions.create(model=model, messages=[{"role": "user", "content": question}])
    return reply.choices[0].message.content


def aggregate(question, texts):
    shown = json.dumps({"question": question, "proposals": texts})
    messages = [{"role": "system", "content": "Merge the proposals."}, {"role": "user", "content": shown}]
    reply = client().chat.completions.create(model="kite", messages=messages)
    return reply.choices[0].message.content


def respond(question, session_id):
    """Return the body of one response."""
    with ThreadPoolExecutor(max_workers=len(MODELS)) as pool:
        texts = list(pool.map(lambda model: reference(model, question), MODELS))
    return {"session": session_id, "answer": aggregate(question, texts), "proposals": len(texts)}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        data = json.dumps(respond(body["question"], body["session"])).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


def post(url, session, question):
    data = json.dumps({"session": session, "question": question}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=30) as response:
        return json.load(response)


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    questions = ["Which birds dive?", "Which birds steal?", "Which birds sing at sea?"]
    with ThreadPoolExecutor(max_workers=3) as pool:
        found = list(pool.map(lambda item: post(url, f"user-{item[0]}", item[1]), enumerate(questions)))
    server.shutdown()
    server.server_close()
    for body in found:
        print(body["session"], body["proposals"], body["answer"])
