"""What is particular to each vendor's logins: endpoints, scopes, file format, quirks, steps after a login.

Pure, one file a vendor, listed in `broker.providers.registry`. The API side of a vendor (URLs and headers of requests for models) lives in
`broker.proxy.upstreams`, never here.
"""
