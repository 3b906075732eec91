"""Which work serves which kind of request.

Owns: the choice of a work by what a path asks for, and the dialect a path speaks. Pure.
"""

from broker.model.errors import BrokerError, ErrorCode
from broker.proxy.context import Context
from broker.proxy.routes import (
    ChatCompletions,
    Compact,
    CountMessages,
    CountTokens,
    Embeddings,
    Generate,
    Images,
    Responses,
    Target,
)
from broker.proxy.wire.heads import RequestHead
from broker.proxy.works import GeminiWork, TalkWork, Work
from broker.proxy.works_compact import CompactWork
from broker.proxy.works_embeddings import EmbeddingsWork
from broker.proxy.works_images import ImagesWork
from broker.translate.codecs import Dialect


def work_of(target: Target, head: RequestHead, body: bytes, context: Context) -> Work:
    """Read a request.

    Raises:
        BrokerError: `bad_request` naming the field, `not_found` where nothing serves the model.
    """
    if isinstance(target, Generate | CountTokens):
        return GeminiWork(target, head, body, context)
    if head.get(b"content-encoding") not in (None, b"identity"):
        raise BrokerError(ErrorCode.BAD_REQUEST, "content-encoding: bodies are read as they are; send it uncompressed")
    if isinstance(target, Embeddings):
        return EmbeddingsWork(head, body, context)
    if isinstance(target, Compact):
        return CompactWork(head, body, context)
    if isinstance(target, Images):
        return ImagesWork(head, body, context, edits=target.edits)
    return TalkWork(_spoken(target), head, body, context, count=isinstance(target, CountMessages))


def _spoken(target: Target) -> Dialect:
    match target:
        case ChatCompletions():
            return Dialect.OPENAI_CHAT
        case Responses():
            return Dialect.RESPONSES
        case _:
            return Dialect.CLAUDE
