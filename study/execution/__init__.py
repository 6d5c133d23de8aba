"""Trials on Ray: the session, the trainable, the adapters between Tune and our own search, and how many trials fit.

The only room besides `cluster` that imports Ray. Rules about trials are not here: they are in `search` and `design`.
"""
