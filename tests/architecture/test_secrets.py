"""A secret becomes text in a short list of places, and no type of the domain shows one."""

import ast
import copy
import dataclasses
import importlib
import json
import pickle

import msgspec
import pytest

from broker.model.secret import Secret
from tests.architecture.imports import modules, tree

# Who may call Secret.reveal(), and where the text goes.
REVEALERS = {
    "broker.oauth.messages": "into the body of a request to the provider",
    "broker.oauth.pkce": "to hash a PKCE verifier into its challenge",
    "broker.oauth.code": "the state into the authorization URL (where it belongs), and to take a pasted callback apart",
    "broker.providers.fields": "into the auth file",
    "broker.store.emergency": "into the emergency copy of a grant the auth directory refused",
    "broker.providers.assertion": "the private key to google-auth, which signs a service account's assertion",
    "broker.providers.jwt": "to read the claims of an ID token",
    "broker.login.google": "state and verifier to google-auth-oauthlib, which builds the authorization URL",
    "broker.model.network": "to take the URL of an outbound proxy apart",
    "broker.network.tunnel": "user name and password to an outbound proxy, as it asks for them",
    "broker.daemon.outbound": "into the Authorization header of a request to the provider",
    "broker.proxy.headers": "into the Authorization header of a request to the API",
    "broker.proxy.reqlog.masking": "to find and mask it in what the request log writes",
    "broker.cli.image_client": "the proxy's API key into the Authorization header",
    "broker.ipc.schema": "into a message: a lease or a new key on the socket, the proxy's API keys to its worker processes over a pipe",
    "broker.sandbox.documents": "into the sandbox's answers",
    "broker.sandbox.grants": "to check a PKCE verifier in the sandbox",
    "broker.sandbox.serve": "into a 0600 file of the sandbox's own client secret",
}


@pytest.mark.parametrize("module", sorted(modules()))
def test_only_these_modules_reveal_secrets(module: str) -> None:
    calls = [
        node.lineno
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute) and node.attr in {"reveal", "_value"} and module != "broker.model.secret"
    ]
    if module in REVEALERS:
        assert calls, f"{module} reveals nothing any more: take it off the list"
    else:
        assert not calls, f"{module} reveals a secret at lines {calls}"


SECRET_WORDS = (
    "token",
    "secret",
    "password",
    "passphrase",
    "verifier",
    "api_key",
    "private_key",
    "device_code",
    "authorization",
)
# Fields whose name has such a word and whose value is not a secret.
HARMLESS = {"token_type", "token_url", "client_secret_file", "client_secret_env", "needs_secret", "secret_sources"}


# Not values of the domain: how a file is read and written.
ON_DISK = {
    "broker.store.emergency": "the grant in an emergency copy",
    "broker.providers.native.base": "what a field is called",
}
# The sandbox's secrets are worth nothing, and a format meets none.
HELD_TO_IT = [name for name in sorted(modules()) if not name.startswith(("broker.sandbox.", "broker.translate."))]


@pytest.mark.parametrize("module", HELD_TO_IT)
def test_no_field_with_a_secrets_name_is_plain_text(module: str) -> None:
    plain = {
        node.target.id
        for node in ast.walk(tree(module))
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and any(word in node.target.id for word in SECRET_WORDS)
        and "str" in ast.unparse(node.annotation).replace("StrEnum", "")
    }
    if module in ON_DISK:
        assert plain - HARMLESS, f"{module} has none any more: take it off the list"
    else:
        assert plain <= HARMLESS, f"{module}: {sorted(plain - HARMLESS)} must be a Secret"


CANARY = "canary-2f8a1c"


def test_a_secret_hides_itself() -> None:
    secret = Secret(CANARY)
    shown_forms = (repr(secret), str(secret), f"{secret}", f"{secret:>40}", repr([secret]), repr({"a": secret}))
    for shown in shown_forms:
        assert CANARY not in shown
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.deepcopy(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)


def _fields(kind: type) -> dict[str, str]:
    """Return names and types of the fields of a dataclass or struct; none of anything else."""
    if dataclasses.is_dataclass(kind):
        return {each.name: str(each.type) for each in dataclasses.fields(kind)}
    if not issubclass(kind, msgspec.Struct):
        return {}
    annotated = {
        name: str(type_)
        for each in reversed(kind.__mro__)
        for name, type_ in vars(each).get("__annotations__", {}).items()
    }
    return {name: annotated[name] for name in kind.__struct_fields__}


def _values() -> list[type]:
    found = []
    for name in HELD_TO_IT:
        module = importlib.import_module(name)
        found += [thing for thing in vars(module).values() if isinstance(thing, type) and thing.__module__ == name]
    return [kind for kind in found if any(_hides(kind, name, type_) for name, type_ in _fields(kind).items())]


def _hides(kind: type, name: str, type_: str) -> bool:
    """Tell whether a field is to be hidden: a secret, or a body that may hold a grant. The proxy's structs carry what clients and upstreams say."""
    carried = issubclass(kind, msgspec.Struct) and kind.__module__.startswith("broker.proxy.")
    return "Secret" in type_ or (name == "body" and not carried)


@pytest.mark.parametrize("kind", _values(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_no_value_shows_the_secret_in_it(kind: type) -> None:
    values: dict[str, object] = {
        name: None if not _hides(kind, name, type_) else Secret(CANARY) if "Secret" in type_ else CANARY.encode()
        for name, type_ in _fields(kind).items()
    }
    if issubclass(kind, msgspec.Struct):
        made: object = kind(**values)
    else:
        made = object.__new__(kind)
        for name, value in values.items():
            object.__setattr__(made, name, value)
    assert CANARY not in repr(made)
    assert CANARY not in str(made)
