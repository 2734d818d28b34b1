"""parse_links: the Link header (RFC 8288)."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urljoin

from multidict import MultiDict, MultiDictProxy

# Nothing is tried twice: blanks behind a "=" without a value took a second for a field of 8 KiB.
_LINK: Final = re.compile(
    r"\s*+<([^<>]*+)>((?:\s*+;\s*+[^=;,\s\"]++(?:\s*+=\s*+(?:\"[^\"]*+\"|[^\s;,\"]*+))?)*)\s*+(?:,|$)"
)
_PARAM: Final = re.compile(r";\s*([^=;,\s\"]+)(?:\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]*)))?")

Links = MultiDictProxy[MultiDictProxy[str]]

# A link can be four bytes long and costs a thousand times as much to read, and to make absolute with a long base more.
MOST_LINKS: Final = 128


def parse_links(values: Iterable[str], base: str) -> Links:
    """The links by relation (or by URL, where there is none): each has its parameters and `url`, made absolute with
    `base`. What is not a link ends the reading of its field; a link whose URL cannot be read is left out, and so is
    what follows after 128 links."""
    links: MultiDict[MultiDictProxy[str]] = MultiDict()
    count = 0
    for value in values:
        at = 0
        while count < MOST_LINKS and (found := _LINK.match(value, at)) is not None and found.end() > at:
            count += 1
            at = found.end()
            link: MultiDict[str] = MultiDict()
            for name, quoted, bare in _PARAM.findall(found[2]):
                link.add(name.lower(), quoted or bare)
            try:
                url = urljoin(base, found[1])
            except ValueError:
                continue  # brackets that hold no address, for one: a link to nowhere
            link["url"] = url
            links.add(link.get("rel", url), MultiDictProxy(link))
    return MultiDictProxy(links)
