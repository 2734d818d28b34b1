"""How `make docs` builds these pages: Sphinx, from Markdown, with the API reference from the docstrings."""

import inspect
import re
from typing import Any

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

import keepwarm
import keepwarm.errors
import keepwarm.websocket

project = "keepwarm"
author = "the keepwarm developers"
project_copyright = "the keepwarm developers, MIT licence"
version = release = keepwarm.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
root_doc = "index"

# Whatever does not resolve is a warning, and `make docs` takes warnings for errors.
nitpicky = True
# Single backticks are code, which becomes a link where it names something that is documented. Types of other packages
# are named in signatures, and their pages are elsewhere.
default_role = "py:obj"
nitpick_ignore_regex = [("py:obj", r".*"), ("py:(class|data)", r"(?!keepwarm\.).*")]
# Types in signatures whose meaning is told in words: what is awaited, iterated over, or handed on.
nitpick_ignore = [
    ("py:class", f"keepwarm.{name}")
    for name in (
        "client.body_iterator.BodyIterator",
        "client.body_part.PayloadSource",
        "client.call.T",
        "client.cookie.Cookie",
        "client.cookie_view.CookieView",
        "client.queues.T",
        "client.source.Payload",
        "client.telemetry.HasEvents",
        "pool.channel.Channel",
        "pool.closing.Closing",
        "pool.connector.HasEndpoint",
        "pool.controls.Unchanged",
        "pool.prometheus.HasStats",
        "pool.stack.Stack",
        "ws.websocket.Sent",
    )
]

myst_heading_anchors = 4

# The packages live in folders of other names, so the reference is made from what is imported.
autodoc_default_options = {"inherited-members": "tuple,str,dict,int,IntEnum,Enum,object"}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
maximum_signature_line_length = 90
add_module_names = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"keepwarm {version}"
html_copy_source = False
html_show_sphinx = False

# Made by calls, never by users: how is nobody's concern. So are errors.
WITHOUT_SIGNATURE = {
    "ClientRequest",
    "ClientResponse",
    "ClientWebSocketResponse",
    "Connection",
    "ContentDisposition",
    "DNSStats",
    "EmptyStreamReader",
    "EndpointStats",
    "Histogram",
    "PoolStats",
    "RequestContext",
    "RequestInfo",
    "StreamReader",
    "WSContext",
}
LOG = logging.getLogger(__name__)


class LinksFromCode(SphinxPostTransform):
    """In the guides, `ClientTimeout` and `keepwarm.ClientTimeout` in backticks are links to the reference.

    So the pages need no markup that other readers of Markdown do not know.
    """

    default_priority = 5  # before references are resolved

    def run(self, **kwargs: Any) -> None:
        if self.env.docname.startswith("api/"):
            return
        known = self.env.domains.python_domain.objects
        for node in list(self.document.findall(nodes.literal)):
            found = re.match(r"(?:keepwarm\.)?([A-Z]\w+(?:\.\w+)?)(?:\(.*\))?$", node.astext())
            if found and f"keepwarm.{found[1]}" in known and not isinstance(node.parent, nodes.reference):
                link = addnodes.pending_xref(
                    "", refdomain="py", reftype="obj", reftarget=f"keepwarm.{found[1]}", refdoc=self.env.docname
                )
                node.replace_self(link)
                link += node


def leave_out_fields_of_tuples(_app: Sphinx, _what: str, _name: str, obj: object, skip: bool, _options: Any) -> bool:
    """Whose docstring says nothing but their position."""
    return skip or (inspect.getdoc(obj) or "").startswith("Alias for field number")


def leave_out_signatures(
    _app: Sphinx, what: str, name: str, _obj: object, _options: Any, signature: str | None, returns: str
) -> tuple[str, str] | None:
    """Of what only calls make."""
    made_by_calls = what == "exception" or name.rpartition(".")[2] in WITHOUT_SIGNATURE
    return ("", returns) if made_by_calls and signature else None


def all_names_are_documented(_app: Sphinx, env: BuildEnvironment) -> None:
    """Every public class and function of ours has its place in the reference."""
    known = {name.rpartition(".")[2] for name in env.domains.python_domain.objects}
    for module in (keepwarm, keepwarm.errors, keepwarm.websocket):
        for name in module.__all__:
            thing = getattr(module, name)
            told = inspect.isclass(thing) or inspect.isroutine(thing)
            if told and thing.__module__.startswith("keepwarm.") and name not in known:
                LOG.warning("%s.%s has no place in docs/api", module.__name__, name)


def setup(app: Sphinx) -> None:
    app.add_post_transform(LinksFromCode)
    app.add_lexer("mermaid", TextLexer)
    app.connect("autodoc-process-signature", leave_out_signatures)
    app.connect("autodoc-skip-member", leave_out_fields_of_tuples)
    app.connect("env-check-consistency", all_names_are_documented)
