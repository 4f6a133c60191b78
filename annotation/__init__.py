"""Labelling in Argilla: the embedded server or a team's own, push, pull, progress, simulated annotators."""
