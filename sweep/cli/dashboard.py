"""`dashboard`: serve optuna-dashboard on the record of trials, on this machine only and read-only.

On its own, optuna-dashboard lets anyone who reaches it, under any host name, delete and rename studies and end running trials.
So the record is opened read-only here, and requests for a change or for another host are refused.
"""

import argparse
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

from sweep.cli.arguments import locate_runs
from sweep.errors import MissingPackageError, MissingRunsError, RecordError
from sweep.layout import RunsDir

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]  # see PEP 3333


def run(arguments: argparse.Namespace) -> None:
    """Serve the dashboard on 127.0.0.1 until Ctrl-C. Raises MissingPackageError, MissingRunsError, RecordError."""
    runs, port = locate_runs(arguments), arguments.port
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise MissingPackageError(
            "optuna-dashboard is not installed; `make setup` installs it, or: pip install optuna-dashboard"
        )
    application = guarded(_open_dashboard(runs), port)
    with make_server("127.0.0.1", port, application, _Server, _QuietHandler) as server, suppress(KeyboardInterrupt):
        print(f"optuna-dashboard on http://127.0.0.1:{port}, Ctrl-C ends it", file=sys.stderr)
        server.serve_forever()


def _open_dashboard(runs: RunsDir) -> Application:
    """Open the record read-only. Imported here, because it loads Optuna: the storage of a record on a server."""
    if runs.record_server is not None:
        from sweep.record.storage import open_to_read

        record: Any = open_to_read(runs.record_server)
    else:
        if not runs.optuna_db.exists():
            raise MissingRunsError(f"{runs.optuna_db}: no such file; run a study first: make sweep")
        _check_readable(runs.optuna_db)
        record = f"sqlite:///file:{quote(str(runs.optuna_db.absolute()))}?mode=ro&uri=true"
    from optuna_dashboard import wsgi

    application: Application = wsgi(record)
    return application


def guarded(application: Application, port: int) -> Application:
    """Wrap `application` so that it answers only requests that read and that name this machine as their host."""
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
        """Log nothing: an open page sends a request every few seconds."""


def _check_readable(db: Path) -> None:
    """Raise RecordError if `db` cannot be read. The connection may write, so SQLite rolls back what a crash left."""
    try:
        with closing(sqlite3.connect(db)) as connection:
            connection.execute("SELECT count(*) FROM studies").fetchone()
    except sqlite3.DatabaseError as error:
        raise RecordError(
            f"cannot read the record of trials {db}: {error}; `python -m sweep doctor` says more"
        ) from error
