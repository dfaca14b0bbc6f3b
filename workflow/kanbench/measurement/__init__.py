"""What a training step costs, as numbers.

In comes a model and a step. Out go counted parameters, times and peaks of memory, measured on a GPU or followed
tensor by tensor without one (`measure`), and the closed form that predicts them (`memory_model`).

Imports `base`.
"""
