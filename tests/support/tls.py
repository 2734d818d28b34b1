"""ServerTLS: the server's half of TLS as bytes in, bytes out.

The loops' own TLS hides what a hostile peer is made of: an end without close_notify, bytes below the records, a
handshake that stops half-way. It also differs between loops. This does not.
"""

import ssl

READ = 64 * 1024


class ServerTLS:
    """Takes ciphertext through `feed()`; what is to be sent waits in `outgoing()`."""

    __slots__ = ("_incoming", "_object", "_outgoing", "error", "established", "goodbye")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.established = False
        self.goodbye = False  # the client's close_notify has come
        self.error: ssl.SSLError | None = None

    @property
    def alpn(self) -> str | None:
        """The protocol that was agreed on, if any."""
        return self._object.selected_alpn_protocol()

    @property
    def cipher(self) -> str | None:
        """The name of the cipher suite that was agreed on, if any."""
        found = self._object.cipher()
        return None if found is None else found[0]

    @property
    def shown_certificate(self) -> bool:
        """Whether the client has shown a certificate."""
        return self._object.getpeercert(True) is not None

    @property
    def client_certificate(self) -> bytes | None:
        """What the client has shown, in DER form."""
        return self._object.getpeercert(True)

    @property
    def resumed(self) -> bool:
        """Whether the client came back with a session."""
        return bool(self._object.session_reused)

    def feed(self, data: bytes) -> bytes:
        """Ciphertext from the client; the plaintext that it makes. A failure lands in `error`."""
        self._incoming.write(data)
        plain = bytearray()
        try:
            if not self.established:
                self._object.do_handshake()
                self.established = True
            while piece := self._object.read(READ):
                plain += piece
            self.goodbye = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.goodbye = True
        except ssl.SSLError as exc:
            self.error = exc
        return bytes(plain)

    def write(self, data: bytes) -> None:
        """Plaintext for the client."""
        if data:
            self._object.write(data)

    def say_goodbye(self) -> None:
        """Queue a close_notify."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            pass  # the client's own close_notify is not here yet, or the session is broken anyway

    def outgoing(self) -> bytes:
        """The ciphertext that is to be sent now."""
        return self._outgoing.read()
