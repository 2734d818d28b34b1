"""Certificates that must be refused, and a client's certificate."""

import datetime
import functools
import ssl

import trustme

from tests.support.certificates import NAMES, authority


@functools.cache
def expired() -> trustme.LeafCert:
    """For loopback, from the trusted authority, over since yesterday."""
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    return authority().issue_cert(*NAMES, not_before=datetime.datetime(2020, 1, 1), not_after=yesterday)


@functools.cache
def foreign() -> trustme.LeafCert:
    """For loopback, from an authority that nobody trusts."""
    return trustme.CA().issue_cert(*NAMES)


@functools.cache
def common_name_only() -> trustme.LeafCert:
    """From the trusted authority; `localhost` stands in the common name, and another name where it counts."""
    return authority().issue_cert("elsewhere.keepwarm.test", common_name="localhost")


def self_signed_context() -> ssl.SSLContext:
    """A server context whose certificate vouches for itself."""
    own = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.configure_trust(context)
    with own.cert_pem.tempfile() as certificate, own.private_key_pem.tempfile() as key:
        context.load_cert_chain(certificate, key)
    return context


@functools.cache
def client_certificate() -> trustme.LeafCert:
    """What a client shows to a server that asks."""
    return authority().issue_cert("client@keepwarm.test")
