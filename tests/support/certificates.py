"""A certificate authority for the tests, made when first asked for."""

import functools
import ssl

import trustme

NAMES = ("localhost", "127.0.0.1", "::1", "*.keepwarm.test")


@functools.cache
def authority() -> trustme.CA:
    """The one authority that `client_context()` trusts."""
    return trustme.CA()


@functools.cache
def leaf(*names: str) -> trustme.LeafCert:
    """A server certificate for `names` (default: loopback)."""
    return authority().issue_cert(*(names or NAMES))


def server_context(*names: str, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """A new server context with the certificate for `names`, or with the given one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (certificate or leaf(*names)).configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    """A new client context that trusts the authority and checks names."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


def der(certificate: trustme.LeafCert) -> bytes:
    """The certificate as the peer sends it, for fingerprints and pins."""
    return ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode("ascii"))
