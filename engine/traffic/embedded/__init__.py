"""The embedded NATS server: nats-server as a child process of the engine."""
