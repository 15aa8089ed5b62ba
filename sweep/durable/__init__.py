"""Files that survive a crash or a power cut, locks, and points at which tests interrupt a write."""
