"""Runs the commands of `docs/operating.md`, to compare their output or to record it again."""
