"""What every provider must do with a login another program left, against the same loopback server: take it over, renew it, and hand the renewed grant back.

The other program's file is made of its golden files and a grant of the server's, so that what is renewed is really that program's login.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from broker.login.adopt import Adoptable, Adopter, Discovery, read_login
from broker.model.account import Record
from broker.model.secret import Secret
from broker.providers import timestamps
from broker.providers.native.base import Login, Native, Refused, Seen
from broker.providers.native.table import FORMATS
from broker.store import codec
from broker.store.native import compose
from tests.contract.parts import Part, Parted, about
from tests.fakes.native import GOLDEN

if TYPE_CHECKING:
    from tests.contract.vendor_contract import Bench

CLIPROXYAPI = FORMATS["cliproxyapi"]


class TakingOver(Parted):
    """The part of the suite; `VendorContract` is one of these."""

    login_options: ClassVar[dict[str, str]]
    server: ClassVar[type]
    native_names: ClassVar[tuple[str, ...]] = ()
    """The golden files of its programs that are of its way to log in; all where it is empty."""

    async def test_a_file_of_cliproxyapis_is_taken_over_whole_and_renewed(self, bench: "Bench", tmp_path: Path) -> None:
        record = await bench.log_in(**self.login_options)
        name, document = bench.provider.create(record, bench.client, bench.now)
        path = tmp_path / name
        path.write_text(json.dumps({**document, "x-mine": [1, None]}))
        made = await adopted(bench, CLIPROXYAPI, path)
        assert made.document == json.loads(path.read_text())
        assert made.record.account == record.account
        assert made.record.tokens.refresh_token == record.tokens.refresh_token
        if Part.RENEWAL not in self.without:
            bench.client = await bench.clients.find(bench.provider, bench.provider.client_of(made.document))
            assert (await bench.renew(made.record)).tokens.access_token

    async def test_blanked_tokens_are_no_login(self, bench: "Bench", tmp_path: Path) -> None:
        record = await bench.log_in(**self.login_options)
        name, document = bench.provider.create(record, bench.client, bench.now)
        path = tmp_path / name
        secrets = {each.reveal() for each in (record.tokens.access_token, record.tokens.refresh_token) if each}
        path.write_text(json.dumps(blanked(document, secrets)))
        seen = read_login(CLIPROXYAPI, path)
        assert isinstance(seen, Seen)
        refused = await adopter(bench).adopt(Discovery(CLIPROXYAPI, path, seen.found[0]), online=True)
        assert isinstance(refused, Refused), refused

    @about(Part.LINKED)
    async def test_a_login_of_its_own_program_is_taken_over_and_renewed(self, bench: "Bench", tmp_path: Path) -> None:
        tried = 0
        for native, name, document in self.native_files():
            record = await bench.log_in(**self.login_options)
            path = planted(bench, native, record, name, document, tmp_path / f"{native.tool}-{tried}")
            made = await adopted(bench, native, path)
            assert made.record.tokens.refresh_token == record.tokens.refresh_token, name
            if not any("Whose login" in note for note in made.notes):
                assert not made.record.account.label.startswith("login-"), name
            # As an account of ours it is renewed like any other.
            bench.client = made.client
            stored, file = bench.provider.create(made.record, made.client, bench.now)
            renewed = await bench.renew(bench.provider.read(json.loads(json.dumps(file)), stored))
            if native.unlinked is None:
                self.hand_back(bench, native, path, renewed)
                tried += 1
        assert tried

    @about(Part.COPIED)
    async def test_a_login_that_can_only_be_copied_is_taken_over_and_renewed(
        self, bench: "Bench", tmp_path: Path
    ) -> None:
        record = await bench.log_in(**self.login_options)
        tool, make = COPIED[self.server.name]
        made = await adopted(bench, FORMATS[tool], make(bench, record, tmp_path))
        assert made.record.tokens.refresh_token == record.tokens.refresh_token
        assert not made.record.account.label.startswith("login-")
        if made.document is None:
            bench.client = made.client
            stored, file = bench.provider.create(made.record, made.client, bench.now)
            made = replace(made, record=bench.provider.read(json.loads(json.dumps(file)), stored))
        assert (await bench.renew(made.record)).tokens.access_token

    def hand_back(self, bench: "Bench", native: Native, path: Path, renewed: Record) -> None:
        """Write the renewed grant into the program's file, and read it as that program does."""
        seen = read_login(native, path)
        assert isinstance(seen, Seen)
        (login,) = (each for each in seen.found if isinstance(each, Login))
        data = compose(native, seen, login.key, renewed.tokens, bench.now)
        before, after = json.loads(seen.data), json.loads(data)
        assert shape(after) == shape(before), path.name
        path.write_bytes(data)
        again = read_login(native, path)
        assert isinstance(again, Seen)
        (held,) = (each for each in again.found if isinstance(each, Login))
        assert held.tokens.access_token == renewed.tokens.access_token
        assert held.tokens.refresh_token == renewed.tokens.refresh_token
        if held.tokens.expires_at is not None:
            assert held.tokens.expires_at == pytest.approx(renewed.tokens.expires_at, abs=1)
        assert compose(native, again, login.key, renewed.tokens, bench.now) == data, "a second time changes nothing"

    def has_linked(self) -> bool:
        """Tell whether a program keeps logins of this provider that can be shared."""
        return any(native.unlinked is None for native, _, _ in self.native_files())

    def has_copied(self, record: Record) -> bool:
        """Tell whether a program keeps logins of this provider that can only be copied; a host with a port cannot stand in Copilot's file."""
        return self.server.name in COPIED and ":" not in record.facts.get("host", "")

    def native_files(self) -> Iterator[tuple[Native, str, dict[str, object]]]:
        """Yield each golden file with one login of a program of this provider."""
        for native in FORMATS.values():
            if native.provider != self.server.name or native.database or native.tool in {"vertex", "copilot"}:
                continue
            for path in sorted(each for each in (GOLDEN / native.tool).iterdir() if each.is_file()):
                parsed = codec.parse_object(path.read_bytes())
                if isinstance(parsed, codec.Fault):
                    continue
                found = native.read(parsed.document, siblings(native.tool))
                if self.native_names and path.name not in self.native_names:
                    continue
                if len(found) == 1 and isinstance(found[0], Login) and found[0].tokens.refresh_token:
                    yield native, path.name, dict(parsed.document)


def text_of(secret: Secret | None) -> str:
    assert secret is not None
    return secret.reveal()


def written(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def copilots(bench: "Bench", record: Record, folder: Path) -> Path:
    host, token = record.facts.get("host", "github.com"), text_of(record.tokens.refresh_token)
    return written(folder / "apps.json", {f"{host}:Iv1.x": {"user": "octocat", "oauth_token": token}})


def a_key(bench: "Bench", record: Record, folder: Path) -> Path:
    return written(folder / "key.json", bench.server.imported()[1]["service_account"])


def a_pool(bench: "Bench", record: Record, folder: Path) -> Path:
    entry = {
        "refreshToken": text_of(record.tokens.refresh_token),
        "projectId": "my-project",
        "email": "ann@example.com",
    }
    return written(folder / "accounts.json", {"accounts": [entry]})


def a_store(bench: "Bench", record: Record, folder: Path) -> Path:
    """Kiro's database."""
    tokens, social = record.tokens, record.facts["auth_method"] == "social"
    login: dict[str, object] = {
        "access_token": text_of(tokens.access_token), "refresh_token": text_of(tokens.refresh_token), "region": record.facts.get("region"),
        "expires_at": timestamps.write(tokens.expires_at or 0.0),
    }  # fmt: skip
    rows = {"kirocli:social:token" if social else "kirocli:odic:token": login}
    if not social:
        registration = {"client_id": bench.client.id, "client_secret": text_of(bench.client.secret)}
        rows["kirocli:odic:device-registration"] = registration
    path = folder / "data.sqlite3"
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE auth_kv (key TEXT PRIMARY KEY, value TEXT)")
        base.executemany("INSERT INTO auth_kv VALUES (?, ?)", ((key, json.dumps(value)) for key, value in rows.items()))
    base.close()
    return path


COPIED = {
    "github-copilot": ("copilot", copilots), "vertex": ("vertex", a_key), "antigravity": ("antigravity-proxy", a_pool), "kiro": ("kiro-cli", a_store),
}  # fmt: skip


def adopter(bench: "Bench") -> Adopter:
    class One:
        """The one provider there is, where its vendor is."""

        def get(self, name: str):
            return bench.provider

        def of_document(self, document: object):
            return bench.provider

    return Adopter(One(), bench.clients, bench.outbound, bench.clock)


async def adopted(bench: "Bench", native: Native, path: Path) -> Adoptable:
    seen = read_login(native, path)
    assert isinstance(seen, Seen)
    (login,) = seen.found
    assert isinstance(login, Login), login
    made = await adopter(bench).adopt(Discovery(native, path, login), online=True)
    assert isinstance(made, Adoptable), made
    return made


def planted(
    bench: "Bench", native: Native, record: Record, name: str, document: dict[str, object], folder: Path
) -> Path:
    """Write a program's file that holds the server's grant, with what lies beside it."""
    place = folder / "program"
    place.mkdir(parents=True)
    if native.tool == "kiro":
        document = {**document, **({"clientId": bench.client.id} if "clientId" in document else {})}
        registration = {
            "clientId": bench.client.id,
            "clientSecret": bench.client.secret and bench.client.secret.reveal(),
        }
        (place / f"{document.get('clientIdHash', 'other')}.json").write_text(json.dumps(registration))
    if "device_id" in record.facts:
        (folder / "device_id").write_text(record.facts["device_id"])
    (login,) = native.read(document, siblings(native.tool) if native.tool != "kiro" else {"siblings": {
        each.name: json.loads(each.read_bytes()) for each in place.iterdir()}})  # fmt: skip
    assert isinstance(login, Login), login
    made = native.write(document, login.key, record.tokens, bench.now)
    if native.tool == "xai":
        # The client stands in the entry: here it is the server's.
        (entry,) = (dict(each) for each in made.values() if isinstance(each, dict))
        made = {f"https://auth.x.ai::{bench.client.id}": {**entry, "oidc_client_id": bench.client.id}}
    path = place / name
    path.write_text(json.dumps(made))
    return path


def siblings(tool: str) -> dict[str, object]:
    folder = GOLDEN / tool / "siblings"
    return {"siblings": {each.name: json.loads(each.read_bytes()) for each in folder.glob("*.json")}}


def blanked(document: object, secrets: set[str]) -> object:
    """The document with its tokens blanked, wherever they stand."""
    if isinstance(document, dict):
        return {
            name: {} if name == "service_account" else "" if name == "api_key" else blanked(value, secrets)
            for name, value in document.items()
        }
    if isinstance(document, list):
        return [blanked(each, secrets) for each in document]
    return "" if document in secrets else document


def shape(value: object) -> object:
    """The names and their order, and everything that is no part of a grant."""
    if isinstance(value, dict):
        return [(name, shape(held)) for name, held in value.items()]
    return type(value).__name__ if isinstance(value, str | int | float) else value
