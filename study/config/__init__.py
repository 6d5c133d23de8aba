"""Every setting of a study, its meaning and its default; configuration files and how two of them differ; passwords masked.

The ground of the package, with the named configurations in `presets/`. May use `study.errors` and `data_utils.config`.
"""
