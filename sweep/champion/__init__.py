"""The winner, handed over."""
