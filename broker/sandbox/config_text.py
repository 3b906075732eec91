"""The part of a ccs-broker configuration that points its providers and upstreams at a sandbox.

Owns: that text. Pure.
"""

import msgspec

PROVIDER = "sandbox"


def config_toml(url: str, client_id: str, client_secret_file: str) -> str:
    """Return TOML for a sandbox at `url`: its built-in and a generic provider, and its upstreams.

    `client_secret_file` is the path of the file the secret was written to.
    """
    client = f"client_id = {_quoted(client_id)}\nclient_secret_file = {_quoted(client_secret_file)}\n"
    return (
        "[providers.gemini]\n"
        f"authorize_url = {_quoted(url + '/authorize')}\n"
        f"token_url = {_quoted(url + '/token')}\n"
        f"revoke_url = {_quoted(url + '/revoke')}\n"
        f"userinfo_url = {_quoted(url + '/userinfo')}\n"
        f"api_url = {_quoted(url)}\n"
        "redirect_port = 0\n"
        f"{client}\n"
        f"[providers.{PROVIDER}]\n"
        'kind = "oauth2"\n'
        f"issuer = {_quoted(url)}\n"
        f"{client}"
        'scopes = ["openid", "email"]\n'
        "redirect_port = 0\n\n"
        f"[upstreams.codeassist]\nbase_url = {_quoted(url)}\n\n"
        f"[upstreams.gemini]\nbase_url = {_quoted(url)}\n"
    )


def _quoted(text: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")
