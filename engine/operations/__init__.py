"""Operations on a running engine: erasure, retention, reload, admin requests, search index."""
