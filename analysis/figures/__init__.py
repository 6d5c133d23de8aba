"""Figures of a study, one module each in three layers: records -> small table, table -> ``go.Figure``, public name.

Import them from their modules, e.g. ``from analysis.figures.fraction_curve import fraction_curve``; all of them with
their captions come from `analysis.figures.registry.figures`.
"""
