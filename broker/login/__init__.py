"""Logging a person in: sessions, the loopback callback, the browser, and where client registrations are found.

A login ends in a `Record` that is handed over; this room never stores one. What a request says and what an answer means is decided in `broker.oauth` and
`broker.providers`.
"""
