"""Talk to one certificate only: ``python -m examples.tls_pinning URL SHA256 [CA_FILE]``

SHA256 is the fingerprint of the server's certificate as 64 hex digits:

    openssl s_client -connect HOST:443 </dev/null | openssl x509 -noout -fingerprint -sha256

The certificate must match the pin *and* be signed by an authority that is trusted. With any other certificate the call
fails before a byte of the request has been sent.
"""

import ssl
import sys

import uvloop

import keepwarm


async def main(url: str, pin: str, ca_file: str | None = None) -> bool:
    """Make one call; whether the server had the pinned certificate."""
    connector = keepwarm.TCPConnector(
        fingerprint=bytes.fromhex(pin.replace(":", "")),
        ssl_context=ssl.create_default_context(cafile=ca_file),
    )
    async with keepwarm.ClientSession(connector=connector) as session:
        try:
            async with session.get(url) as response:
                print(f"the pin matches; status {response.status}")
        except keepwarm.FingerprintMismatch as exc:
            print(f"nothing was sent: {exc.host}:{exc.port} has the certificate {exc.got.hex()}")
            return False
    return True


if __name__ == "__main__":
    sys.exit(0 if uvloop.run(main(*sys.argv[1:])) else 1)
