"""keepwarm.otel: OpenTelemetry metrics and spans; needs ``keepwarm[otel]``. See docs/observability.md."""

from keepwarm.client.telemetry import instrument

__all__ = ["instrument"]
