"""What a call costs, next to a bare floor and to other clients: ``python -m benchmarks``. See docs/benchmarks.md."""
