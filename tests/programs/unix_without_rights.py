"""Calls the server at a unix socket as a user without special rights; says how that went."""

import os
import sys
from typing import Any

import uvloop

from keepwarm.client.session import ClientSession
from keepwarm.pool.errors import ConnectError
from keepwarm.pool.unix_connector import UnixConnector
from tests.programs.common import say

NOBODY = 65534


def give_up_rights() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


async def refusal(path: str) -> dict[str, Any]:
    connector = UnixConnector(path)
    async with ClientSession(connector=connector) as session:
        try:
            await session.get("http://localhost/secret")
        except ConnectError as exc:
            return {"errno": exc.errno, "text": str(exc), "open": connector.stats().total.open}
    raise AssertionError("the call was answered")


async def main(path: str) -> None:
    await refusal(f"{path}-missing")  # loads what would lie where only root may read
    give_up_rights()
    say(await refusal(path))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
