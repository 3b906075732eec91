"""The request log: what passed, one folder a request, with secrets masked and long strings cut. Off unless the config says so."""
