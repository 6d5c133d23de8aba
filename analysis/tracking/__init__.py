"""A study's records, written for the tools that people already look at: TensorBoard, MLflow, Weights & Biases.

Each is a projection: made from the records, at the end of a study or any time later, and made anew by the next export.
"""
