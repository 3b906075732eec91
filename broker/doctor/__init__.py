"""Finding what is wrong on this machine, and mending what can be mended without risk.

Pure: `finding`, `catalogue`, `facts` and `rules`, which judge what was seen. `look` sees, `mend` acts, `examine` brings them together. Nothing here may
write to an auth file, spend a token or ask a provider anything.
"""
