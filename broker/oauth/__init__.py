"""OAuth 2 as the standards have it, as generators of requests.

Pure: a flow yields `HttpRequest` values and receives `HttpResponse` values; whoever runs it owns the network. It must never know
a vendor, read a clock or draw a random number: verifiers, states and `now` come in as arguments.
"""
