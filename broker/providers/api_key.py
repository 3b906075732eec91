"""API keys: accounts that are never renewed.

Owns: their file, `{"type": "api-key", "provider": NAME, "api_key", "label", "base_url", "header", "models": [...]}`, and what can be said of a key. There is no
login: the user hands the key over, or puts the file into the auth directory.

The key is leased like any token, without an end. The facts of the lease say where it goes (`base_url`), in which header (`header`: `authorization` means
`Bearer KEY`, any other name the bare key) and what for (`models`, with commas between).
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.discovery import acceptable_url
from broker.oauth.failures import FlowFailedError, Misconfigured
from broker.oauth.messages import Flow, PacedFlow
from broker.providers import fields
from broker.providers.base import Client, Document, Endpoints, FormatError, Identity, LoginFlow, RefreshPolicy
from broker.providers.naming import file_piece, first_label, stem
from broker.providers.setup import Setup
from broker.providers.standard import StandardProvider

TYPE = "api-key"
_POLICY = RefreshPolicy(rotates=False, forgives_repeat=True)


def _keys(name: str, title: str, api_url: str | None = None) -> Setup:
    notice = f"A key is added: ccs-broker add-key {name}"
    return Setup(name, title, endpoints=Endpoints(api_url=api_url), policy=_POLICY, notice=notice)


GEMINI = _keys("gemini-api", "Gemini API key")
OPENAI = _keys("openai-api", "OpenAI API key", "https://api.openai.com/v1")
ANTHROPIC = _keys("anthropic-api", "Anthropic API key", "https://api.anthropic.com")
OPENAI_LIKE = _keys("openai-compatible", "OpenAI-compatible API key")
ANTHROPIC_LIKE = _keys("anthropic-compatible", "Anthropic-compatible API key")

_HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)  # RFC 9110 section 5.6.2, lower-case
# Headers that say something else about a request; a key in one of them would break it.
_NOT_FOR_KEYS = frozenset(
    {"host", "connection", "content-length", "content-type", "content-encoding", "transfer-encoding", "te", "trailer", "upgrade", "expect", "accept"}
)  # fmt: skip
_MODEL = re.compile(r"[^\s,]{1,200}")


@dataclass(frozen=True, slots=True)
class ApiKey(StandardProvider):
    """Keys of one API. `header` is the usual one of those that are told where to go; None where the API side knows it all."""

    header: str | None = None

    @property
    def flows(self) -> tuple[LoginFlow, ...]:
        """None: a key is made on the vendor's page."""
        return ()

    @property
    def needs_base_url(self) -> bool:
        """Whether only the account can say where its API is."""
        return self.header is not None and self.setup.endpoints.api_url is None

    def account(self, label: str | None, base_url: str | None) -> AccountId:
        """Return the account a key is for: by its label, else by the host it goes to.

        Raises:
            BrokerError: `bad_request` for a label that cannot be.
        """
        if label is not None:
            return AccountId(self.name, label)
        host = urlsplit(base_url).netloc if base_url and acceptable_url(base_url) else ""
        return AccountId(self.name, first_label(host if self.needs_base_url else "", "key"))

    def record(
        self, account: AccountId, key: Secret, base_url: str | None, header: str | None, models: tuple[str, ...]
    ) -> Record:
        """Return the account of a key someone hands over.

        Raises:
            BrokerError: `bad_request`, naming what cannot be.
        """
        if not fields.sendable(key):
            raise _fault("the key is empty, or holds spaces or characters that no key has")
        try:
            return Record(account, Tokens(key), facts=self._facts(base_url, header, models))
        except FormatError as error:
            raise _fault(str(error)) from None

    def claims(self, document: Document) -> bool:
        """Tell whether an auth file holds a key of this API."""
        return document.get("type") == TYPE and document.get("provider") == self.name

    def read(self, document: Document, file_name: str) -> Record:
        """Read an auth file; raises FormatError where there is no key, or not where it goes."""
        key = fields.secret(document, "api_key")
        if key is None:
            raise FormatError("it has no api_key")
        if not fields.sendable(key):
            raise FormatError("api_key holds spaces or characters that no key has")
        label = first_label(fields.hint(document, "label"), stem(file_name), "key")
        base_url, header = fields.hint(document, "base_url"), fields.hint(document, "header")
        return Record(
            account=AccountId(self.name, label),
            tokens=Tokens(key),
            facts=self._facts(base_url, header, fields.words(document, "models")),
            disabled=fields.flag(document, "disabled"),
        )

    def write(self, document: Document, tokens: Tokens, now: Now) -> dict[str, object]:  # noqa: ARG002 - the protocol's
        """Replace the key."""
        made = dict(document)
        fields.put_secret(made, "api_key", tokens.access_token, add=True)
        return made

    def create(self, record: Record, client: Client, now: Now) -> tuple[str, dict[str, object]]:  # noqa: ARG002 - the protocol's
        """Return `<name>-<label>.json` and its document."""
        facts: dict[str, object] = dict(record.facts)
        if "models" in record.facts:
            facts["models"] = record.facts["models"].split(",")
        blank: dict[str, object] = {"type": TYPE, "provider": self.name, "label": record.account.label, **facts}
        name = f"{self.name}-{file_piece(record.account.label) or 'key'}.json"
        return name, self.write(blank, record.tokens, now)

    def client_of(self, document: Document) -> Client | None:  # noqa: ARG002 - the protocol's
        """Return None: a key needs no registration."""
        return None

    def identify(self, tokens: Tokens, now: Now, project: str | None = None) -> PacedFlow[Identity]:  # noqa: ARG002 - the protocol's
        """Return nobody: a key does not say whose it is."""
        yield from ()
        return Identity()

    def refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:  # noqa: ARG002 - the protocol's
        """Fail: there is nothing to renew."""
        yield from ()
        raise FlowFailedError(Misconfigured("api_key", "an API key cannot be renewed"))

    def _facts(self, base_url: str | None, header: str | None, models: tuple[str, ...]) -> dict[str, str]:
        """Return the facts of an account, checked; raises FormatError."""
        told = (base_url or self.setup.endpoints.api_url or "").rstrip("/")
        if self.needs_base_url and not told:
            raise FormatError("it has no base_url")
        if told and not _acceptable(told):
            raise FormatError("base_url is no https address (http is for this machine only), or has a query in it")
        carried = (header or self.header or "").strip().lower()
        if carried and (not _HEADER.fullmatch(carried) or carried in _NOT_FOR_KEYS):
            raise FormatError("header is no name of a header for a key")
        if not all(_MODEL.fullmatch(model) and model.isprintable() for model in models):
            raise FormatError("models holds something that is no name of a model")
        found = {"base_url": told, "header": carried, "models": ",".join(dict.fromkeys(models))}
        return {name: value for name, value in found.items() if value}


def _acceptable(url: str) -> bool:
    return acceptable_url(url) and "?" not in url and "#" not in url and url.isprintable() and " " not in url


def _fault(detail: str) -> BrokerError:
    return BrokerError(ErrorCode.BAD_REQUEST, detail, hint="docs/providers/api-keys.md says what an account takes.")
