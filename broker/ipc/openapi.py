"""The OpenAPI 3.1 document, made from the table of operations.

Pure. It must never say anything the table and the schema do not.
"""

from collections.abc import Iterable, Mapping

import msgspec

from broker.ipc.operations import COMMON_ERRORS, EVENT_STREAM, JSON, OPERATIONS, Operation
from broker.ipc.schema import PROBLEM_JSON, Changed, Problem, Removed, Snapshot
from broker.model.errors import TRAITS, ErrorCode
from broker.model.secret import Secret

__all__ = ["document"]

Json = Mapping[str, object]

_REF = "#/components/schemas/{name}"
_EVENTS = (Snapshot, Changed, Removed)
_PATH_MEANINGS = {
    "provider": "The provider's name, as in `gemini`.",
    "label": "The account's label, percent-encoded; often an e-mail address.",
    "id": "The login's id.",
}
_LAST_EVENT_ID: Json = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The id of the last event seen; the stream goes on after it where it can, else begins with a snapshot.",
    "schema": {"type": "string"},
}


def document(version: str) -> Json:
    """Return the document; `version` is the program's."""
    schemas = _components()
    paths: dict[str, dict[str, object]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ccs-broker",
            "version": version,
            "description": "HTTP over two Unix sockets of the same user: `token.sock` serves accounts, leases, reports and the push stream; "
            "`broker.sock` serves everything. Operations marked `x-socket: broker` are served on `broker.sock` only.",
        },
        "servers": [{"url": "http://ccs-broker", "description": "The Host header to send over the socket."}],
        "paths": paths,
        "components": {"schemas": dict(schemas.named), "responses": {"Problem": _problem_response()}},
    }


class _Schemas:
    def __init__(self, types: tuple[type, ...]) -> None:
        refs, self.named = msgspec.json.schema_components(types, schema_hook=_schema_of_secret, ref_template=_REF)
        self._refs: dict[type, Json] = dict(zip(types, refs, strict=True))

    def of(self, kind: type) -> Json:
        return self._refs[kind]


def _components() -> _Schemas:
    types = {each for operation in OPERATIONS for each in (operation.request, operation.response) if each is not None}
    return _Schemas((*sorted(types, key=lambda each: each.__name__), *_EVENTS, Problem))


def _schema_of_secret(kind: type) -> dict[str, object]:
    if kind is Secret:
        return {"type": "string", "format": "password"}
    raise NotImplementedError  # says "not mine" to msgspec, which then names the type in a TypeError


def _operation(operation: Operation, schemas: _Schemas) -> Json:
    made: dict[str, object] = {
        "operationId": operation.name.value,
        "summary": operation.summary,
        "x-socket": "broker" if operation.control else "both",
        "responses": {str(operation.status): _success(operation, schemas), **_failures(operation.errors)},
    }
    if parameters := _parameters(operation):
        made["parameters"] = parameters
    if operation.request is not None:
        made["requestBody"] = {"required": True, "content": {JSON: {"schema": schemas.of(operation.request)}}}
    return made


def _parameters(operation: Operation) -> list[Json]:
    path: list[Json] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_MEANINGS[name],
            "schema": {"type": "string"},
        }
        for name in operation.path_names
    ]
    query: list[Json] = [
        {
            "name": each.name,
            "in": "query",
            "required": False,
            "description": each.meaning,
            "schema": {"type": "number", "minimum": 0, "default": each.default},
        }
        for each in operation.query
    ]
    flags: list[Json] = [
        {
            "name": each.name,
            "in": "query",
            "required": False,
            "description": each.meaning,
            "schema": {"type": "boolean", "default": False},
        }
        for each in operation.flags
    ]
    return [*path, *query, *flags, *([_LAST_EVENT_ID] if operation.media_type == EVENT_STREAM else [])]


def _success(operation: Operation, schemas: _Schemas) -> Json:
    schema: Json = {"type": "object"} if operation.media_type == JSON else {"type": "string"}
    if operation.response is not None:
        schema = schemas.of(operation.response)
    elif operation.media_type == EVENT_STREAM:
        # OpenAPI has no word for a stream's items; the schemas of the `data` fields are linked instead.
        schema = {"type": "string", "x-event-data": {"oneOf": [schemas.of(each) for each in _EVENTS]}}
    return {"description": operation.summary, "content": {operation.media_type: {"schema": schema}}}


def _failures(errors: Iterable[ErrorCode]) -> Json:
    by_status: dict[int, list[str]] = {}
    for code in (*COMMON_ERRORS, *errors):
        by_status.setdefault(TRAITS[code].status, []).append(code.value)
    return {
        str(status): {"$ref": "#/components/responses/Problem", "description": "`code`: " + ", ".join(sorted(codes))}
        for status, codes in sorted(by_status.items())
    }


def _problem_response() -> Json:
    return {
        "description": "What went wrong (RFC 9457).",
        "content": {PROBLEM_JSON: {"schema": {"$ref": _REF.format(name="Problem")}}},
    }
