"""The small synchronous client with types, for commands that can afford msgspec.

Owns: turning the answers of `broker.ipc.sync_client` into messages, and problem documents into errors.
"""

import json
from os import PathLike
from typing import TypeVar

import msgspec

from broker.ipc.schema import Problem, decode, encode, error_of
from broker.ipc.sync_client import request
from broker.model.errors import BrokerError, ErrorCode

__all__ = ["call"]

T = TypeVar("T")


def call(
    socket_path: "str | PathLike[str]",
    shape: type[T],
    method: str,
    target: str,
    message: object = None,
    *,
    timeout: float = 10.0,
) -> T:
    """Send one request, `message` (a struct of the schema) as its body, and read the answer as a `shape`.

    Raises:
        BrokerError: what the daemon's problem document says, or what `sync_client.request` raises.
    """
    body = None if message is None else json.loads(encode(message))
    status, answer = request(socket_path, method, target, body, timeout=timeout)
    data = msgspec.json.encode(answer)
    if status < 400:
        return decode(data, shape)
    try:
        problem = decode(data, Problem)
    except BrokerError:
        raise BrokerError(ErrorCode.INTERNAL, f"the daemon answered {status} without saying why") from None
    raise error_of(problem)
