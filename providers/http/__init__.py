"""The common parts of providers over HTTP: session, stream parsing, error mapping."""
