"""Preconditions by table (RFC 9110 section 13.2.2), with and without a stored file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestored.web.headers.conditional import PreconditionResult, evaluate_preconditions, range_applies

OURS = b'"abc"'

MATCHING = [b"*", b" * ", b'"abc"', b'"x", "abc"', b'"x","abc" ,, "y"', b'\t"abc"']
WEAKLY_MATCHING = [*MATCHING, b'W/"abc"', b'"x", W/"abc"']
OTHERS = [b"", b'"x"', b"abc", b'"ab', b'w/"abc"', b'"a,bc"', b'W/"x"', b"**", b'"abc";', b'""']


@pytest.mark.parametrize("listed", MATCHING)
def test_matching_if_match_proceeds(listed):
    assert evaluate_preconditions(OURS, listed, None, reading=True) == PreconditionResult.PROCEED


@pytest.mark.parametrize("listed", [*OTHERS, b'W/"abc"'])
def test_if_match_without_the_strong_tag_fails(listed):
    assert evaluate_preconditions(OURS, listed, None, reading=True) == PreconditionResult.FAILED


@pytest.mark.parametrize("listed", WEAKLY_MATCHING)
def test_matching_if_none_match_is_not_modified_when_reading(listed):
    assert evaluate_preconditions(OURS, None, listed, reading=True) == PreconditionResult.NOT_MODIFIED


@pytest.mark.parametrize("listed", WEAKLY_MATCHING)
def test_matching_if_none_match_fails_when_writing(listed):
    assert evaluate_preconditions(OURS, None, listed, reading=False) == PreconditionResult.FAILED


@pytest.mark.parametrize("listed", OTHERS)
def test_if_none_match_without_the_tag_proceeds(listed):
    assert evaluate_preconditions(OURS, None, listed, reading=True) == PreconditionResult.PROCEED


@pytest.mark.parametrize("listed", [*WEAKLY_MATCHING, *OTHERS])
def test_if_match_fails_without_a_stored_file(listed):
    assert evaluate_preconditions(None, listed, None, reading=False) == PreconditionResult.FAILED


@pytest.mark.parametrize("listed", [*WEAKLY_MATCHING, *OTHERS])
def test_if_none_match_proceeds_without_a_stored_file(listed):
    assert evaluate_preconditions(None, None, listed, reading=False) == PreconditionResult.PROCEED


def test_if_match_is_evaluated_before_if_none_match():
    assert evaluate_preconditions(OURS, b'"x"', OURS, reading=True) == PreconditionResult.FAILED
    assert evaluate_preconditions(OURS, OURS, OURS, reading=True) == PreconditionResult.NOT_MODIFIED


@pytest.mark.parametrize("stored", [OURS, None])
def test_request_without_preconditions_proceeds(stored):
    assert evaluate_preconditions(stored, None, None, reading=True) == PreconditionResult.PROCEED


@pytest.mark.parametrize(
    ("if_range", "expected"),
    [
        (None, True),
        (b'"abc"', True),
        (b' "abc" ', True),
        (b'W/"abc"', False),
        (b'"x"', False),
        (b"*", False),
        (b'"abc", "x"', False),
        (b"Sun, 06 Nov 1994 08:49:37 GMT", False),
        (b"", False),
    ],
)
def test_if_range_is_compared_strongly(if_range, expected):
    assert expected == range_applies(OURS, if_range)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_preconditions_of_random_bytes_raise_nothing(if_match, if_none_match):
    assert evaluate_preconditions(OURS, if_match, if_none_match, reading=True) in PreconditionResult
