"""The page at /docs.

Owns: its text. Self-contained: no script, no style sheet, font or image from elsewhere, nothing about accounts. Pure.
"""

from html import escape
from typing import Final

from broker.proxy.wire.heads import Headers

HEADERS: Final[Headers] = [
    (b"content-type", b"text/html; charset=utf-8"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]

_ENDPOINTS: Final = (
    ("POST /v1/chat/completions", "OpenAI chat completions, whole or streamed; images in and out, tools"),
    ("POST /v1/responses", "OpenAI Responses, whole or streamed; the client keeps the conversation"),
    ("POST /v1/messages", "Anthropic messages, whole or streamed; tools, images in, thinking"),
    ("POST /v1/messages/count_tokens", "Anthropic"),
    ("POST /v1/embeddings", "OpenAI embeddings"),
    ("POST /v1/images/generations, /v1/images/edits", "OpenAI images"),
    ("POST /v1/providers/PROVIDER/", "any of the paths above, without /v1, for accounts of one provider only"),
    ("POST /v1beta/models/MODEL:generateContent", "Gemini; also under /v1"),
    ("POST /v1beta/models/MODEL:streamGenerateContent", "the same as a stream; with ?alt=sse as server-sent events"),
    ("POST /v1beta/models/MODEL:countTokens", "Gemini"),
    ("GET /v1/models, /v1beta/models", "the models served, in the asking client's own shape"),
    ("GET /health", "how the proxy is; needs no key"),
    ("GET /metrics", "Prometheus"),
)

_CLIENTS: Final = (
    ("OpenAI SDK and programs with an OpenAI base URL", 'OPENAI_BASE_URL="{url}/v1"\nOPENAI_API_KEY="KEY"'),
    ("Claude Code", 'ANTHROPIC_BASE_URL="{url}"\nANTHROPIC_AUTH_TOKEN="KEY"\nANTHROPIC_MODEL="gemini-2.5-pro"'),
    ("google-genai SDK", 'genai.Client(api_key="KEY", http_options=HttpOptions(base_url="{url}"))'),
    ("gemini-cli", 'GOOGLE_GEMINI_BASE_URL="{url}"\nGEMINI_API_KEY="KEY"'),
    (
        "curl",
        (
            "curl {url}/v1/chat/completions -H 'Authorization: Bearer KEY' -H 'Content-Type: application/json' \\\n"
            '  -d \'{{"model": "gemini-2.5-flash", "messages": [{{"role": "user", "content": "Hello"}}]}}\''
        ),
    ),
)

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}"
    "code,pre{font:14px/1.5 ui-monospace,monospace;background:#f3f3f3;border-radius:4px}code{padding:.1em .3em}"
    "pre{padding:.8rem;overflow-x:auto}td{padding:.25rem .75rem .25rem 0;vertical-align:top}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}code,pre{background:#2a2a2a}}"
)


def docs(authority: str, version: str) -> bytes:
    """Write the page; `authority` is the host and port it was asked under."""
    url = f"http://{authority}"
    rows = "".join(f"<tr><td><code>{escape(path)}</code></td><td>{escape(text)}</td></tr>" for path, text in _ENDPOINTS)
    clients = "".join(f"<h3>{escape(name)}</h3><pre>{escape(text.format(url=url))}</pre>" for name, text in _CLIENTS)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>ccs-broker</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>ccs-broker {escape(version)}</h1>"
        "<p>This proxy sends requests on with the logins of the daemon beside it. Clients hold a key of this proxy and never see a token.</p>"
        f"<h2>Endpoints</h2><table>{rows}</table>"
        "<h2>Pointing a client here</h2><p><code>KEY</code> is one of <code>proxy.api_keys</code> in the config file, or "
        "<code>ccs-internal-managed</code> for programs of the same user on this machine. It is taken from "
        "<code>Authorization: Bearer</code>, <code>x-api-key</code>, <code>x-goog-api-key</code> or <code>?key=</code>.</p>"
        f"{clients}<h2>Model names</h2><p><code>MODEL</code> goes to whichever provider serves it; <code>PROVIDER/MODEL</code> "
        "names the provider, for example <code>gemini/gemini-2.5-pro</code>.</p>"
        "<h2>When nothing can serve</h2><p>The error says why for each account. "
        "<code>ccs-broker status</code> shows the same on the command line.</p></body></html>"
    ).encode()
