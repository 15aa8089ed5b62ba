"""What is asked for: configs, the space, the study file."""
