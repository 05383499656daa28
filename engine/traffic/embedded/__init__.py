"""A NATS server of our own: nats-server as a child process."""
