"""Addresses of model servers as people write them: each works or is one sentence, and no password is shown."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.agents.llm.address import ollama, openai
from nanochat.contract import address
from nanochat.contract.address import SettingError


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("", "http://127.0.0.1:11434"), ("0.0.0.0", "http://127.0.0.1:11434"), ("0.0.0.0:5000", "http://127.0.0.1:5000"),
        ("box", "http://box:11434"), ("http://box", "http://box:80"), ("https://box", "https://box:443"),
        ("http://box:1234/", "http://box:1234"), ("[::1]:99", "http://[::1]:99"), (":7000", "http://127.0.0.1:7000"),
        ("https://a.b/ollama/", "https://a.b:443/ollama"), ("::1", "http://[::1]:11434"), ("[::1]", "http://[::1]:11434"),
        ("127.0.0.1:", "http://127.0.0.1:11434"), ("[::]:80", "http://[::1]:80"), ("::", "http://[::1]:11434"),
        (" ' 1.2.3.4 ' ", "http://1.2.3.4:11434"), ('"box:1"', "http://box:1"), ("HTTPS://Box", "https://box:443"),
        ("http://[2001:db8::1]", "http://[2001:db8::1]:80"), ("fe80::1%eth0", "http://[fe80::1%eth0]:11434"), ("127.1", "http://127.0.0.1:11434"),
        ("bücher.example", "http://xn--bcher-kva.example:11434"), ("http://", "http://127.0.0.1:80"), ("box/a/b", "http://box:11434/a/b"),
        ("user:pw@box:1", "http://box:1"), ("::ffff:127.0.0.1", "http://127.0.0.1:11434"), ("localhost.", "http://localhost.:11434"),
    ],
)  # fmt: skip
def test_forms_of_ollama_host(setting: str, url: str) -> None:
    assert ollama(setting).url == url


@pytest.mark.parametrize(
    "setting",
    [
        "host:abc", ":99999", ":0", "host:-1", "http://[::1", "::1]", "[::1]x:3", "::1:11434", "unix:///run/ollama", "ftp://box", "://box",
        "http:box", "box:1:2", "a..b", "x" * 64, "😀", "a b", "a\nb", "box\x00", "*:11434", "box?key=1", "box#a", "http://http://box",
        "http://user:p/w@box", "host:１１", "host:" + "9" * 5000, "\udce4", "box/a b", "%20", "[]x", "user:pw@[::1", "a@b:c://d@box",
        "http:/localhost:11434", "https:/box", "HTTP:/box/", "http:///box", "http:\\\\box", "http//box:11434", "//box", "http:", "http/box",
        "http://http:/box", "http:box:11434", "box//a", "box:/a", "htp:/box", "socks5:/box", "http:/user:pw@box", "http:/[::1]:11434",
    ],
)  # fmt: skip
def test_an_invalid_address_is_reported_in_one_sentence(setting: str) -> None:
    with pytest.raises(SettingError) as raised:
        ollama(setting)
    words = str(raised.value)
    assert words.startswith("OLLAMA_HOST is '") and words.endswith("Correct or unset it.") and len(words) < 350
    assert words.isprintable() and "pw" not in words and "user" not in words


PLACES = st.sampled_from(["", "http://", "https://", "HTTP://", "socks5://", "//"])
ANYTHING = st.one_of(
    st.text(max_size=40),
    st.tuples(PLACES, st.text(":/@[]%.?#\\ '\"0123456789abcdefx-_é点\ud800", max_size=25)).map("".join),
)


@given(ANYTHING)
@example("[::1%]")
@example("http://[fe80::1%25]")
@example("1" * 5000)
def test_any_text_is_an_address_that_a_client_takes_or_our_own_error(text: str) -> None:
    for read in (ollama, openai, lambda value: address.proxy("ALL_PROXY", value)):
        try:
            found = read(text)
        except SettingError as error:
            assert str(error).isprintable()
            continue
        url = httpx.URL(found.url)
        assert (
            url.raw_host.decode() == found.host and (url.port or address.SCHEME_PORTS.get(found.scheme)) == found.port
        )
        assert 0 < found.port < 65536 and "@" not in found.url.partition("//")[2].partition("/")[0]
        again = address.proxy("ALL_PROXY", found.url)
        assert (again.url, again.loopback) == (found.url, found.loopback)


@given(st.text(st.characters(codec="ascii", exclude_characters="*"), min_size=12, max_size=20), ANYTHING)
def test_no_password_is_ever_shown(password: str, rest: str) -> None:
    for text in (f"user:{password}@{rest}", f"http://user:{password}@{rest}"):
        hidden = password.strip()[1:-1]  # quotes and spaces go
        assert hidden not in address.shown(text) or hidden in rest
        try:
            assert hidden not in repr(ollama(text)) or hidden in rest
        except SettingError as error:
            assert hidden not in str(error) or hidden in rest


@pytest.mark.parametrize(
    ("setting", "words"), [("\udcff\udcfe", r"'\udcff\udcfe'"), ("\u200b", r"'\u200b'"), ("a\tb", r"'a\tb'")]
)
def test_what_cannot_be_printed_is_shown_escaped(setting: str, words: str) -> None:
    with pytest.raises(SettingError) as raised:
        ollama(setting)
    assert f"OLLAMA_HOST is {words}, which" in str(raised.value)


def test_a_base_url_without_a_scheme_is_this_machines_or_refused() -> None:
    assert openai("localhost:8000/v1").url == "http://localhost:8000/v1"
    assert openai("http://0.0.0.0:8000/v1/").url == "http://127.0.0.1:8000/v1"
    with pytest.raises(
        SettingError, match=r"OPENAI_BASE_URL is 'api.example.com/v1', .* needs http:// or https:// in front"
    ):
        openai("api.example.com/v1")
