"""Images to arrays: sources, splits, caches, augmentation, audit. Knows no model and no Ray.

The doors are `config` (DataConfig), `cache` (prepare), `arrays` (ImageArrays, open_arrays), `fractions` (select_fraction),
`augmentation`, `audit` and `preview`. `cache` uses `cache_building`, which uses `image_storing`, `splits` and `leaks`; `sources`
and `drawing` are rooms below. Only `augmentation` imports torch. Importing the package itself loads nothing.
"""
