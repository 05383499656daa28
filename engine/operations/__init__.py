"""What looks after a running engine: erasure, retention, reload, admin requests, check."""
