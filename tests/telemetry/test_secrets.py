"""No password in what people read, wherever it turns up."""

import pytest

from shared.telemetry.secrets import hide_passwords, passwords_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot connect to redis://:s3cret@host:6379/0", "cannot connect to redis://:***@host:6379/0"),
        ("postgresql://me:s3cret@host/db?x=1, then", "postgresql://me:***@host/db?x=1, then"),
        ("redis://me:s3@cret@host", "redis://me:***@host"),
        ("two: redis://a:s3cret@b and http://c:s3cret@d:1", "two: redis://a:***@b and http://c:***@d:1"),
        ("host=h password=s3cret dbname=d", "host=h password=*** dbname=d"),
        ("host=h password='s3 cret' dbname=d", "host=h password=*** dbname=d"),
        ("postgresql://h/d?user=u&password=s3cret&x=1", "postgresql://h/d?user=u&password=***&x=1"),
        ("redis://host:6379/0 refused a@b", "redis://host:6379/0 refused a@b"),
        ("http://host/a:b@c", "http://host/a:b@c"),
        ("user:s3cret@host", "user:s3cret@host"),
    ],
)
def test_a_password_in_a_url_or_a_connection_string_is_hidden(text: str, shown: str) -> None:
    """All else stays as it is."""
    assert hide_passwords(text) == shown


def test_a_known_password_is_hidden_wherever_it_stands() -> None:
    """As it is written in a URL, and as it is meant; one that is short would hide half of what is no password."""
    known = passwords_of(
        ["redis://:p%40ssword@host", "postgresql://u:abc@host", "http://host", "no url", "http://[bad"]
    )

    assert known == ["p%40ssword", "p@ssword"]
    assert hide_passwords("said p@ssword, and p%40ssword, and abc", known) == "said ***, and ***, and abc"
