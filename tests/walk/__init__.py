"""The walk of `docs/operating.md`: run as it stands there, compared with it, or recorded anew."""
