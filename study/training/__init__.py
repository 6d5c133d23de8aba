"""One training of one network on one device: batches, loss, optimiser, pretrained encoders and their features, replay.

Uses torch, `models` and `data_utils`. Knows neither Ray nor which trial comes next.
"""
