"""Try calls again by a policy: ``python -m examples.retry [URL]``

Without URL the program serves itself: a small server that is overloaded twice, hangs up once, and then answers. The
policy gives up what is worth another try, waits a little longer each time, and never spends more on retries than a part
of the calls. What was tried is told by the response.
"""

import asyncio
import sys

import uvloop

import keepwarm

POLICY = keepwarm.RetryPolicy(attempts=5, backoff=keepwarm.Backoff(first=0.02, longest=1.0))

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Troubled:
    """A server that has a bad start: what it does with each request, in order; the last for all that follow."""

    def __init__(self) -> None:
        self._answers = [BUSY, BUSY, b"", FINE]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                if not answer:
                    break
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


async def call(url: str) -> None:
    async with keepwarm.ClientSession(retry=POLICY) as session, session.get(url) as response:
        for attempt in response.attempts:
            what = attempt.error.partition(":")[0] if attempt.error else f"status {attempt.status}"
            print(f"attempt {attempt.number}: {what}, request written: {attempt.written}")
        print(f"{response.status} {await response.text()}")


async def main(url: str | None = None) -> None:
    if url is not None:
        await call(url)
        return
    server = await asyncio.start_server(Troubled().serve, "127.0.0.1", 0)
    await call(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    server.close()
    await server.wait_closed()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
