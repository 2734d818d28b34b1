"""The figures that keepwarm promises. A run prints for each whether it was met."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Promise:
    """In `scenario`, the figure of `client` is at most `limit` times that of `against`.

    With `against` None, `limit` is in the scenario's own unit.
    """

    scenario: str
    client: str
    against: str | None
    limit: float

    def __str__(self) -> str:
        base = f"x {self.against}" if self.against else "KiB"
        return f"{self.scenario}: {self.client} <= {self.limit:.3g} {base}"


PROMISES = (
    Promise("get", "keepwarm", "floor", 2.2),
    Promise("get", "keepwarm", "aiohttp", 1 / 4),
    Promise("get", "keepwarm", "pyreqwest", 2 / 3),
    Promise("get-unix", "keepwarm", "floor", 2.2),
    Promise("get-unix", "keepwarm", "aiohttp", 1 / 4),
    Promise("get-tls", "keepwarm-fast-tls", "aiohttp", 1 / 4),
    Promise("get-tls", "keepwarm-fast-tls", "pyreqwest", 2 / 3),
    Promise("get-proxy", "keepwarm-proxy", "keepwarm", 1.1),
    Promise("get-tunnel", "keepwarm-proxy", "keepwarm", 1.1),
    Promise("reconnect-tls", "keepwarm", "keepwarm-full-tls", 0.6),
    Promise("post", "keepwarm", "aiohttp", 1 / 4),
    Promise("download", "keepwarm", "floor", 1.3),
    Promise("upload", "keepwarm", "floor", 1.3),
    Promise("ws-echo", "keepwarm", "aiohttp", 0.7),
    Promise("ws-echo", "keepwarm", "picows", 1.0),
    Promise("ws-stream", "keepwarm", "aiohttp", 1.0),
    Promise("ws-mib", "keepwarm", "picows", 1.2),
    Promise("ws-send", "keepwarm", "aiohttp", 1.2),
    Promise("import", "keepwarm", "aiohttp", 0.6),
    Promise("idle", "keepwarm", None, 8.0),
    Promise("ws-idle", "keepwarm", "aiohttp", 1.0),
)
