"""A study's records, written for the tools that people already look at: TensorBoard, MLflow, Weights & Biases.

An export is made from the records, at the end of a study or any time later; the next one replaces it. May use `arms`, `records`,
`hyperparameters`.
"""
