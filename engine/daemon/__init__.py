"""The service as a process: signals, and notifications for systemd."""
