"""One file for each vendor API the proxy talks to: URLs, headers and envelopes of the API side. Pure; bytes are moved by others."""
