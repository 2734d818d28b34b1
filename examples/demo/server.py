"""One uvicorn process. Run ``python -m examples.demo.server SOCKETS [CERTIFICATE]``.

It listens on SOCKETS free ports of 127.0.0.1, prints them as a JSON list, and ends when its standard input does: so it
never outlives the demo.
"""

import asyncio
import json
import os
import socket
import sys

import uvicorn
import uvloop

from examples.demo.app import app

HOST = "127.0.0.1"


def listening_socket() -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, 0))
    listener.listen(256)
    return listener


async def serve(sockets: list[socket.socket], certificate: str | None) -> None:
    config = uvicorn.Config(
        app, ssl_certfile=certificate, log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=60
    )
    server = uvicorn.Server(config)
    loop = asyncio.get_running_loop()

    def on_stdin() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            loop.remove_reader(sys.stdin.fileno())
            server.should_exit = server.force_exit = True

    loop.add_reader(sys.stdin.fileno(), on_stdin)
    print(json.dumps([listener.getsockname()[1] for listener in sockets]), flush=True)
    await server.serve(sockets=sockets)


def main() -> None:
    sockets = [listening_socket() for _ in range(int(sys.argv[1]))]
    uvloop.run(serve(sockets, sys.argv[2] if len(sys.argv) > 2 else None))


if __name__ == "__main__":
    main()
