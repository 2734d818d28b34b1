"""httpx on uvloop, HTTP/1.1, with its default options."""

import httpx

from benchmarks.job import BODY, JSON_HEADERS, Client, Job, pieces, unexpected


class Httpx:
    def __init__(self, job: Job) -> None:
        self._url = job.url
        self._kind = job.kind
        kept = job.at_once if job.keepalive else 0
        limits = httpx.Limits(max_connections=job.at_once, max_keepalive_connections=kept, keepalive_expiry=3600)
        tls = job.tls_context()
        verify = True if tls is None else tls
        if job.unix_path is not None:
            transport = httpx.AsyncHTTPTransport(uds=job.unix_path, limits=limits, verify=verify)
            self._client = httpx.AsyncClient(transport=transport, timeout=60)
        else:
            self._client = httpx.AsyncClient(limits=limits, verify=verify, timeout=60)

    async def call(self) -> bytes:
        if self._kind == "post":
            response = await self._client.post(self._url, content=BODY, headers=JSON_HEADERS)
        elif self._kind == "upload":
            response = await self._client.post(self._url, content=pieces())
        else:
            response = await self._client.get(self._url)
        if response.status_code != 200:
            raise unexpected(response.status_code, self._url)
        return response.content

    async def close(self) -> None:
        await self._client.aclose()


async def open_client(job: Job) -> Client:
    return Httpx(job)
