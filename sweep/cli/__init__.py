"""The command line: a module for each command, and the helpers they share."""
