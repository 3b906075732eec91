import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.errors import BrokerError, ErrorCode
from broker.model.network import (
    Direct,
    Environment,
    Level,
    Network,
    NoProxy,
    ProxyServer,
    Route,
    Scheme,
    Setting,
    Target,
    Unusable,
    is_loopback_host,
    no_proxy_faults,
    of_environment,
    read,
)
from broker.model.secret import Secret

API = Target("api.example.com", 443)
A, B, C, D = (ProxyServer(Scheme.HTTP, f"{name}.example", 3128) for name in "abcd")


def setting(text: str, *, bare: bool = False) -> Setting:
    return read(Secret(text), bare=bare)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("http://out.example", ProxyServer(Scheme.HTTP, "out.example", 80)),
        ("HTTP://Out.Example.:3128/", ProxyServer(Scheme.HTTP, "out.example", 3128)),
        ("https://out.example", ProxyServer(Scheme.HTTPS, "out.example", 443)),
        ("socks5://127.0.0.1", ProxyServer(Scheme.SOCKS5, "127.0.0.1", 1080)),
        (" socks5h://[::1]:9050 ", ProxyServer(Scheme.SOCKS5H, "::1", 9050)),
        ("http://me:p%40ss@out.example", ProxyServer(Scheme.HTTP, "out.example", 80, Secret("me"), Secret("p@ss"))),
        ("http://me@out.example", ProxyServer(Scheme.HTTP, "out.example", 80, Secret("me"), Secret(""))),
    ],
)
def test_what_a_proxy_can_be(text: str, server: ProxyServer) -> None:
    assert setting(text) == server


@pytest.mark.parametrize("text", ["direct", "none", " DIRECT ", "None"])
def test_words_for_no_proxy(text: str) -> None:
    assert setting(text) == Direct()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is neither http://, https://, socks5:// nor socks5h://"),
        ("out.example:3128", "is neither http://, https://, socks5:// nor socks5h://"),
        ("socks4://out.example", "is neither http://, https://, socks5:// nor socks5h://"),
        ("socks://out.example", "is neither http://, https://, socks5:// nor socks5h://"),
        ("http://", "names no host"),
        ("http://:3128", "names no host"),
        ("http://ha_lf-/", "names no host"),
        ("http://out.example/path", "has more than a host and a port"),
        ("http://out.example?q=1", "has more than a host and a port"),
        ("http://out.example#f", "has more than a host and a port"),
        ("http://out.example:0", "has port 0"),
        ("http://out.example:99999", "is no URL"),
        ("http://out.example:port", "is no URL"),
        ("http://[::1", "is no URL"),
        ("http://a%3Ab:c@out.example", "has a user name or password no proxy can be sent"),
        ("http://a:b%0Dc@out.example", "has a user name or password no proxy can be sent"),
        (f"http://{'u' * 256}:c@out.example", "has a user name or password no proxy can be sent"),
        ("http://fücks.example", "is no URL"),
        ("http://out\x00.example", "is no URL"),
        (f"http://{'a' * 2000}", "is no URL"),
    ],
)
def test_what_it_cannot_be(text: str, why: str) -> None:
    assert setting(text) == Unusable(why)


@given(st.text(max_size=60))
def test_reading_never_raises_and_never_shows(text: str) -> None:
    found = setting(f"http://user:{text}@out.example:1")
    assert isinstance(found, (ProxyServer, Unusable))
    if len(text) > 12:
        assert text not in repr(found)


def test_a_server_shows_where_it_is_and_not_who_may_use_it() -> None:
    server = setting("socks5h://me:canary-pass@[::1]:1081")
    assert isinstance(server, ProxyServer)
    assert (server.address, server.shown) == ("[::1]:1081", "socks5h://[::1]:1081")
    assert "canary-pass" not in repr(server)
    assert A.address == "a.example:3128"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://a.example/v1", Target("a.example", 443)),
        ("http://[::1]:8080", Target("::1", 8080, secure=False)),
        ("http://a.example", Target("a.example", 80, secure=False)),
    ],
)
def test_targets(url: str, target: Target) -> None:
    assert Target.of(url) == target


@pytest.mark.parametrize("url", ["ftp://a.example", "https://", "https://a.example:99999", "a.example"])
def test_no_targets(url: str) -> None:
    with pytest.raises(ValueError, match=r"no http|[Pp]ort"):
        Target.of(url)


NO = NoProxy.of


@pytest.mark.parametrize(
    ("entry", "host", "port", "covered"),
    [
        ("example.com", "example.com", 443, True),
        ("example.com", "api.example.com", 443, True),
        ("example.com", "EXAMPLE.com.", 443, True),
        ("example.com", "notexample.com", 443, False),
        (".example.com", "api.example.com", 443, True),
        (".example.com", "example.com", 443, False),
        ("*.example.com", "a.b.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("example.com:8443", "example.com", 8443, True),
        ("example.com:8443", "example.com", 443, False),
        ("*", "anything.test", 1, True),
        ("192.0.2.0/24", "192.0.2.77", 443, True),
        ("192.0.2.0/24", "192.0.3.77", 443, False),
        ("192.0.2.0/24", "a.192.0.2.0", 443, False),
        ("192.0.2.7", "192.0.2.7", 443, True),
        ("192.0.2.7:80", "192.0.2.7", 443, False),
        ("192.0.2.7:443", "192.0.2.7", 443, True),
        ("2001:db8::/32", "2001:db8::1", 443, True),
        ("2001:db8::1", "[2001:db8::1]", 443, True),
        ("[2001:db8::1]:8080", "2001:db8::1", 8080, True),
        ("[2001:db8::1]:8080", "2001:db8::1", 443, False),
        ("[2001:db8::1]", "2001:db8::1", 443, True),
        ("192.0.2.0/24", "2001:db8::1", 443, False),
    ],
)
def test_hosts_that_need_no_proxy(entry: str, host: str, port: int, covered: bool) -> None:
    assert no_proxy_faults([entry]) == ()
    assert NO(["other.test", entry]).covers(Target(host, port)) is covered


def test_what_is_no_entry_covers_nothing() -> None:
    bad = ["", "  ", "ex ample", "http://a.example", "a.example:0", "a.example:70000", "a..!", "10.0.0.0/33", "*."]
    assert no_proxy_faults(bad) == tuple(bad)
    assert NO(bad) == NoProxy()


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_loopback(host: str) -> None:
    assert is_loopback_host(host)


@pytest.mark.parametrize("host", ["localhost.example", "128.0.0.1", "::2", "notlocalhost"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback_host(host)


FULL = Network(
    {"codex": B, "gemini": Direct()}, C, Environment(("HTTPS_PROXY", D), ("HTTP_PROXY", D)), NO(["internal.test"])
)
ENV_ONLY = Network(environment=Environment(("https_proxy", D), None))


@pytest.mark.parametrize(
    ("network", "provider", "own", "target", "level", "found"),
    [
        (FULL, "codex", "http://a.example:3128", API, Level.ACCOUNT, A),
        (FULL, "codex", "direct", API, Level.ACCOUNT, None),
        (FULL, "codex", None, API, Level.PROVIDER, B),
        (FULL, "gemini", None, API, Level.PROVIDER, None),
        (FULL, "claude", None, API, Level.GLOBAL, C),
        (FULL, None, None, API, Level.GLOBAL, C),
        (ENV_ONLY, "claude", None, API, Level.ENVIRONMENT, D),
        (ENV_ONLY, "claude", None, Target("api.example.com", 80, secure=False), Level.NONE, None),
        (Network(everywhere=Direct(), environment=ENV_ONLY.environment), "claude", None, API, Level.GLOBAL, None),
        (Network(), "claude", None, API, Level.NONE, None),
        # What holds for all is not asked for loopback and exceptions; what is said of one account or provider is.
        (FULL, "claude", None, Target("127.0.0.1", 443), Level.NONE, None),
        (FULL, "claude", None, Target("x.internal.test", 443), Level.NONE, None),
        (FULL, "codex", None, Target("127.0.0.1", 443), Level.PROVIDER, B),
        (FULL, "codex", None, Target("internal.test", 443), Level.PROVIDER, B),
        (FULL, "claude", "http://a.example:3128", Target("localhost", 443), Level.ACCOUNT, A),
        (ENV_ONLY, None, None, Target("::1", 443), Level.NONE, None),
    ],
)
def test_precedence(
    network: Network, provider: str | None, own: str | None, target: Target, level: Level, found: ProxyServer | None
) -> None:
    route = network.route(provider, Secret(own) if own is not None else None, target)
    assert (route.level, route.proxy()) == (level, found)
    assert route.source


def test_a_setting_that_cannot_be_used_is_not_skipped() -> None:
    network = Network({"codex": Unusable("is no URL")}, C)
    for route in (
        network.route("codex", None, API),
        network.route("claude", Secret("ftp://user:canary-pass@x.example"), API),
        Network(environment=of_environment({"HTTPS_PROXY": "socks4://x.example"})).route(None, None, API),
    ):
        with pytest.raises(BrokerError, match="so nothing is sent") as caught:
            route.proxy()
        assert caught.value.code is ErrorCode.MISCONFIGURED
        assert "canary-pass" not in caught.value.detail + caught.value.hint
    assert Route(Level.NONE, "x").proxy() is None


def test_whether_anything_is_set() -> None:
    assert Network().silent
    assert Network(exempt=NO(["a.example"])).silent
    assert not Network({"codex": B}).silent
    assert not Network(everywhere=Direct()).silent
    assert not ENV_ONLY.silent
    assert not Network(environment=Environment(None, ("http_proxy", D))).silent


@pytest.mark.parametrize(
    ("env", "secure", "plain"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": "http://a.example:3128"}, ("HTTPS_PROXY", A), None),
        ({"HTTPS_PROXY": "http://b.example:3128", "https_proxy": "a.example:3128"}, ("https_proxy", A), None),
        ({"HTTPS_PROXY": "http://a.example:3128", "https_proxy": " "}, ("HTTPS_PROXY", A), None),
        ({"HTTP_PROXY": "http://a.example:3128"}, None, ("HTTP_PROXY", A)),
        ({"HTTP_PROXY": "http://a.example:3128", "REQUEST_METHOD": "GET"}, None, None),
        ({"http_proxy": "http://a.example:3128", "REQUEST_METHOD": "GET"}, None, ("http_proxy", A)),
        ({"ALL_PROXY": "http://a.example:3128"}, ("ALL_PROXY", A), ("ALL_PROXY", A)),
        ({"all_proxy": "a.example:3128", "HTTPS_PROXY": "b.example:3128"}, ("HTTPS_PROXY", B), ("all_proxy", A)),
        ({"HTTPS_PROXY": "direct"}, ("HTTPS_PROXY", Direct()), None),
    ],
)
def test_the_environment(
    env: dict[str, str], secure: tuple[str, Setting] | None, plain: tuple[str, Setting] | None
) -> None:
    found = of_environment(env)
    assert (found.secure, found.plain) == (secure, plain)


def test_exceptions_of_the_environment() -> None:
    assert of_environment({"NO_PROXY": "a.example, b.example\t10.0.0.0/8"}).no_proxy == (
        "a.example", "b.example", "10.0.0.0/8",
    )  # fmt: skip
    assert of_environment({"NO_PROXY": "a.example", "no_proxy": "b.example"}).no_proxy == ("b.example",)
