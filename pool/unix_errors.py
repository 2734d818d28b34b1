"""What a failed dial over a unix socket says: which path, what came of it, what to change."""

import errno
import os
import stat

from keepwarm.pool.dial import DialRequest
from keepwarm.pool.dial_errors import connect_error
from keepwarm.pool.errors import ConnectError, printable

# A path is at most 108 bytes long, and no byte takes more than ten characters when it is escaped.
_LONGEST_TEXT = 1100

_HINTS = {
    errno.ENOTDIR: "A part of the path is no directory",
    errno.ELOOP: "The path leads through a circle of symbolic links",
    errno.EPROTOTYPE: "The socket is of another type: HTTP needs a stream socket (SOCK_STREAM)",
}


class QueueFull(OSError):
    """The server has not accepted for so long that the kernel queues no more connections for it (FAULTS U05)."""

    def __init__(self, tries: int, seconds: float) -> None:
        super().__init__(errno.EAGAIN, f"the server's queue was full at each of {tries} tries in {seconds:g} s")


class WrongPeer(OSError):
    """Another user than `peer_uid` allows serves the socket."""

    def __init__(self, uid: int) -> None:
        super().__init__(errno.EPERM, f"the server runs as uid {uid}")


def path_text(path: str) -> str:
    """The path as errors show it: what cannot be printed is escaped, the NUL of an abstract name among it."""
    return f"unix:{printable(path, _LONGEST_TEXT)}"


def reason_of(error: OSError) -> str:
    """What happened, in the system's words or in ours."""
    if isinstance(error, (QueueFull, WrongPeer)) or not error.errno:
        return str(error.strerror or error)
    return os.strerror(error.errno)


def unix_error(req: DialRequest, path: str, error: OSError) -> ConnectError:
    """The socket at `path` was not reached, or must not be used."""
    return connect_error(req, [error], reason=reason_of(error), hint=_hint(path, error))


def _hint(path: str, error: OSError) -> str | None:
    if isinstance(error, WrongPeer):
        return "Nothing was sent. Check who serves this path, or `peer_uid`"
    if isinstance(error, QueueFull):
        return "Check that the server is not stuck, raise its backlog, or set `limit`"
    if error.errno == errno.ENOENT:
        return _missing(path)
    if error.errno == errno.ECONNREFUSED:
        return _refused(path)
    if error.errno == errno.EACCES:
        return (
            f"This process (uid {os.geteuid()}) needs the right to write to the socket file, and to search every "
            "directory above it"
        )
    if error.errno == errno.ECONNRESET:
        return "Check what the server does with new connections"
    return _HINTS.get(error.errno or 0)


def _missing(path: str) -> str:
    hint = "Check the path, and that the server runs"
    if path.startswith("@"):
        return f"{hint}. This is the name of a file; an abstract name begins with a NUL: '\\0{printable(path[1:])}'"
    if not path.startswith("/"):
        return f"{hint}. A relative path counts from the working directory of this process; give an absolute one"
    return hint


def _refused(path: str) -> str:
    """Linux refuses both what nobody listens on and what is no socket."""
    if path.startswith("\0"):
        return "Check that the server runs, and listens on this abstract name in the same network namespace"
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:  # it went away, or must not be looked at
        is_socket = True
    if not is_socket:
        return "There is a file of another kind at this path: check the path"
    return "The socket file is there, but nobody listens on it. Start the server; it must remove a stale file first"
