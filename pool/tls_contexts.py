"""TLS contexts: how one is made, which ones the process shares, and where a connector's comes from.

Loading the certificate authorities takes tens of milliseconds, so a context is built on a worker thread, and those that
depend on nothing but `verify_ssl` are shared by all connectors of the process.
"""

import asyncio
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count

ALPN_PROTOCOLS = ["http/1.1"]

Path = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The certificate that we show, and its key, as files in PEM form.

    Without `keyfile` the key stands in `certfile`, which may hold the chain too. `password` is for a key that is
    encrypted. Raises TypeError, naming `client_cert`, for anything else than paths and text.
    """

    certfile: Path
    keyfile: Path | None = None
    password: str | bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_path("client_cert: certfile", self.certfile)
        if self.keyfile is not None:
            check_path("client_cert: keyfile", self.keyfile)
        if not isinstance(self.password, str | bytes | None):
            raise TypeError(f"client_cert: password must be str, bytes or None, got {type(self.password).__name__}")

    def load_into(self, context: ssl.SSLContext) -> None:
        """Read the files. Raises TLSFileError."""
        try:
            # With no password the TLS library would ask for one on the terminal, and wait for ever.
            context.load_cert_chain(self.certfile, self.keyfile, self.password or _no_password)
        except OSError as exc:
            files = os.fspath(self.certfile) + (f", {os.fspath(self.keyfile)}" if self.keyfile else "")
            raise _file_error(f"client_cert {files}", exc) from exc


class TLSFileError(OSError):
    """A file that TLS needs cannot be used. `strerror` names it and says why."""


def _file_error(what: str, cause: OSError) -> TLSFileError:
    if isinstance(cause, ssl.SSLError):
        said = (cause.reason or "not in PEM form, or the key or its password does not fit").lower().replace("_", " ")
        return TLSFileError(None, f"{what}: {said}")
    return TLSFileError(cause.errno, f"{what}: {cause.strerror}")


def _no_password() -> str:
    raise OSError(None, "the key is encrypted: give its password, client_cert=(certfile, keyfile, password)")


def check_path(name: str, value: object) -> None:
    """Raise TypeError unless `value` is a path that is not empty."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise TypeError(f"{name} must be the path of a file, got {value!r}")


def make_context(
    verify_ssl: bool, ca_file: Path | None = None, client_cert: ClientCertificate | None = None
) -> ssl.SSLContext:
    """A new client context: TLS 1.2 and up, no renegotiation, ALPN http/1.1, the system's certificate authorities, or
    those of `ca_file` in their place, unless `verify_ssl` is False.

    Raises TLSFileError when a file cannot be read, for instance for lack of descriptors (R05). The standard library
    would ignore that for the system's authorities and give a context that trusts nobody, for ever.
    """
    if verify_ssl:
        paths = ssl.get_default_verify_paths()
        cafile, capath = (paths.cafile, paths.capath) if ca_file is None else (os.fspath(ca_file), None)
        try:
            context = ssl.create_default_context(cafile=cafile, capath=capath)
        except OSError as exc:
            raise _file_error(f"certificate authorities {cafile or capath}", exc) from exc
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Within TLS 1.2 a server could ask for a new handshake, again and again, and show another certificate in it (T18).
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(ALPN_PROTOCOLS)
    if client_cert is not None:
        client_cert.load_into(context)
    return context


class ContextStore:
    """One context for each value of `verify_ssl`. Two threads that build the same one at once end up with one of the
    two."""

    __slots__ = ("_contexts", "_installed", "_make", "_numbers", "_under_way")

    def __init__(self, make: Callable[[bool], ssl.SSLContext] = make_context) -> None:
        self._make = make
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._numbers = count(1)
        self._installed: dict[bool, int] = {}
        self._under_way: dict[tuple[asyncio.AbstractEventLoop, bool], asyncio.Future[ssl.SSLContext]] = {}

    def found(self, verify_ssl: bool) -> ssl.SSLContext | None:
        """The context, if there is one by now."""
        return self._contexts.get(verify_ssl)

    def build(self, verify_ssl: bool) -> ssl.SSLContext:
        """The context; builds it on the calling thread."""
        found = self._contexts.get(verify_ssl)
        return found or self._contexts.setdefault(verify_ssl, self._make(verify_ssl))

    async def get(self, verify_ssl: bool) -> ssl.SSLContext:
        """The context; builds it on a worker thread, once for all who ask meanwhile. A failure is not kept."""
        found = self._contexts.get(verify_ssl)
        if found is not None:
            return found
        key = (asyncio.get_running_loop(), verify_ssl)
        under_way = self._under_way.get(key)
        if under_way is None:
            self._forget_closed_loops()
            under_way = key[0].run_in_executor(None, self.build, verify_ssl)
            self._under_way[key] = under_way
            under_way.add_done_callback(lambda _: self._under_way.pop(key, None))
        return await asyncio.shield(under_way)

    async def prepare(self, verify_ssl: bool) -> Callable[[], None]:
        """Build the context again, on a worker thread. Once what this returns is called, it is what everybody gets.

        Raises OSError. Then, and when it is cancelled, the present one stays.
        """
        number = next(self._numbers)
        made = await asyncio.get_running_loop().run_in_executor(None, self._make, verify_ssl)
        return partial(self._install, verify_ssl, number, made)

    def _install(self, verify_ssl: bool, number: int, made: ssl.SSLContext) -> None:
        # Threads overtake each other: what was begun earlier may have read the files of that time.
        if number > self._installed.get(verify_ssl, 0):
            self._installed[verify_ssl] = number
            self._contexts[verify_ssl] = made

    def _forget_closed_loops(self) -> None:
        for key in [key for key in self._under_way if key[0].is_closed()]:
            del self._under_way[key]


CONTEXTS = ContextStore()


class ContextSource:
    """Where one connector's context comes from: `given` by the caller, made of files of its own, or shared.

    `generation` counts how often it was renewed: what was made in an earlier one is out of date, even if the context
    is the same object, for the caller may have loaded new certificates into it.
    """

    __slots__ = ("_given", "_own", "_verify_ssl", "generation")

    def __init__(
        self,
        verify_ssl: bool,
        given: ssl.SSLContext | None,
        ca_file: Path | None,
        client_cert: ClientCertificate | None,
    ) -> None:
        self._verify_ssl = verify_ssl
        self._given = given
        self._own: ContextStore | None = None
        if ca_file is not None or client_cert is not None:
            # Files may change, and a private key is nobody else's: never shared between connectors.
            self._own = ContextStore(lambda verify: make_context(verify, ca_file, client_cert))
        self.generation = 0

    @property
    def _store(self) -> ContextStore:
        return self._own or CONTEXTS

    @property
    def given(self) -> ssl.SSLContext | None:
        """The caller's own context, if there is one."""
        return self._given

    def build(self) -> ssl.SSLContext:
        """The context, built here and now if need be."""
        return self._given or self._store.build(self._verify_ssl)

    def latest(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """What has taken the place of `context`, which was got earlier."""
        return self._given or self._store.found(self._verify_ssl) or context

    async def get(self) -> ssl.SSLContext:
        """The context, built on a worker thread if need be."""
        return self._given or await self._store.get(self._verify_ssl)

    async def prepare(self, given: ssl.SSLContext | None = None) -> Callable[[], None]:
        """Read files and authorities again, or take `given`; calling what this returns makes it count.

        Raises OSError. Then, and when it is cancelled, nothing has changed.
        """
        install = await self._store.prepare(self._verify_ssl) if given is None and self._given is None else None
        return partial(self._renew, given, install)

    def _renew(self, given: ssl.SSLContext | None, install: Callable[[], None] | None) -> None:
        if install is not None:
            install()
        if given is not None:
            self._given = given
        self.generation += 1
