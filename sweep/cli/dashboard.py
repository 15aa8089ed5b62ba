"""optuna-dashboard on the record of trials: on this machine only, and for looking only.

By itself it also deletes and renames studies and tells trials that are being trained, for whoever reaches it under any host
name. So SQLite opens the record for reading alone, and a request that asks for a change, or comes for another host, is refused.
"""

import importlib.util
import sqlite3
import sys
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import quote
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from sweep.errors import MissingPackageError, MissingRunsError, RecordError

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]  # see PEP 3333


def serve(db: Path, port: int) -> None:
    """Serve it on 127.0.0.1 until Ctrl-C. Raises MissingPackageError, MissingRunsError, RecordError."""
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise MissingPackageError(
            "optuna-dashboard is not installed; `make setup` installs it, or: pip install optuna-dashboard"
        )
    if not db.exists():
        raise MissingRunsError(f"{db}: no such file; run a study first: make sweep")
    _check(db)
    from optuna_dashboard import wsgi

    application = guarded(wsgi(f"sqlite:///file:{quote(str(db.absolute()))}?mode=ro&uri=true"), port)
    with make_server("127.0.0.1", port, application, _Server, _QuietHandler) as server, suppress(KeyboardInterrupt):
        print(f"optuna-dashboard on http://127.0.0.1:{port}, Ctrl-C ends it", file=sys.stderr)
        server.serve_forever()


def guarded(application: Application, port: int) -> Application:
    """`application` for requests that read, and were sent to this machine by name."""
    hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD") and environ.get("HTTP_HOST") in hosts:
            return application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "application/json")])
        return [b'{"reason": "only reading is allowed here, and only on this machine"}']

    return answer


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        """A page asks again every few seconds: nobody reads those lines."""


def _check(db: Path) -> None:
    """Raises RecordError where `db` cannot be read. This connection may write: it undoes what a crash left half done."""
    try:
        with closing(sqlite3.connect(db)) as connection:
            connection.execute("SELECT count(*) FROM studies").fetchone()
    except sqlite3.DatabaseError as error:
        raise RecordError(
            f"cannot read the record of trials {db}: {error}; `python -m sweep doctor` says more"
        ) from error
