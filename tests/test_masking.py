"""Text that quotes a secret, in any form that a server, a driver or a library may give it."""

import base64
from urllib.parse import quote, quote_plus

import pytest

from sweep.masking import mask

SECRET = "p@ss/w0rd +é'"
FORMS = {
    "raw": SECRET,
    "percent-encoded": quote(SECRET, safe=""),
    "of a form": quote_plus(SECRET),
    "escaped": repr(SECRET)[1:-1],
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64 of an address": base64.urlsafe_b64encode(SECRET.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_masked_in_every_form(form):
    assert mask(f"not you: {FORMS[form]}, go", [SECRET]).rstrip("=").replace("=", "") == "not you: ***, go"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Authorization: Basic bWU6c2VjcmV0 was refused", "Authorization: Basic *** was refused"),
        ("{'authorization': 'bearer abc.def-123~x'}", "{'authorization': 'bearer ***'}"),
        ("cannot reach postgresql://me:secret@host/db", "cannot reach postgresql://***@host/db"),
        ("proxy http://me:sec%40ret@127.0.0.1:1", "proxy http://***@127.0.0.1:1"),
    ],
)
def test_what_a_header_or_an_address_holds_is_masked_without_being_known(text, masked):
    assert mask(text, []) == masked


def test_text_without_a_secret_stays_as_it_is():
    text = "mail me@example.org about https://example.org/a@b, the basics of bearers"
    assert mask(text, ["", "another"]) == text


def test_a_secret_within_another_leaves_no_rest():
    assert mask("me:secret", ["secret", "me:secret"]) == "***"
