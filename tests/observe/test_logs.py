import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest

from broker.model.account import AccountId
from broker.model.secret import Secret
from broker.observe.logs import Format, configure, log_id, request_id

log = logging.getLogger("broker.test")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("broker")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    logging.captureWarnings(capture=False)


def logged(form: Format, level: str = "debug") -> io.StringIO:
    stream = io.StringIO()
    configure(level, form, stream)
    return stream


def test_text_is_one_line_an_event() -> None:
    stream = logged("text")
    log.info(
        "refresh ended", extra={"provider": "acme", "seconds": 0.5, "reason": "two words", "nothing": None, "empty": ""}
    )
    line = stream.getvalue()
    assert line.endswith(
        ' info broker.test: refresh ended provider=acme seconds=0.5 reason="two words" nothing=None empty=""\n'
    )
    assert line[:4].isdecimal()
    assert line.split(" ", 1)[0].endswith("Z")


def test_json_is_one_object_an_event() -> None:
    stream = logged("json")
    log.warning("lease refused", extra={"provider": "acme", "n": 1, "ok": True})
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "broker.test",
        "event": "lease refused",
        "provider": "acme",
        "n": 1,
        "ok": True,
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_credential_is_written(form: Format) -> None:
    stream = logged(form)
    try:
        raise ValueError("Bearer fake-access-1")
    except ValueError:
        log.exception(
            "sent %s with refresh_token=fake-refresh-1",
            Secret("fake-secret-1"),
            extra={
                "token": "fake-field-1",
                "wrapped": Secret("fake-wrapped-1"),
                "url": "http://x/?code=fake-code-1",
                "code": "login_required",
            },
        )
    text = stream.getvalue()
    assert "fake-" not in text
    assert "login_required" in text
    assert "ValueError" in text


def test_a_line_break_in_a_name_forges_no_line() -> None:
    stream = logged("text")
    log.info("file %s\nerror broker: forged", "x\r\ny", extra={"file": "a\nb"})
    assert stream.getvalue().count("\n") == 1


def test_the_request_id_ties_lines_together() -> None:
    stream = logged("json")
    mark = request_id.set("r-1")
    log.info("one")
    request_id.reset(mark)
    log.info("two")
    one, two = map(json.loads, stream.getvalue().splitlines())
    assert one["request"] == "r-1"
    assert "request" not in two


def test_levels_apply_to_ours_and_warnings_of_others_pass() -> None:
    stream = logged("text", "warning")
    log.info("quiet")
    logging.getLogger("aiohttp.server").info("quiet")
    logging.getLogger("aiohttp.server").warning("loud")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("also loud", stacklevel=1)
    text = stream.getvalue()
    assert "quiet" not in text
    assert "loud" in text
    assert "also loud" in text


def test_setting_up_twice_writes_once() -> None:
    logged("text")
    stream = logged("text")
    log.info("once")
    assert stream.getvalue().count("once") == 1


def test_an_account_is_logged_without_its_label() -> None:
    name = log_id(AccountId("acme", "alice@example.com"))
    assert name.startswith("acme/")
    assert "alice" not in name
    assert name == log_id(AccountId("acme", "alice@example.com")) != log_id(AccountId("acme", "bob@example.com"))
