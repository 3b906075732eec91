"""How the running program is watched: logs with redaction, request context, metrics, tasks with names. And how it sees that files changed (`watch`)."""
