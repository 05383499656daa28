"""Providers in their order of preference, with retries, circuit breakers and fair shares."""
