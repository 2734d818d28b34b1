"""pyreqwest on uvloop: an asyncio face on the Rust client reqwest, which runs in a thread of its own."""

from pathlib import Path

from pyreqwest.client import ClientBuilder

from benchmarks.job import BODY, JSON_HEADERS, Client, Job, pieces, unexpected


class Pyreqwest:
    def __init__(self, job: Job) -> None:
        self._url = job.url
        self._kind = job.kind
        builder = ClientBuilder().max_connections(job.at_once).pool_idle_timeout(None)
        if not job.keepalive:
            builder = builder.pool_max_idle_per_host(0)
        if job.ca_file:
            builder = builder.add_root_certificate_pem(Path(job.ca_file).read_bytes())
        self._client = builder.build()

    async def call(self) -> bytes:
        if self._kind == "post":
            request = self._client.post(self._url).headers(JSON_HEADERS).body_bytes(BODY)
        elif self._kind == "upload":
            request = self._client.post(self._url).body_stream(pieces())
        else:
            request = self._client.get(self._url)
        response = await request.build().send()
        if response.status != 200:
            raise unexpected(response.status, self._url)
        return await response.bytes()  # type: ignore[return-value]  # a buffer with a length, not copied

    async def close(self) -> None:
        await self._client.close()


async def open_client(job: Job) -> Client:
    return Pyreqwest(job)
