"""What operators see of a running engine: logs, traces, metrics."""
