"""Rows: read, checked, split, sealed."""
