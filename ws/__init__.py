"""WebSockets on the pool's channels."""
