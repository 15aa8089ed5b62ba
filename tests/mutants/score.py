"""`python -m tests.mutants.score`: how many mutants of each module the tests saw, and which they did not. After `make mutants`."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MADE = ROOT / "mutants"  # by mutmut
SURVIVED = 0  # the exit code of tests that saw nothing
UNTESTED = 33  # mutmut's code where no test calls the function
MAX_SURVIVORS = 0.1  # of all mutants


def main() -> int:
    """Print a row for each module, then the names of the survivors. Return 1 where they are too many."""
    n_all = n_alive = 0
    alive: list[str] = []
    print(f"{'module':32} {'mutants':>8} {'survived':>9}")
    for path in sorted(MADE.rglob("*.meta")):
        codes: dict[str, int | None] = json.loads(path.read_text())["exit_code_by_key"]
        if not codes:
            continue
        survivors = [name for name, code in codes.items() if code in (SURVIVED, UNTESTED, None)]
        print(f"{path.relative_to(MADE).with_suffix('')!s:32} {len(codes):8} {len(survivors):9}")
        n_all, n_alive, alive = n_all + len(codes), n_alive + len(survivors), alive + survivors
    print(f"{'all':32} {n_all:8} {n_alive:9}  {n_alive / max(n_all, 1):.1%}\n", *alive, sep="\n")
    return int(n_alive > MAX_SURVIVORS * n_all)


if __name__ == "__main__":
    sys.exit(main())
