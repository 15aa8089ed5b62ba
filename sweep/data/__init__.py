"""Rows of data: read, checked, split, sealed."""
