"""The providers of API keys pass their contract."""

from tests.contract.key_contract import KeyContract


class TestGeminiApi(KeyContract):
    name = "gemini-api"


class TestOpenaiApi(KeyContract):
    name = "openai-api"


class TestAnthropicApi(KeyContract):
    name = "anthropic-api"


class TestOpenaiCompatible(KeyContract):
    name = "openai-compatible"
    base_url = "https://llm.example.com/v1"


class TestAnthropicCompatible(KeyContract):
    name = "anthropic-compatible"
    base_url = "https://llm.example.com"
