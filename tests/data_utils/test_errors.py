import pickle

from data_utils.errors import DataError, UnreadableImage


def test_unreadable_image_names_file_reason_and_remedy() -> None:
    error = UnreadableImage("train/a.jpg", "truncated")
    assert isinstance(error, DataError)
    for part in ("train/a.jpg", "truncated", "data.unreadable: skip"):
        assert part in str(error)


def test_unreadable_image_passes_between_processes() -> None:
    error = pickle.loads(pickle.dumps(UnreadableImage("a.jpg", "truncated")))
    assert (error.path, error.reason) == ("a.jpg", "truncated")
