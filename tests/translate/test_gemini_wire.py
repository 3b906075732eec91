"""Field names of a Gemini answer, as documented."""

import msgspec

from broker.translate.gemini_wire import WireAnswer, WireEnvelope


def test_every_field_is_found_under_its_documented_name():
    body = b"""{
     "candidates": [{"index": 1, "finishReason": "STOP",
       "content": {"parts": [{"text": "t", "thought": true, "thoughtSignature": "s",
          "inlineData": {"mimeType": "image/png", "data": "A"}, "functionCall": {"name": "f", "args": {"a": 1}}}]},
       "logprobsResult": {"chosenCandidates": [{"token": "a", "logProbability": -1}],
                          "topCandidates": [{"candidates": [{"token": "a", "logProbability": -1}]}]}}],
     "promptFeedback": {"blockReason": "SAFETY"},
     "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "toolUsePromptTokenCount": 4,
                       "cachedContentTokenCount": 5},
     "responseId": "r", "modelVersion": "v", "createTime": "c", "somethingNew": {}}"""
    answer = msgspec.json.decode(body, type=WireAnswer)
    candidate = answer.candidates[0]
    part = candidate.content.parts[0]
    assert (candidate.index, candidate.finish, part.text, part.thought, part.signature) == (1, "STOP", "t", True, "s")
    assert (part.blob.mime, msgspec.json.decode(part.blob.data), part.call.name, bytes(part.call.args)) == (
        "image/png",
        "A",
        "f",
        b'{"a": 1}',
    )
    assert candidate.logprobs.chosen[0].logprob == candidate.logprobs.top[0].candidates[0].logprob == -1.0
    usage = answer.usage
    assert (usage.prompt, usage.candidates, usage.thoughts, usage.tool_prompt, usage.cached) == (1, 2, 3, 4, 5)
    assert (answer.id, answer.model, answer.created, answer.feedback.block, answer.error) == (
        "r",
        "v",
        "c",
        "SAFETY",
        None,
    )


def test_nulls_are_as_good_as_absence():
    assert (
        msgspec.json.decode(b'{"response":{"candidates":null,"usageMetadata":null}}', type=WireEnvelope).response
        == WireAnswer()
    )
