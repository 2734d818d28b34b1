"""keepwarm as its users have it: default options, a limit of the calls that are made at once."""

from collections.abc import Callable

import keepwarm
from benchmarks.job import BODY, JSON_HEADERS, Client, Job, Kind, pieces, unexpected
from benchmarks.ws_calls import Socket, converse, heartbeat_of


def make_connector(job: Job) -> keepwarm.BaseConnector:
    if job.unix_path is not None:
        return keepwarm.UnixConnector(job.unix_path, limit=job.at_once, keepalive_timeout=3600)
    if job.proxy is not None:
        return keepwarm.ProxyConnector(
            job.proxy, limit=job.at_once, keepalive_timeout=3600, force_close=False, ssl_context=job.tls_context()
        )
    return keepwarm.TCPConnector(
        limit=job.at_once,
        keepalive_timeout=3600,
        force_close=not job.keepalive,
        ssl_context=job.tls_context(),
        fast_tls=job.fast_tls,
        tls_resumption=job.resumption,
    )


class Keepwarm:
    def __init__(self, job: Job) -> None:
        self._url = job.url
        self._session = keepwarm.ClientSession(connector=make_connector(job))

    async def get(self) -> bytes:
        async with self._session.get(self._url) as response:
            if response.status != 200:
                raise unexpected(response.status, self._url)
            return await response.read()

    async def post(self) -> bytes:
        async with self._session.post(self._url, data=BODY, headers=JSON_HEADERS) as response:
            if response.status != 200:
                raise unexpected(response.status, self._url)
            return await response.read()

    async def upload(self) -> bytes:
        async with self._session.post(self._url, data=pieces()) as response:
            if response.status != 200:
                raise unexpected(response.status, self._url)
            return await response.read()

    async def close(self) -> None:
        await self._session.close()


class KeepwarmGet(Keepwarm):
    call = Keepwarm.get


class KeepwarmPost(Keepwarm):
    call = Keepwarm.post


class KeepwarmUpload(Keepwarm):
    call = Keepwarm.upload


KINDS: dict[Kind, Callable[[Job], Client]] = {"get": KeepwarmGet, "post": KeepwarmPost, "upload": KeepwarmUpload}


async def open_websockets(job: Job) -> Client:
    session = keepwarm.ClientSession(connector=make_connector(job))

    async def open_socket() -> Socket:
        ws = await session.ws_connect(job.ws_url, heartbeat=heartbeat_of(job))
        return Socket(ws.send_str, ws.send_bytes, ws.receive_str, ws.receive_bytes, ws.close)

    return converse(open_socket, job, session.close)


async def open_client(job: Job) -> Client:
    if job.is_websocket:
        return await open_websockets(job)
    return KINDS[job.kind](job)
