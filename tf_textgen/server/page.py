"""The page at `/`: one file that loads nothing from elsewhere.

Its content security policy names the script and the style by their hashes, so nothing that a text
brings along runs.

Reference: W3C, Content Security Policy Level 3, section 2.3.1 (hash sources).
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
import json
import re
from typing import Any

from starlette.responses import Response

from tf_textgen.server.completion_request import SIGNATURE, parameter_defaults, text_input
from tf_textgen.server.loaded_version import LoadedVersion
from tf_textgen.server.request_context import Exchange

_SETTINGS = "/*SETTINGS*/"
_SHOWN = (SIGNATURE, "generate_chunk", "beam_search")  # the signatures that the page asks
_BEAM_FIELDS = ("length_penalty", "length_penalty_alpha")


async def page(exchange: Exchange) -> Response:
    """The page, with what it has to know of the version that answers now."""
    template, policy = _template()
    with exchange.model.lease() as served:
        settings = {
            "name": exchange.model.name,
            "version": served.number,
            **_settings(served.loaded),
        }
    # "<" could end the script element that holds the settings.
    content = template.replace(_SETTINGS, json.dumps(settings).replace("<", r"\u003c"))
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return Response(content, headers=headers, media_type="text/html")


def _settings(loaded: LoadedVersion) -> dict[str, Any]:
    signatures = {
        name: sorted(loaded.inputs(name)) for name in _SHOWN if name in loaded.signature_names
    }
    defaults = parameter_defaults(loaded)
    if "beam_search" in signatures:
        defaults |= {name: loaded.config["decoding"][name] for name in _BEAM_FIELDS}
    return {
        "text_input": text_input(loaded),
        "signatures": signatures,
        "defaults": defaults,
        "beam": "beam_search" in signatures,
    }


@functools.cache
def _template() -> tuple[str, str]:
    """The file, and the policy that fits it."""
    text = importlib.resources.files("tf_textgen.server").joinpath("page.html").read_text("utf-8")
    (script,) = re.findall("<script>(.*?)</script>", text, re.S)
    (style,) = re.findall("<style>(.*?)</style>", text, re.S)
    sources = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return text, "; ".join(f"{name} {source}" for name, source in sources.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
