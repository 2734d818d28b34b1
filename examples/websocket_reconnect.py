"""Stay connected: ``python -m examples.websocket_reconnect URL [MESSAGES]``

Each turn of the outer loop has a new WebSocket. Between two of them there is a pause that grows while nothing works,
with a share of chance in it, so that the clients of a server that restarts do not all come back at once. An answer that
will not change (404, 401, a wrong URL) ends the loop with its error.
"""

import sys

import uvloop

import keepwarm

BACKOFF = keepwarm.Backoff(first=0.05, longest=30.0)


async def main(url: str, messages: int = 10) -> int:
    """Print messages until there were enough; how many WebSockets it took."""
    connections = seen = 0
    async with keepwarm.ClientSession() as session:
        async for ws in session.ws_reconnect(url, backoff=BACKOFF, heartbeat=20.0):
            connections += 1
            async for message in ws:
                if message.tp is keepwarm.MsgType.text:
                    seen += 1
                    print(f"connection {connections}: {message.data}")
                    if seen == messages:
                        break
            if seen >= messages:
                break
    print(f"{seen} messages over {connections} connections")
    return connections


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m examples.websocket_reconnect URL [MESSAGES]")
    uvloop.run(main(sys.argv[1], *map(int, sys.argv[2:])))
