"""Providers over HTTP: session, stream parsing, error mapping."""
