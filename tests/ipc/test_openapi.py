"""The document is checked by its own structure: every reference resolves, every operation and error status is there."""

import json
from collections.abc import Iterator

import msgspec
import pytest

from broker.ipc.openapi import _Schemas, document
from broker.ipc.operations import COMMON_ERRORS, OPERATIONS
from broker.model.errors import TRAITS

DOCUMENT = json.loads(msgspec.json.encode(document("1.2.3")))
METHODS = {"get", "post", "delete"}


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_every_reference_resolves() -> None:
    found = set(references(DOCUMENT))
    assert found
    for ref in found:
        target = DOCUMENT
        for part in ref.removeprefix("#/").split("/"):
            target = target[part]
        assert isinstance(target, dict)


def test_it_has_what_openapi_3_1_requires() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert DOCUMENT["info"]["version"] == "1.2.3"
    assert DOCUMENT["info"]["title"]
    ids = []
    for path, item in DOCUMENT["paths"].items():
        assert path.startswith("/")
        assert set(item) <= METHODS
        for operation in item.values():
            ids.append(operation["operationId"])
            named = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}
            assert all(each["required"] for each in operation.get("parameters", []) if each["in"] == "path")
            assert all(each["description"] for each in operation["responses"].values())
    assert len(ids) == len(set(ids)) == len(OPERATIONS)


def test_every_operation_names_its_errors() -> None:
    for each in OPERATIONS:
        responses = DOCUMENT["paths"][each.path][each.method.lower()]["responses"]
        assert str(each.status) in responses
        for code in (*COMMON_ERRORS, *each.errors):
            assert code.value in responses[str(TRAITS[code].status)]["description"]


def test_tokens_are_marked_as_passwords() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["Lease"]["properties"]["access_token"] == {"type": "string", "format": "password"}


def test_a_flag_is_a_truth_value() -> None:
    parameters = DOCUMENT["paths"]["/v1/accounts/{provider}/{label}"]["delete"]["parameters"]
    (flag,) = [each for each in parameters if each["in"] == "query"]
    assert (flag["name"], flag["schema"]) == ("keep_remote", {"type": "boolean", "default": False})


def test_the_push_stream_documents_its_events_and_its_resumption() -> None:
    watch = DOCUMENT["paths"]["/v1/watch"]["get"]
    assert [each["name"] for each in watch["parameters"]] == ["Last-Event-ID"]
    data = watch["responses"]["200"]["content"]["text/event-stream"]["schema"]["x-event-data"]["oneOf"]
    assert [each["$ref"].rsplit("/", 1)[1] for each in data] == ["Snapshot", "Changed", "Removed"]


def test_a_type_without_a_json_form_is_a_fault_of_ours() -> None:
    class Odd:
        pass

    with pytest.raises(TypeError):
        _Schemas((Odd,))
