"""Where images come from: one module for each kind of source, and the protocol that all of them follow (`source`).

A source lists and decodes images; splits, cache and fractions are made elsewhere. `opening` imports every source, and only the
cache and the commands import `opening`. Modules here may use `data_utils.config`, `decoding`, `errors` and `drawing`.
"""
