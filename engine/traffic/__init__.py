"""The engine's side of NATS: connection, incoming messages, outgoing messages, embedded server."""
