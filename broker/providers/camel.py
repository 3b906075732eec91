"""OAuth as AWS writes it: JSON instead of forms, and `camelCase` instead of `snake_case`.

Owns: turning the messages of a flow of `broker.oauth` into that spelling and back, so that the standard's rules need not be written twice. It must never
change a value.
"""

import re
from collections.abc import Generator
from dataclasses import replace
from typing import TypeVar

import msgspec

from broker.oauth.messages import HttpRequest, HttpResponse, Pause, adapted
from broker.providers.fields import spellings

T = TypeVar("T")
Step = TypeVar("Step", bound=HttpRequest | Pause)

_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


def in_camel_case(flow: Generator[Step, HttpResponse, T]) -> Generator[Step, HttpResponse, T]:
    """Run a flow of the standards' with its forms sent as JSON and the answers read from it; JSON a flow makes itself is sent as it is."""
    return adapted(flow, _asked, _heard)


def _asked(request: HttpRequest) -> HttpRequest:
    if request.form is None:
        return request
    return replace(
        request, form=None, json={spellings(name)[1 if "_" in name else 0]: v for name, v in request.form.items()}
    )


def _heard(answer: HttpResponse) -> HttpResponse:
    found = answer.document() or {}
    named = answer.headers.get("x-amzn-errortype", "").partition(":")[0]
    if not found and not named:
        return answer
    made = {_HUMP.sub(lambda hump: "_" + hump[1].lower(), name): value for name, value in found.items()}
    if named:
        made.setdefault("__type", named)
    return replace(answer, body=msgspec.json.encode(made))
