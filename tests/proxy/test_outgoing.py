import msgspec

from broker.ipc.schema import Lease
from broker.model.policy import Payload, Setting
from broker.proxy.naming import Goal, Wanted
from broker.proxy.outgoing import again, written
from broker.proxy.policies import Policies, edits_of
from broker.proxy.upstreams.base import Ask, Sent
from tests.fakes.works import API, LEASE

ASK = Ask("gemini-2.5-pro")
WANTED = Wanted("gemini-2.5-pro", (Goal("gemini-2.5-pro", ("gemini",)),))


def test_rules_come_after_the_upstream_s_own_writing() -> None:
    plain = written(None, API, LEASE, ASK, [], b"{}")
    assert plain == API.request(LEASE, ASK, [], b"{}")
    edits = edits_of(Policies.of({}, Payload(override=(Setting(path="x", value=1),))), WANTED, None, count=False)
    assert edits is not None
    assert written(edits, API, LEASE, ASK, [], b"{}") == msgspec.structs.replace(plain, body=b'{"x":1}')


def test_all_but_the_body_stands_for_the_next_request() -> None:
    made: dict[object, object] = {}
    asked: list[bytes] = []

    def sent(body: bytes, key: str = "key", lease: Lease = LEASE) -> Sent:
        def make() -> Sent:
            asked.append(body)
            return written(None, API, lease, ASK, [], body)

        return again(made, key, lease, body, make)

    first = sent(b"one")
    assert sent(b"two") == msgspec.structs.replace(first, body=b"two")
    assert sent(b"two").headers is first.headers
    assert asked == [b"one"]
    assert sent(b"three", "another key").body == b"three"
    assert sent(b"four", "another key", msgspec.structs.replace(LEASE)).body == b"four"
    assert asked == [b"one", b"three", b"four"]
    assert b"four" not in str(made).encode()
