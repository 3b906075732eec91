"""Counting, keeping and masking."""

from hypothesis import given
from hypothesis import strategies as st

from broker.sandbox.stats import RequestNote, Stats, TokenPost, UpstreamCall, digest8, mask


def test_masking_keeps_what_tells_tokens_apart():
    body = {
        "refresh_token": "fake-1",
        "list": [{"code": "fake-2"}],
        "n": 3,
        "Authorization": "Bearer fake-3",
        "text": "x",
    }
    assert mask(body) == {
        "refresh_token": digest8("fake-1"),
        "list": [{"code": digest8("fake-2")}],
        "n": 3,
        "Authorization": f"Bearer {digest8('fake-3')}",
        "text": "x",
    }
    assert mask("y" * 2001) == "<2001 characters>"
    assert digest8("a") != digest8("b")


@given(st.text(min_size=1), st.sampled_from(["client_secret", "code_verifier", "key", "token", "x-goog-api-key"]))
def test_no_secret_survives(value, name):
    masked = mask({name: value})[name]
    assert "sha256:" in masked
    assert masked.rpartition(" ")[2] == digest8(value.partition(" ")[2] if " " in value else value)


def test_counts():
    stats = Stats(requests_kept=2)
    for outcome in ("ok", "ok", "invalid_grant"):
        stats.token_post(TokenPost(1.0, "refresh_token", outcome, None, "a"))
    stats.token_post(TokenPost(1.0, "authorization_code", "ok", None, "a"))
    stats.upstream_call(UpstreamCall(1.0, "models", None, "a", 200, None))
    stats.upstream_call(UpstreamCall(1.0, "models", None, "a", None, "drop"))
    assert stats.refresh_posts == 3
    assert stats.posts("refresh_token", "ok") == 2
    assert (stats.calls(), stats.calls("models"), stats.calls("models", 200), stats.calls("x")) == (2, 2, 1, 0)
    for number in range(3):
        stats.note(RequestNote(float(number), "GET", "/", {}, {}, None, None))
    assert [note.at for note in stats.requests] == [1.0, 2.0]
    snapshot = stats.snapshot()
    assert snapshot["token"]["by_grant_type"]["refresh_token"] == {"ok": 2, "invalid_grant": 1}
    assert snapshot["upstream"]["by_endpoint"] == {"models": {"200": 1, "None": 1}}
    stats.reuse_detections = 1
    stats.reset()
    assert stats.snapshot()["token"]["total"] == stats.reuse_detections == len(stats.requests) == 0
