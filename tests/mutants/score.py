"""`python -m tests.mutants.score`: how many mutants of each module the tests saw, and which they did not. After `make mutants`."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MADE = ROOT / "mutants"  # by mutmut
ALIVE = (0, 33)  # exit codes of a mutant: tests that saw nothing, no test that calls the function
MAX_ALIVE = 0.1  # of all mutants


def main() -> int:
    """Print a row for each module, then the names of the survivors. Return 1 where they are too many, or some were not run."""
    found = {path: json.loads(path.read_text())["exit_code_by_key"] for path in sorted(MADE.rglob("*.meta"))}
    rows = [(str(path.relative_to(MADE).with_suffix("")), codes) for path, codes in found.items() if codes]
    everything = {name: code for _, codes in rows for name, code in codes.items()}
    print(f"{'module':32} {'mutants':>8} {'not run':>8} {'survived':>9}")
    for name, codes in [*rows, ("all", everything)]:
        n_alive = sum(code in ALIVE for code in codes.values())
        n_open = sum(code is None for code in codes.values())
        print(f"{name:32} {len(codes):8} {n_open:8} {n_alive:9} {n_alive / max(len(codes) - n_open, 1):7.1%}")
    alive = [name for name, code in everything.items() if code in ALIVE]
    print("", *alive, sep="\n")
    return int(len(alive) > MAX_ALIVE * len(everything) or None in everything.values())


if __name__ == "__main__":
    sys.exit(main())
