"""keepwarm.metrics: numbers for monitoring. See docs/observability.md."""

from keepwarm.pool.prometheus import CONTENT_TYPE, prometheus_text

__all__ = ["CONTENT_TYPE", "prometheus_text"]
