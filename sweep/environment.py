"""The environment that this program and its libraries run in: which variables of MLflow and Optuna reach them, and what is
off whatever the environment says.

MLflow 3.17 reads 270 variables. Most are for who serves others, for other backends, or for other kinds of models; some
change what is written or run (a tracing destination, a plug-in). So those that say where a tracking server is and how it is
reached come through, and all others end here. `tests/test_environment.py` names every one, so that a new one is noticed.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager

OF_LIBRARIES = ("MLFLOW_", "_MLFLOW_", "OPTUNA_")

# How a tracking server and its store of files are reached, beside what `layout.py` checks.
PASSED = frozenset({
    "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI",
    "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_AUTH",
    "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_WORKSPACE",
    "MLFLOW_TRACKING_INSECURE_TLS", "MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH",
    "MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER",
    "MLFLOW_HTTP_POOL_CONNECTIONS", "MLFLOW_HTTP_POOL_MAXSIZE", "MLFLOW_HTTP_TCP_KEEPALIVE",
    "MLFLOW_HTTP_TCP_KEEPALIVE_IDLE", "MLFLOW_HTTP_TCP_KEEPALIVE_INTERVAL", "MLFLOW_HTTP_TCP_KEEPALIVE_COUNT",
    "MLFLOW_ALLOW_HTTP_REDIRECTS",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT", "MLFLOW_DOWNLOAD_CHUNK_TIMEOUT",
    "MLFLOW_ENABLE_MULTIPART_DOWNLOAD", "MLFLOW_ENABLE_MULTIPART_UPLOAD", "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE",
    "MLFLOW_MULTIPART_DOWNLOAD_MINIMUM_FILE_SIZE", "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE",
    "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE",
    "MLFLOW_S3_ENDPOINT_URL", "MLFLOW_S3_IGNORE_TLS", "MLFLOW_S3_UPLOAD_EXTRA_ARGS", "MLFLOW_S3_EXPECTED_BUCKET_OWNER",
    "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "MLFLOW_GCS_DOWNLOAD_CHUNK_SIZE", "MLFLOW_GCS_UPLOAD_CHUNK_SIZE",
    "MLFLOW_KERBEROS_TICKET_CACHE", "MLFLOW_KERBEROS_USER", "MLFLOW_PYARROW_EXTRA_CONF",
})  # fmt: skip

# The tracker itself retries while a server is down, and keeps its trials. With MLflow's defaults one call takes 4 minutes.
DEFAULTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}

FIXED = {
    # Telemetry. All are read when their library loads; onnxruntime's else writes to the home folder and looks up a host.
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_UV_AUTO_DETECT": "false",
    # Standard output is for our tables.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # No folder: Keras reads no settings there, which would change what is trained, and writes none.
    "KERAS_HOME": os.devnull,
    # `git status` else writes its index again.
    "GIT_OPTIONAL_LOCKS": "0",
}


def settle(environment: MutableMapping[str, str]) -> None:
    """Take from `environment` what may not reach the libraries, and set what they are to read. Safe to repeat."""
    kept = strip(environment, PASSED)
    for name in set(environment) - kept.keys():
        del environment[name]
    environment.update({**DEFAULTS, **kept, **FIXED})


@contextmanager
def settled(environment: MutableMapping[str, str]) -> Iterator[None]:
    """Settle `environment` until the end, where all that this changed is as before: for a program that is not ours."""
    before = dict(environment)
    settle(environment)
    changed = {name for name in {*before, *environment} if before.get(name) != environment.get(name)}
    try:
        yield
    finally:
        for name in changed:
            environment.pop(name, None)
        environment.update({name: before[name] for name in changed & before.keys()})


def strip(environment: Mapping[str, str], passed: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return `environment` without the variables of MLflow and Optuna that are not among `passed`."""
    return {name: value for name, value in environment.items() if name in passed or not name.startswith(OF_LIBRARIES)}


@contextmanager
def scratch_for_fonts() -> Iterator[None]:
    """Have matplotlib, also in processes started inside, keep its list of fonts in a folder that is removed at the end.

    matplotlib makes it when it loads. No one can have put a `matplotlibrc` there, which names code to run: the name is
    drawn. A folder that the user has set stays.
    """
    if "MPLCONFIGDIR" in os.environ:
        yield
        return
    folder = os.environ["MPLCONFIGDIR"] = os.path.join(tempfile.gettempdir(), f"sweep-fonts-{secrets.token_hex(8)}")
    try:
        yield
    finally:
        del os.environ["MPLCONFIGDIR"]
        shutil.rmtree(folder, ignore_errors=True)
