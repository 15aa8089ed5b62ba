"""The conclusion of a study: statistics, tables, pictures, the report."""
