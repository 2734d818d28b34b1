"""One uvicorn process. Run ``python -m examples.demo.server SOCKETS [--certificate FILE] [--unix PATH]``.

It listens on SOCKETS free ports of 127.0.0.1, which it prints as a JSON list, and on a unix socket at PATH. It ends
when its standard input does: so it never outlives the demo.
"""

import argparse
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


def listening_at(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(256)
    return listener


async def serve(sockets: list[socket.socket], ports: list[int], certificate: str | None) -> None:
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
    print(json.dumps(ports), flush=True)
    await server.serve(sockets=sockets)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sockets", type=int)
    parser.add_argument("--certificate")
    parser.add_argument("--unix")
    given = parser.parse_args()
    sockets = [listening_socket() for _ in range(given.sockets)]
    ports = [listener.getsockname()[1] for listener in sockets]
    if given.unix:
        sockets.append(listening_at(given.unix))
    uvloop.run(serve(sockets, ports, given.certificate))


if __name__ == "__main__":
    main()
