"""A connector without sockets, made in the way of a user: a subclass that overrides `_create_connection`."""

import asyncio
from dataclasses import dataclass
from typing import Any

from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.endpoint import Endpoint
from tests.support.fake_channels import A, B, FakeChannel


@dataclass(frozen=True)
class Wanted:
    """What `connect` needs of a request."""

    endpoint: Endpoint = A


TO_A, TO_B = Wanted(A), Wanted(B)


class FakeConnector(BaseConnector):
    """Each dial succeeds at once, or hangs while `is_stuck`. `made` are the channels, in order."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.speak(FakeChannel)
        self.requests: list[DialRequest] = []
        self.made: list[FakeChannel] = []
        self.is_stuck = False
        self.released = 0

    async def _create_connection(self, req: DialRequest) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        self.requests.append(req)
        if self.is_stuck:
            await asyncio.get_running_loop().create_future()
        channel = req.channel_factory()
        if not isinstance(channel, FakeChannel):
            raise TypeError(f"not the channel that was asked for: {channel!r}")
        channel.open()
        self.made.append(channel)
        return channel.wire, channel

    def _release_resources(self) -> None:
        self.released += 1
