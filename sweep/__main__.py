"""Start `python -m sweep`. Worker processes import this file again, so it acts only when it is the program."""

import sys

if __name__ == "__main__":
    from sweep.cli.commands import main

    sys.exit(main())
