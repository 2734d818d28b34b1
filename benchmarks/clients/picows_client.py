"""picows by its asyncio API, which is that of websockets; without compression and without a limit for a message."""

from picows.websockets import connect

from benchmarks.job import Client, Job
from benchmarks.ws_calls import Socket, converse, heartbeat_of


async def open_client(job: Job) -> Client:
    async def open_socket() -> Socket:
        ws = await connect(job.ws_url, compression=None, max_size=None, ping_interval=heartbeat_of(job))
        return Socket(ws.send, ws.send, ws.recv, ws.recv, ws.close)

    return converse(open_socket, job)
