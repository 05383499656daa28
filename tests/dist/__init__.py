"""Builds what is published, and tries it as a user does: `make dist`."""
