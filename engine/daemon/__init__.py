"""The service as a process: run until a signal, and known to systemd."""
