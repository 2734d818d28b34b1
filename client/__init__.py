"""The HTTP client on the pool."""
