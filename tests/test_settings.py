"""Parsers of settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestored.settings import (
    LogSettings,
    Settings,
    format_count,
    format_duration,
    parse_count,
    parse_duration,
    parse_interval,
    parse_level,
    parse_pixels,
    parse_proxy,
    parse_rate,
    parse_seconds,
    parse_size,
    parse_workers,
)

SIZES = {
    "1": 1,
    "1048576": 1048576,
    "5GiB": 5 * 2**30,
    "5gib": 5 * 2**30,
    " 500 MB ": 500_000_000,
    "2KiB": 2048,
    "3kB": 3000,
    "1TiB": 2**40,
    "7B": 7,
}
NO_SIZES = ["", "x", "0", "0GiB", "-1", "1.5GiB", "5G", "GiB", "5 GiB more", "٣", "1" * 40, "1e3", "5GiB\n6"]


@pytest.mark.parametrize("text", SIZES)
def test_a_size_is_a_number_of_bytes(text):
    assert SIZES[text] == parse_size(text)


def test_size_of_a_reserve_may_be_zero():
    assert 0 == parse_size("0", min_bytes=0)


@pytest.mark.parametrize("text", NO_SIZES)
def test_invalid_size_is_refused(text):
    with pytest.raises(ValueError):
        parse_size(text)


@given(st.text(max_size=12))
def test_any_text_parses_as_a_size_or_raises_value_error(text):
    try:
        assert parse_size(text) > 0
    except ValueError as error:
        assert str(error)  # noqa: PT017  # either is right, depending on the text


@pytest.mark.parametrize("text", ["100MiB/s", "100MiB", " 100 mib/S "])
def test_rate_is_a_size_with_or_without_a_time(text):
    assert 100 * 2**20 == parse_rate(text)


@pytest.mark.parametrize("text", ["", "/s", "0", "fast", "100MiB/m", "100MiB/s/s"])
def test_invalid_rate_is_refused(text):
    with pytest.raises(ValueError, match="is not a rate; write it like 100MiB/s"):
        parse_rate(text)


def test_interval_of_zero_means_never():
    assert (None, 86_400.0) == (parse_interval("0"), parse_interval("1d"))


DURATIONS = {
    "30 days": 2_592_000.0,
    "1 day": 86_400.0,
    "90d": 7_776_000.0,
    "2 weeks": 1_209_600.0,
    "12h": 43_200.0,
    "10 min": 600.0,
    "10m": 600.0,
    "45 s": 45.0,
    " 1 Hour ": 3600.0,
    "100000000 s": 100_000_000.0,
}
NO_DURATIONS = [
    "", "30", "0 s", "-1 s", "1.5 h", "5 months", "d", "1 d 2 h", "1 d\n2", "٣ d", "9" * 40 + " s", "36526 d",
]  # fmt: skip


@pytest.mark.parametrize("text", DURATIONS)
def test_duration_is_a_number_of_seconds(text):
    assert DURATIONS[text] == parse_duration(text)


@pytest.mark.parametrize("text", NO_DURATIONS)
def test_invalid_duration_is_refused(text):
    with pytest.raises(ValueError):
        parse_duration(text)


@given(st.integers(1, 36_525 * 86_400))
def test_formatted_duration_is_parsed_to_the_same(seconds):
    assert seconds == parse_duration(format_duration(seconds))


@pytest.mark.parametrize(
    ("seconds", "text"), [(2_592_000, "30 d"), (43_200, "12 h"), (600, "10 min"), (61, "61 s")]
)
def test_duration_is_formatted_in_its_largest_unit(seconds, text):
    assert text == format_duration(seconds)


def test_auto_is_one_worker_for_each_usable_processor():
    assert 3 == parse_workers("auto", lambda: 3)
    assert 256 == parse_workers("auto", lambda: 300)


def test_number_of_workers_is_parsed():
    assert [1, 7, 256] == [parse_workers(text, int) for text in ("1", "7", "256")]


@pytest.mark.parametrize("text", ["", "0", "-1", "1000000", "many", "1.5", "1e3", "٣"])
def test_invalid_count_is_refused(text):
    with pytest.raises(ValueError, match="from 1 to 999999"):
        parse_count(text)


def test_count_is_parsed():
    assert [1, 10000, 999999] == [parse_count(text) for text in ("1", "10000", "999999")]


@pytest.mark.parametrize("text", ["", "0", "-1", "257", "many", "1.5", "99999", "٣"])
def test_invalid_number_of_workers_is_refused(text):
    with pytest.raises(ValueError):
        parse_workers(text, int)


def test_seconds_may_be_fractions_and_zero():
    assert [0.0, 2.5, 30.0] == [parse_seconds(text) for text in ("0", "2.5", "30")]


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1e30", "86401", "soon"])
def test_invalid_number_of_seconds_is_refused(text):
    with pytest.raises(ValueError):
        parse_seconds(text)


def test_a_level_is_known_in_any_case():
    assert "WARNING" == parse_level("warning")


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="DEBUG, INFO, WARNING, ERROR, CRITICAL"):
        parse_level("loud")


PROXIES = {
    "127.0.0.1": "127.0.0.1/32",
    " 10.0.0.0/8 ": "10.0.0.0/8",
    "10.0.0.0/255.0.0.0": "10.0.0.0/8",
    "::1": "::1/128",
    "2001:DB8::/32": "2001:db8::/32",
    "::ffff:10.0.0.1": "10.0.0.1/32",
    "::ffff:10.0.0.0/104": "10.0.0.0/8",
    "unix": "unix",
    "Unix": "unix",
}


@pytest.mark.parametrize("text", PROXIES)
def test_trusted_proxy_is_an_address_or_a_network_or_unix(text):
    assert PROXIES[text] == parse_proxy(text)


@pytest.mark.parametrize(
    "text",
    ["", "x", "localhost", "10.0.0", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.1:80", "[::1]", "010.0.0.1",
     "0.0.0.0/0", "::/0", "unix:/run/x", "fe80::1%eth0/64"],
)  # fmt: skip
def test_invalid_trusted_proxy_is_refused(text):
    with pytest.raises(ValueError, match=r"is neither an address|are all addresses"):
        parse_proxy(text)


def test_settings_round_trip_through_json():
    settings = Settings(
        listen=("tcp:1", 'unix:/a "b"'),
        store="/s",
        images="/i",
        hash_name=None,
        max_size=5,
        workers=2,
        drain=2.5,
        access_log="-",
        log=LogSettings(file="/l", rotation="1 MB", retention="7", json=True),
        max_connections=7,
        max_uploads=8,
        max_pixels=5,
        keep_alive=20.5,
        reserve=0,
        trusted_proxies=("10.0.0.0/8", "unix"),
    )
    assert settings == Settings.from_json(settings.to_json())
    assert "\n" not in settings.to_json()


@pytest.mark.parametrize(
    ("text", "pixels"), [("100M", 10**8), ("250 k", 250_000), ("50MP", 5 * 10**7), ("1", 1), ("1000M", 10**9)]
)
def test_number_of_pixels_is_parsed(text, pixels):
    assert pixels == parse_pixels(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "1G", "1001M", "100MB", "1.5M", "many"])
def test_invalid_number_of_pixels_is_refused(text):
    with pytest.raises(ValueError, match="not a number of pixels"):
        parse_pixels(text)


@pytest.mark.parametrize(("count", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (21, "21 files")])
def test_counts_have_plural_forms(count, text):
    assert text == format_count(count, "file")
