"""The chain of providers: fallback, retries, circuit breakers, time limits and fair shares."""
