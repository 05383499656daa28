"""Tests of what calls to models use and cost."""
