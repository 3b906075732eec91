import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.model.naming import Combo, Names, Order
from broker.proxy import asking
from broker.proxy.asking import Meanings, Place, offering, wanted_at
from broker.proxy.naming import Goal, Served, Wanted
from broker.proxy.upstreams.base import Kind, Offer
from broker.proxy.upstreams.table import PROVIDERS

SERVED = Served(PROVIDERS, ("work", "xai"))
NAMES = Names(
    {"fast": "gemini-2.5-flash", "far": "kimi/k2", "odd": "odd-1", "vectors": "mixed"},
    {"mixed": Combo(("gemini/m", "gemini-api/n", "openai-api/o")), "near": Combo(("gemini-api/a", "gemini-2.5-pro"))},
)


def wanted(name: str, offer: Offer = Offer.TALK, provider: str | None = None, served: Served = SERVED) -> Wanted:
    return wanted_at(Place(offer, provider), name, NAMES, served, lambda _: 0)


def refused(name: str, offer: Offer = Offer.TALK, provider: str | None = None) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        wanted(name, offer, provider)
    assert caught.value.detail.startswith("model: ")
    return caught.value


def test_talk_goes_wherever_the_name_says() -> None:
    assert wanted("kimi/k2") == Wanted("kimi/k2", (Goal("k2", ("kimi",)),))
    assert wanted("fast").providers == ("gemini", "antigravity", "gemini-api", "vertex")


@pytest.mark.parametrize("name", ["gpt-" + "5" * 197, "gpt-5\x1b[2J", "gpt-5\n", "gpt-\ud800"])
def test_what_no_log_could_hold_is_no_name(name: str) -> None:
    assert wanted("gpt-" + "5" * 196).providers
    assert refused(name).code is ErrorCode.BAD_REQUEST


@pytest.mark.parametrize(
    ("name", "offer", "goals"),
    [
        ("gemini-embedding-001", Offer.EMBEDDINGS, (Goal("gemini-embedding-001", ("gemini-api", "vertex")),)),
        ("text-embedding-3-small", Offer.EMBEDDINGS, (Goal("text-embedding-3-small", ("openai-api", "github-copilot")),)),
        ("text-embedding-005", Offer.EMBEDDINGS, (Goal("text-embedding-005", ("vertex",)),)),
        ("gpt-image-2", Offer.IMAGES, (Goal("gpt-image-2", ("openai-api",)),)),
        ("gemini-3-pro-image", Offer.IMAGE_EDITS, (Goal("gemini-3-pro-image", ("antigravity",)),)),
        ("openai-compatible/x", Offer.IMAGES, (Goal("x", ("openai-compatible",)),)),
        ("vectors", Offer.EMBEDDINGS, (Goal("n", ("gemini-api",)), Goal("o", ("openai-api",)))),
    ],
)  # fmt: skip
def test_only_what_can_be_asked_for_it_is(name: str, offer: Offer, goals: tuple[Goal, ...]) -> None:
    assert wanted(name, offer).goals == goals


@pytest.mark.parametrize(
    ("name", "offer", "provider", "told"),
    [
        ("claude-opus-4-5", Offer.EMBEDDINGS, None, "cannot make embeddings here; what can: gemini-api"),
        ("far", Offer.IMAGES, None, "'far' is served by kimi, which cannot make images"),
        ("m", Offer.IMAGE_EDITS, "github-copilot", "'m' is served by github-copilot, which cannot change images"),
    ],
)
def test_what_cannot_be_asked_for_it_names_what_can(name: str, offer: Offer, provider: str | None, told: str) -> None:
    error = refused(name, offer, provider)
    assert error.code is ErrorCode.NOT_FOUND
    assert told in error.detail


def test_who_offers_what() -> None:
    assert set(offering(Offer.TALK, SERVED)) == set(PROVIDERS)
    google = {"gemini-api", "vertex"}
    keys = {"openai-api", "openai-compatible"}
    assert set(offering(Offer.EMBEDDINGS, SERVED)) == google | keys | {"github-copilot"}
    assert set(offering(Offer.IMAGES, SERVED)) == google | keys | {"gemini", "antigravity", "xai"}
    assert set(offering(Offer.IMAGE_EDITS, SERVED)) == google | keys | {"gemini", "antigravity", "xai"}
    assert offering(Offer.IMAGES, Served({"k": Kind.KIMI})) == ()


@pytest.mark.parametrize(
    ("name", "provider", "goal"),
    [
        ("anything", "openai-compatible", Goal("anything", ("openai-compatible",))),
        ("models/gemini-9", "gemini-api", Goal("gemini-9", ("gemini-api",))),
        ("gemini-api/gemini-9", "gemini-api", Goal("gemini-9", ("gemini-api",))),
        ("qwen/qwen3-coder", "openai-compatible", Goal("qwen/qwen3-coder", ("openai-compatible",))),
        ("work/m", "kimi", Goal("m", ("kimi",), "work")),
        ("work/kimi/m", "kimi", Goal("m", ("kimi",), "work")),
        ("xai/grok-4", "xai", Goal("grok-4", ("xai",))),
        ("xai/", "xai", Goal("xai/", ("xai",))),
    ],
)
def test_a_client_s_name_is_read_within_the_provider(name: str, provider: str, goal: Goal) -> None:
    assert wanted(name, provider=provider) == Wanted(name.removeprefix("models/"), (goal,))


def test_a_name_of_the_user_s_means_the_same_there() -> None:
    assert wanted("fast", provider="gemini-api") == Wanted(
        "fast", (Goal("gemini-2.5-flash", ("gemini-api",)),), own=True
    )
    assert wanted("near", provider="gemini-api").goals == (
        Goal("a", ("gemini-api",)),
        Goal("gemini-2.5-pro", ("gemini-api",)),
    )


@pytest.mark.parametrize(
    ("name", "provider", "code", "told"),
    [
        ("far", "gemini-api", ErrorCode.BAD_REQUEST, "'far' means 'kimi/k2', which gemini-api does not serve"),
        ("fast", "kimi", ErrorCode.BAD_REQUEST, "'fast' means 'gemini-2.5-flash', which kimi does not serve"),
        ("mixed", "gemini-api", ErrorCode.BAD_REQUEST, "'mixed' means 'gemini/m', which gemini-api does not serve"),
        ("odd", "openai-api", ErrorCode.NOT_FOUND, "'odd-1'"),
    ],
)
def test_a_name_of_the_user_s_that_means_something_elsewhere_is_an_error(
    name: str, provider: str, code: ErrorCode, told: str
) -> None:
    error = refused(name, provider=provider)
    assert error.code is code
    assert told in error.detail


def test_what_a_name_was_found_to_mean_is_kept_but_for_chains_that_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names({}, {"turning": Combo(("gemini/a", "gemini/b"), Order.ROUND_ROBIN)})
    turns = iter(range(9))
    meanings = Meanings()

    def of(name: str, provider: str | None = None) -> Wanted:
        return meanings.of(Place(provider=provider), name, names, SERVED, lambda _: next(turns))

    assert of("gemini/m") is of("gemini/m") == wanted("gemini/m")
    assert of("gemini-2.5-pro") != of("gemini-2.5-pro", "vertex")
    assert [of("turning").goals[0].model for _ in range(3)] == ["a", "b", "a"]
    monkeypatch.setattr(asking, "_MAX_KNOWN", 3)
    known = of("gemini/m")
    assert of("gemini/n").providers == ("gemini",)
    assert of("gemini/m") is not known, "forgotten with the others when there were too many"
    with pytest.raises(BrokerError, match="no provider"):
        of("nobody/m")
