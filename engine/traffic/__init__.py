"""NATS in and out; nothing else in the engine knows NATS."""
