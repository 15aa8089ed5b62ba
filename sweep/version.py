"""State the version of sweep, which `sweep --version` prints and the wheel carries."""

VERSION = "0.1.0"
