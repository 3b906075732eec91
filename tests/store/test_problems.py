import logging

import pytest

from broker.store.problems import Problems


def test_a_problem_is_logged_once_and_lasts(caplog: pytest.LogCaptureFixture) -> None:
    problems = Problems()
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            problems.report("a", "a is empty", fault="empty", file="a")
        problems.report("b", "b is half")
        assert problems.sentences() == ("a is empty", "b is half")
        problems.report("a", "a is no JSON")
        problems.clear("a")
        problems.clear("a")
    assert problems.sentences() == ("b is half",)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "WARNING", "INFO"]
