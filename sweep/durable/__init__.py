"""What a disk must do: keep what was written, keep locks, and be tested at every step."""
