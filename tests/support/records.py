"""ServerRecords: the records of a TLS 1.3 server, made by hand.

The ssl module cannot send a KeyUpdate, nor a thousand of them. With the secret of a finished handshake anybody can
make the records that follow it (RFC 8446 4.6.3, 5.2, 7.1-7.3). From then on the server must send nothing but these.
"""

import hashlib
import hmac
import ssl
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.support.certificates import server_context

CIPHER = "TLS_AES_256_GCM_SHA384"
HANDSHAKE, APPLICATION_DATA = 22, 23
TAG = 16


def telling_context(key_log: Path) -> ssl.SSLContext:
    """A server context for TLS 1.3 that writes its secrets to `key_log` and sends no session tickets of its own."""
    context = server_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.keylog_filename = str(key_log)
    return context


class ServerRecords:
    """Makes what the server sends after the last handshake that `key_log` tells of."""

    __slots__ = ("_aead", "_iv", "_secret", "_sent")

    def __init__(self, key_log: Path) -> None:
        lines = [line.split() for line in key_log.read_text().splitlines()]
        secrets = [words[2] for words in lines if words[0] == "SERVER_TRAFFIC_SECRET_0"]
        self._use(bytes.fromhex(secrets[-1]))

    def data(self, data: bytes) -> bytes:
        """Application data."""
        return self._record(data, APPLICATION_DATA)

    def key_update(self, *, answer: bool = False) -> bytes:
        """One KeyUpdate, and the next keys for what follows. With `answer` the client must send one too."""
        record = self._record(bytes([24, 0, 0, 1, answer]), HANDSHAKE)
        self._use(_expand(self._secret, b"traffic upd", hashlib.sha384().digest_size))
        return record

    def ticket(self, number: int = 0) -> bytes:
        """One NewSessionTicket (RFC 8446 4.6.1), of no use to anybody."""
        body = (7200).to_bytes(4) + number.to_bytes(4) + b"\x01" + bytes([number % 256])
        body += (32).to_bytes(2) + bytes(32) + bytes(2)
        return self._record(b"\x04" + len(body).to_bytes(3) + body, HANDSHAKE)

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._aead = AESGCM(_expand(secret, b"key", 32))
        self._iv = int.from_bytes(_expand(secret, b"iv", 12))
        self._sent = 0

    def _record(self, data: bytes, kind: int) -> bytes:
        head = b"\x17\x03\x03" + (len(data) + 1 + TAG).to_bytes(2)
        nonce = (self._iv ^ self._sent).to_bytes(12)
        self._sent += 1
        return head + self._aead.encrypt(nonce, data + bytes([kind]), head)


def _expand(secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-Expand-Label without a context, for what fits in one block."""
    label = b"tls13 " + label
    info = length.to_bytes(2) + bytes([len(label)]) + label + b"\x00"
    return hmac.digest(secret, info + b"\x01", "sha384")[:length]
