"""Images to arrays: sources, splits, cache, augmentation, audit. Knows no model and no Ray.

Import from the modules: `config` (DataConfig), `sources.opening` (open_source), `cache` (prepare, open_arrays), `fractions`
(select_fraction), `augmentation` (torch), `audit` and `preview`. Importing the package itself loads nothing.
"""
