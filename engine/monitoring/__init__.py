"""Monitoring of a running engine: logs, traces, metrics and health, for operators."""
