"""Gemini answers made of pieces (`tests.contract.codec_contract.Piece`), whole and in chunks."""

import json


def part(piece):
    kind, content = piece
    if kind == "image":
        return {"inlineData": {"mimeType": "image/png", "data": content}}
    if kind == "call":
        return {"functionCall": {"name": "f", "args": json.loads(content)}}
    return {"text": content} | ({"thought": True} if kind == "thinking" else {})


def answer(pieces, **fields):
    return {
        "candidates": [{"content": {"parts": [part(p) for p in pieces]}, **fields}],
        "responseId": "r",
        "newField": [1],
    }


def chunked(pieces, wrap=lambda chunk: chunk):
    chunks = [answer([piece]) for piece in pieces] + [
        {**answer([], finishReason="STOP"), "usageMetadata": {"promptTokenCount": 3}}
    ]
    return [json.dumps(wrap(chunk), ensure_ascii=False).encode() for chunk in chunks]


def framed(datas, line_end, comments):
    return b"".join((b": c" + line_end if comments else b"") + b"data: " + data + line_end * 2 for data in datas)
