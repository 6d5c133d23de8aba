"""Where images come from: one module for each kind of source, and the protocol that all of them follow (`source`).

A source lists and decodes images; splits, cache and fractions are made elsewhere. `opening` imports every source; of the modules
of `data_utils` only the cache imports `opening`. Modules here may use `data_utils.config`, `decoding`, `errors` and `drawing`.
"""
