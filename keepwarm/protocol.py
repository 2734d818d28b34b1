"""HTTP versions and the end mark of queues (SURFACE P-01, O-17)."""

from keepwarm.client.queues import PROTOCOL_EOF_MARKER as EOF_MARKER
from keepwarm.client.version import HttpVersion, HttpVersion10, HttpVersion11

__all__ = ["EOF_MARKER", "HttpVersion", "HttpVersion10", "HttpVersion11"]
