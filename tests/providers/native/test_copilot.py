from broker.model.account import Tokens
from broker.model.secret import Secret
from broker.providers.base import Identity
from broker.providers.native.base import Login, Refused
from broker.providers.native.copilot import FORMAT
from tests.fakes.native import golden, login, refused

APP = "Iv1.b507a08c87ecfe98"


def test_apps() -> None:
    assert FORMAT.read(golden("copilot", "apps.json"), {}) == (
        Login(Tokens(None, Secret("fake-token-1")), Identity(None, "octocat"), f"github.com:{APP}"),
        Login(
            Tokens(None, Secret("fake-token-2")), Identity(None, "ann", {"host": "ghe.example.com"}), f"ghe.example.com:{APP}"
        ),
    )  # fmt: skip


def test_of_several_apps_of_one_person_the_known_one_counts() -> None:
    """Else whichever came last would take the place of the other."""
    entry = {"user": "octocat", "oauth_token": "fake-token-9"}
    document = {"github.com:Iv23.other": entry, **golden("copilot", "apps.json")}
    first, *others = FORMAT.read(document, {})
    assert first == Refused(
        "has a second token for octocat, of another app; that of the editors' is taken", "github.com:Iv23.other"
    )
    assert tuple(others) == FORMAT.read(golden("copilot", "apps.json"), {})
    for other in ({**entry, "user": "eve"}, {"oauth_token": "fake-token-9"}):
        assert isinstance(FORMAT.read({**document, "github.com:Iv23.other": other}, {})[0], Login)
    known = {f"github.com:{APP}": {"user": "octocat", "oauth_token": ""}}
    assert isinstance(FORMAT.read({"github.com:Iv23.other": entry, **known}, {})[0], Login)


def test_hosts() -> None:
    assert login(FORMAT, golden("copilot", "hosts.json")).identity.subject == "octocat"


def test_no_login() -> None:
    assert refused(FORMAT, golden("copilot", "blank.json")) == Refused(
        "has an empty token for github.com", "github.com", blank=True
    )
    assert refused(FORMAT, {"version": 1}).blank
    assert refused(FORMAT, {"github.com": {"oauth_token": 7}}).reason == "oauth_token is not text"
