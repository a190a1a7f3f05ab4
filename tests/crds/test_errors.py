"""One mistake and several."""

import pytest
from lateen_api.errors import JobError, JobErrors, raise_all


def test_several_mistakes_are_one_error_that_prints_a_line_each():
    with pytest.raises(JobError) as caught:
        raise_all([JobError("a", "is wrong."), JobErrors([JobError("b", "too."), JobError("c", "also.")])])
    assert str(caught.value) == "a: is wrong.\nb: too.\nc: also."
    assert [error.where for error in caught.value.errors] == ["a", "b", "c"]


def test_single_mistake_is_raised_as_it_is():
    error = JobError("a", "is wrong.")
    with pytest.raises(JobError) as caught:
        raise_all([error])
    assert caught.value is error
    assert caught.value.errors == (error,)


def test_no_mistakes_raise_nothing():
    raise_all([])
