"""my_baseline (author and year, BibTeX key): say in a sentence what it computes."""

from sklearn.kernel_ridge import KernelRidge


def build(problem, settings):
    """Return the estimator, not fitted: fit(inputs, targets), predict(inputs); a classifier offers predict_proba.

    It gets NumPy arrays, inputs of shape (samples, problem.inputs) and targets of shape (samples,), or
    (samples, outputs) where there are several. What it draws it draws from NumPy's global generator, which is seeded.
    """
    return KernelRidge(kernel="rbf", gamma=settings["gamma"], alpha=settings["alpha"])


def count_parameters(estimator):
    """Return how many numbers the fitted estimator has learned; without this function the count is null."""
    return estimator.dual_coef_.size


# Optional, found by name: declines(problem, settings) -> reason or None, describe(estimator) -> dict for the record.
