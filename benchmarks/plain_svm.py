"""SVM of the plain scripts: scikit-learn's pipeline, grid search and cross-validated decisions."""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC


def svm_probabilities(
    x: NDArray[np.float32], target: NDArray[np.int64], group: NDArray[np.object_], test: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Predict the probability of class 1 for `test` (M, F), (M,), by an SVM that is tuned and calibrated on `x` (N, F)."""
    inner = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    scaled_svm = make_pipeline(StandardScaler(), SVC(class_weight="balanced"))
    grid = {"svc__C": [0.1, 1, 10, 100], "svc__gamma": [width / x.shape[1] for width in (0.0625, 0.25, 1, 4)]}
    search = GridSearchCV(scaled_svm, grid, scoring="roc_auc", cv=inner, n_jobs=-1).fit(x, target, groups=group)
    held_out = cross_val_predict(
        search.best_estimator_, x, target, groups=group, cv=inner, method="decision_function", n_jobs=-1
    )
    # Platt's sigmoid. CalibratedClassifierCV fits the same one, but without class weights.
    sigmoid = LogisticRegression(C=1e6, class_weight="balanced").fit(held_out[:, None], target)
    p: NDArray[np.float64] = sigmoid.predict_proba(search.decision_function(test)[:, None])[:, 1]
    return p
