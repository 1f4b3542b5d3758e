"""Texts that look like credentials."""

import pytest

from mlvc.verbs.leaks import find_credentials, name_credential

# Put together here, so that this file holds none.
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"
EXAMPLES = {
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEowIBAAKCAQEA",
    "an access key of AWS": "AKIA" + "ABCDEFGHIJKLMNOP",
    "a token of GitHub": "ghp_" + LETTERS,
    "a token of GitLab": "glpat-" + LETTERS[:20],
    "a token of Hugging Face": "hf_" + LETTERS[:34],
    "a token of Slack": "xoxb-" + "123456789012-abcdefgh",
    "a token of PyPI": "pypi-" + "AgEIcHlwaS5vcmc" + LETTERS + LETTERS,
    "a key of an Azure storage account": "AccountKey=" + (LETTERS * 3)[:86] + "==",
    "a key of Google": "AIza" + LETTERS[:35],
    "a key of OpenAI or Anthropic": "sk-proj-" + LETTERS + LETTERS,
}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_each_form_is_found_with_its_line(kind):
    """In the middle of a file, and as a value."""
    text = f"first\nkey = '{EXAMPLES[kind]}'\n{EXAMPLES[kind]}\n"

    lines = (2, 4) if "\n" in EXAMPLES[kind] else (2, 3)
    assert [(line, kind) for line in lines] == list(find_credentials(text.encode()))
    assert kind == name_credential(EXAMPLES[kind])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AKIA",
        "hf_home",
        "sk-learn",
        "ghp_short",
        "-----BEGIN CERTIFICATE-----",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "AccountKey=Eby8vdM02xNOcqFl" + "A" * 70 + "==",
        "https://example.org:80/a@b",
        "\udc80",
    ],
)
def test_what_is_none(text):
    """Words that only begin so, and URLs with a port."""
    assert None is name_credential(text)


def test_password_in_a_url():
    """With a user or without."""
    assert "a password in a URL" == name_credential("https://me:hush@example.org/x")
    assert "a password in a URL" == name_credential("redis://:hush@example.org")


def test_key_in_json():
    """As it stands in the file of a service account, where a line's end is two letters."""
    text = '{"private_key": "-----BEGIN ' + 'PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG"}'

    assert "a private key" == name_credential(text)
