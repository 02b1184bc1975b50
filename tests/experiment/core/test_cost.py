from experiment.core.cost import cost, in_words

FOLDS = [
    {
        "seconds": 100.0, "stages": {"train": 60.0, "features": 30.0, "svm": 0.5}, "images": {"train": 3000, "features": 1500},
        "steps": {"model": 54.0, "loader": 1.0}, "peak_memory_mib": 1024,
    },
    {"seconds": 50.0, "stages": {"train": 40.0}, "images": {"train": 2000}, "steps": {"model": 36.0}, "peak_memory_mib": 2048},
    {"seconds": 1.0},
]  # fmt: skip


def test_folds_are_summed_and_memory_is_that_of_the_largest() -> None:
    assert cost(FOLDS) == {
        "seconds": 151.0,
        "stages": {"train": 100.0, "features": 30.0, "svm": 0.5},
        "images_per_second": {"train": 50.0, "features": 50.0},
        "model_busy": round(90 / 91, 4),
        "peak_memory_mib": 2048,
    }


def test_a_person_reads_one_line() -> None:
    assert in_words(cost(FOLDS)) == (
        "2.5 min: train 1.7 min (50 images/s, model busy 99%), features 30 s (50 images/s); peak memory 2.0 GiB"
    )


def test_folds_that_say_nothing_cost_nothing() -> None:
    assert cost([{}]) == {"seconds": 0, "stages": {}, "images_per_second": {}}
    assert in_words(cost([{}])) == "0 s"
