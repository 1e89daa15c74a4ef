from __future__ import annotations

from motherlode.training.words import about_passes


def test_passes_are_told_as_a_person_counts_them() -> None:
    assert about_passes({"all": 0.0312}, of_tokens=True) == "0.031 passes over the data"
    assert about_passes({"all": 4.26}, of_tokens=False) == "4.3 passes over the data"
    assert about_passes({"all": 1234.5}, of_tokens=False) == "1,234 passes over the data"
    assert about_passes({"wiki": 2.5, "code": 12.4}, of_tokens=True) == "passes over each source: wiki 2.5, code 12"


def test_many_passes_over_text_are_remarked_upon_and_those_over_pictures_are_not() -> None:
    assert "by heart" in about_passes({"wiki": 0.5, "poems": 43.0}, of_tokens=True)
    assert "by heart" not in about_passes({"all": 16.0}, of_tokens=True)
    assert "by heart" not in about_passes({"all": 43.0}, of_tokens=False)
