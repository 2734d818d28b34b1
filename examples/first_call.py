"""The smallest complete program: ``python -m examples.first_call https://example.org/``"""

import sys

import uvloop

import keepwarm


async def main(url: str) -> None:
    async with keepwarm.ClientSession() as session, session.get(url) as response:
        print(response.status, response.headers.get("content-type"))
        print(await response.text())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m examples.first_call URL")
    uvloop.run(main(sys.argv[1]))
