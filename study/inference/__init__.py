"""What a finished study is used for: prediction, evaluation on other images, export of its models.

Reads run directories through `analysis` and `storage`, computes through `training`. Knows neither Ray nor the search.
"""
