"""Workers on the machines of a cluster: an outpost on each, a bridge to them, and the executor that the loop drives."""
