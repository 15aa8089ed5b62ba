"""Executors: where trials run. They differ in nothing else, and give the same events."""
