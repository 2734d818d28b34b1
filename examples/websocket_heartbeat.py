"""Notice when a peer is gone: ``python -m examples.websocket_heartbeat URL [SECONDS]``

After so many seconds of silence keepwarm pings; half as long again without a byte, and the WebSocket ends with an
error. A peer that answers is measured on the way. Ten thousand such WebSockets share one timer.
"""

import sys

import uvloop

import keepwarm


async def main(url: str, seconds: float = 20.0) -> None:
    async with keepwarm.ClientSession() as session, session.ws_connect(url, heartbeat=seconds) as ws:
        async for message in ws:
            if message.tp is keepwarm.MsgType.error:
                print(f"lost: {type(message.data).__name__} after the close code {ws.close_code}")
            else:
                took = "not yet" if ws.latency is None else "measured"
                print(f"{message.tp.name}: {message.data!r}, round trip {took}")
        print(f"over: {ws.close_code}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m examples.websocket_heartbeat URL [SECONDS]")
    uvloop.run(main(sys.argv[1], *map(float, sys.argv[2:])))
