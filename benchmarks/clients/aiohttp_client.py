"""aiohttp on uvloop, with its default options."""

from collections.abc import Callable

import aiohttp

from benchmarks.job import BODY, JSON_HEADERS, Client, Job, Kind, pieces, unexpected
from benchmarks.ws_calls import Socket, converse, heartbeat_of


def make_connector(job: Job) -> aiohttp.BaseConnector:
    tls = job.tls_context()
    if job.unix_path is not None:
        return aiohttp.UnixConnector(job.unix_path, limit=job.at_once, keepalive_timeout=3600)
    if job.keepalive:
        return aiohttp.TCPConnector(limit=job.at_once, keepalive_timeout=3600, ssl=tls or True)
    return aiohttp.TCPConnector(limit=job.at_once, force_close=True, ssl=tls or True)


class Aiohttp:
    def __init__(self, job: Job) -> None:
        self._url = job.url
        self._session = aiohttp.ClientSession(connector=make_connector(job), proxy=job.proxy)

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


class AiohttpGet(Aiohttp):
    call = Aiohttp.get


class AiohttpPost(Aiohttp):
    call = Aiohttp.post


class AiohttpUpload(Aiohttp):
    call = Aiohttp.upload


KINDS: dict[Kind, Callable[[Job], Client]] = {"get": AiohttpGet, "post": AiohttpPost, "upload": AiohttpUpload}


async def open_websockets(job: Job) -> Client:
    session = aiohttp.ClientSession(connector=make_connector(job))

    async def open_socket() -> Socket:
        ws = await session.ws_connect(job.ws_url, heartbeat=heartbeat_of(job))
        return Socket(ws.send_str, ws.send_bytes, ws.receive_str, ws.receive_bytes, ws.close)

    return converse(open_socket, job, session.close)


async def open_client(job: Job) -> Client:
    if job.is_websocket:
        return await open_websockets(job)
    return KINDS[job.kind](job)
