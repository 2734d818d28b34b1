"""Starts the fuzzing server of the Autobahn suite, on loopback only. Runs under Python 2.7, not under keepwarm's own.

usage: python2 fuzzing_server.py LIBRARY SPEC
"""

import json
import site
import sys

# The packages in it share a namespace, which only a site directory may.
site.addsitedir(sys.argv[1])
sys.path.insert(0, sys.argv[1])

from autobahntestsuite import fuzzing  # type: ignore[import-not-found]
from twisted.internet import reactor  # type: ignore[import-not-found]

_listen = reactor.listenTCP


def _listen_on_loopback(port, factory, backlog=50, interface=""):  # type: ignore[no-untyped-def]
    return _listen(port, factory, backlog, "127.0.0.1")


# The suite offers no way to say where to listen.
reactor.listenTCP = _listen_on_loopback
with open(sys.argv[2]) as spec:
    fuzzing.startServer(json.load(spec), 0)
reactor.run()
