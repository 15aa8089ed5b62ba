"""Servers on this machine that misbehave: they refuse, fall silent, or carry a call out and lose its answer."""

import http.client
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Hands every request to `answer`."""

    protocol_version = "HTTP/1.1"
    answer: Answer

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        type(self).answer(self)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def log_message(self, *arguments: object) -> None:
        """Nothing."""

    def reply(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self) -> None:
        """End the connection without a word."""
        self.close_connection = True
        self.connection.close()


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """A server whose every request is met by `answer`; its address."""
    handler = type("Answering", (Handler,), {"answer": staticmethod(answer)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def refusing(status: int) -> Answer:
    """Answers everything with an error."""
    return lambda request: request.reply(status, b'{"error_code": "REFUSED", "message": "not today"}')


def silent(over: threading.Event) -> Answer:
    """Takes every request and answers none, until `over`."""

    def answer(request: Handler) -> None:
        over.wait()
        request.hang_up()

    return answer


def losing_answers(port: int, is_lost: Callable[[str], bool]) -> Answer:
    """Has the server at `port` carry every call out, and hangs up instead of answering creations that `is_lost`.

    is_lost: asked of each, by what it creates: `runs`, `logged-models`.
    """

    def answer(request: Handler) -> None:
        there = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        there.request(request.command, request.path, request.body, {**headers, "Host": f"127.0.0.1:{port}"})
        found = there.getresponse()
        content = found.read()
        there.close()
        created = re.fullmatch(r"POST .*/mlflow/(runs/create|logged-models)", f"{request.command} {request.path}")
        if created and is_lost(created[1].removesuffix("/create")):
            request.hang_up()
        else:
            request.reply(found.status, content, found.getheader("Content-Type", ""))

    return answer
