"""`predict`: classify rows with an exported champion."""

import argparse

from sweep.champion.predict import predict
from sweep.cli.stdout import say
from sweep.durable.files import write_durably


def run(arguments: argparse.Namespace) -> None:
    text = predict(arguments.bundle, arguments.rows)
    if arguments.out is None:
        say(text, end="")
    else:
        write_durably(arguments.out, text.encode())
