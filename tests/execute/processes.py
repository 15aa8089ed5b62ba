"""Look at running processes. Linux only: it reads /proc."""

from pathlib import Path


def find_descendants(pid):
    """Find the ids of all processes that `pid` has started, and that these have."""
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    children = {int(child) for path in listed for child in path.read_text().split()}
    return children.union(*map(find_descendants, children))


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
