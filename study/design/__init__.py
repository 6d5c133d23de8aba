"""What a study compares: arms, points, trials and what they report, and the checks of a configuration against its images.

Plain values without side effects. May use `config`, `analysis.records`, `analysis.metrics` and `data_utils`; the checks ask
`models` which classifiers there are.
"""
