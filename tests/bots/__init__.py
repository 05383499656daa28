"""Tests of the bots for chat platforms."""
