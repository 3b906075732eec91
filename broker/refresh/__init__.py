"""Renewing tokens: when (plan, life, backoff: pure), what follows from an answer (outcome: pure), and the loop that acts (flight, attempt, engine)."""
