"""The address of a record of trials that a PostgreSQL server keeps."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from sweep.errors import InvalidSettingError
from sweep.masking import mask

PORT = 5432
SCHEMES = ("postgresql", "postgres")
OF_TLS = ("sslmode", "sslrootcert", "sslcert", "sslkey")  # https://www.postgresql.org/docs/current/libpq-connect.html
ANSWER_S = 30  # a server that is silent for this long is gone


@dataclass(frozen=True)
class RecordServer:
    """A database of a PostgreSQL server. As text it is an address without the password.

    password: None has libpq look in PGPASSWORD and in ~/.pgpass.
    """

    host: str
    port: int
    database: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        user = "" if self.user is None else f"{quote(self.user, safe='')}@"
        return f"postgresql://{user}{_bracketed(self.host)}:{self.port}/{quote(self.database, safe='')}"

    def connect_args(self, **settings: str | int) -> dict[str, Any]:
        """Return libpq's arguments to open a session. settings: the server's own, for that session."""
        address = {"host": self.host, "port": self.port, "dbname": self.database, **dict(self.tls)}
        who = {"user": self.user, "password": self.password, "application_name": "sweep"}
        patience = {
            "connect_timeout": 10,
            "keepalives_idle": ANSWER_S // 2,
            "keepalives_interval": ANSWER_S // 6,
            "keepalives_count": 3,
            "tcp_user_timeout": ANSWER_S * 1000,
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        given = {**address, **who, **patience, "options": options}
        return {name: value for name, value in given.items() if value is not None}

    def conceal(self, text: str) -> str:
        """Return `text` without the password, should it quote it."""
        return mask(text, [self.password or ""])


def parse_record_server(given: str, setting: str, keeps_secrets: bool) -> RecordServer:
    """Read the address of a record's server. setting: what holds it, for messages, which do not quote the address.

    keeps_secrets: whether a password may stand in it. Raises InvalidSettingError.
    """
    try:
        parts = urlsplit(given)
        port = parts.port or PORT
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:  # it quotes the address
        parts, port, options = SplitResult("", "", "", "", ""), PORT, []
    database = unquote(parts.path.lstrip("/"))
    if parts.scheme not in SCHEMES or not parts.hostname or not database or "/" in database or parts.fragment:
        raise InvalidSettingError(
            f"{setting}: must be postgresql://USER@HOST:PORT/DATABASE, the database of a PostgreSQL server; leave it out to "
            "keep the record in optuna.db below --runs-dir"
        )
    if parts.password is not None and not keeps_secrets:
        raise InvalidSettingError(
            f"{setting}: must not hold a password, which everyone on this machine can see in the list of processes; set "
            "PGPASSWORD, write it to ~/.pgpass, or give the whole address in SWEEP_RECORD instead"
        )
    if not {name for name, _ in options} <= set(OF_TLS):
        raise InvalidSettingError(f"{setting}: takes no options but {', '.join(OF_TLS)} after its `?`")
    user, password = _unquoted(parts.username), _unquoted(parts.password)
    return RecordServer(parts.hostname, port, database, user, password, tuple(options))


def _unquoted(text: str | None) -> str | None:
    return None if text is None else unquote(text)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
