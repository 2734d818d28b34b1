"""Replies: what the protocol itself has to say to the peer, pongs and the last close frame, on its way out."""

from typing import Final

from keepwarm.pool.upgraded import Upgraded
from keepwarm.ws.protocol import WSProtocol

# Only the last of several pings needs an answer (RFC 6455 5.5.3), so answers do not pile up. A peer that sends this
# many and does not read the answer to one of them is not going to.
MOST_UNANSWERED: Final = 10_000


class Replies:
    """While the peer does not read, pongs wait, and later ones replace earlier ones (FAULTS W20). A close frame does
    not wait: it is the last one."""

    __slots__ = ("_protocol", "_unanswered_from", "_upgraded")

    def __init__(self, upgraded: Upgraded, protocol: WSProtocol) -> None:
        self._upgraded = upgraded
        self._protocol = protocol
        self._unanswered_from = 0  # pings heard when the first answer had to wait; 0 if none has to

    def send(self) -> bool:
        """Send what is due, or keep it until the transport takes more. False: the peer is not going to read it."""
        protocol, channel = self._protocol, self._upgraded.channel
        transport = channel.transport
        if transport is None or transport.is_closing():
            return True
        if protocol.finished or not channel.is_write_paused:
            transport.write(protocol.take_output())
            self._unanswered_from = 0
        elif not self._unanswered_from:
            self._unanswered_from = protocol.pings
        elif protocol.pings - self._unanswered_from > MOST_UNANSWERED:
            return False
        return True
