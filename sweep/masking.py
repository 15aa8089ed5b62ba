"""Keep passwords and tokens out of what is printed, logged and written: text from a server or a driver may quote them."""

import base64
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

_HEADER = re.compile(r"\b(basic|bearer)(\s+)[\w+/=.~-]+", re.IGNORECASE)  # of authorization, whoever set it
_USER_INFO = re.compile(r"(\w://)[^\s/@]+@")  # in an address


def mask(text: str, secrets: Iterable[str]) -> str:
    """Replace each of `secrets` by stars, as it is, percent-encoded or in base64; also what an address or a header holds."""
    forms = {form for secret in secrets for form in _list_forms(secret)}
    for form in sorted(forms, key=len, reverse=True):  # the longest first: one may lie in another
        text = text.replace(form, "***")
    return _USER_INFO.sub(r"\1***@", _HEADER.sub(r"\1\2***", text))


def _list_forms(secret: str) -> Iterator[str]:
    if secret:
        encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
        yield from (secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1])
        yield from (encoded, encoded.translate(str.maketrans("+/", "-_")))
