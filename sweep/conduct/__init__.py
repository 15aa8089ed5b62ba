"""A whole study, from its data to its report and its champion: what the command `run` and `sweep.run` share."""
