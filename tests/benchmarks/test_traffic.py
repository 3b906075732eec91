"""What is sent and answered while measuring has the size it is said to have, and finds its way at the upstream."""

import json

import pytest

from benchmarks import traffic
from benchmarks.suites.day import LEAD_SECONDS, left_at_start, life, planned
from benchmarks.suites.no_lease import total


def body(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("size", [traffic.SIZE, traffic.LARGE])
@pytest.mark.parametrize("stream", [False, True])
def test_requests_are_json_of_their_size(size: int, stream: bool) -> None:
    for request in (
        traffic.gemini(traffic.WHOLE, stream=stream, size=size),
        traffic.openai("gemini-bench", stream=stream, size=size),
    ):
        assert len(body(request)) == size
        assert json.loads(body(request))
        assert f"\r\nContent-Length: {size}\r\n".encode() in request
    assert json.loads(body(traffic.openai("claude-bench", stream=stream))).get("stream", False) is stream


def test_answers_are_whole_and_of_one_size() -> None:
    assert [len(text) for text in (traffic.gemini_answer(), traffic.claude_answer())] == [traffic.SIZE] * 2
    assert json.loads(traffic.code_assist_answer())["response"] == json.loads(traffic.gemini_answer())


def test_chunks_have_one_stamp_and_about_one_length() -> None:
    chunks = [traffic.gemini_stream()[1], traffic.claude_stream()[1]]
    assert [chunk.count(traffic.STAMP) for chunk in chunks] == [1, 1]
    assert max(map(len, chunks)) < 1.15 * min(map(len, chunks))


def test_every_pace_has_a_route_at_each_vendor() -> None:
    files = dict.fromkeys(traffic.answers(), "file")
    found = {(route[0], route[1]): route[2:] for route in traffic.routes(files)}
    for model, seconds in traffic.INTERVALS.items():
        for place in ((f"/v1beta/models/gemini-{model}:", ""), ("/v1/messages", f'"claude-{model}"')):
            assert found[place][0] == "stream"
            assert found[place][-2:] == [str(round(seconds * 1e6)), "0"]
    assert traffic.routes(files)[-1] == ["/", "", "whole", "file"]


def test_the_plan_of_a_day_is_what_the_lives_make_of_it() -> None:
    assert [left_at_start(number, 3) for number in range(3)] == [
        LEAD_SECONDS + (life(number) - LEAD_SECONDS) * (number + 1) / 3 for number in range(3)
    ]
    # One account with tokens of an hour, the first of them fresh: renewed every 3,300 s.
    assert planned(1, 1) == 1
    assert planned(1, 11) == 12
    assert planned(1, 24) == 24 * 3600 // 3300


def test_a_counter_is_added_up_over_its_labels() -> None:
    text = 'a_total{x="1"} 2.0\na_total{x="2"} 3.0\na_total_created 9\nb_total 7\n# a_total 5\na_total 1\n'
    assert total(text, "a_total") == 6.0
    assert total(text, "c_total") == 0.0
