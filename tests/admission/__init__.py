"""Tests of what may be refused before it is accepted."""
