"""Random messages as text: anything at all, and sound ones with something wrong in them.

JSON is made as text, not as values: what can be spelled in JSON is more than what Python's encoder ever writes.
A few hundred examples, always the same; FUZZ_EXAMPLES=100000 tries as many others.
"""

import json
import os
from base64 import b64encode
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from recorded import recorded

EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "0"))


def fuzz(examples: int) -> settings:
    """Return the settings of a test with so many examples, unless more are asked for."""
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


def _objects(inside: SearchStrategy[str]) -> SearchStrategy[str]:
    pairs = st.lists(st.tuples(STRINGS, inside).map(": ".join), max_size=4)
    return pairs.map(lambda parts: f"{{{', '.join(parts)}}}")


def _arrays(inside: SearchStrategy[str]) -> SearchStrategy[str]:
    return st.lists(inside, max_size=4).map(lambda parts: f"[{', '.join(parts)}]")


ESCAPES: Final = [
    r"\u0000",
    r"\ud83d\ude00",
    r"\ud800",
    r"\udfff",
    r"\n",
    r"\"",
    r"\\u0000",
    r"\u007f",
    r"\/",
    "\u2028",
]
NUMBERS: Final = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from([str(2**k + d) for k in (31, 53, 63, 64, 1024) for d in (-1, 0, 1)]),
    st.sampled_from(["-0", "0e0", "1e0", "1E+2", "1e308", "1.8e308", "1e400", "-1e400", "5e-324", "1e-400"]),
    st.sampled_from(["1e-16383", "1e-16384", "1e-20000", "1e131071", "1e131073", "1e99999999999", "1e-99999999999"]),
    st.sampled_from([f"1{'0' * count}" for count in (308, 309, 4299, 4300, 70_000)]),
    st.sampled_from([f"0.{'0' * count}1" for count in (400, 16_382, 16_383, 60_000)]),
    st.sampled_from(["NaN", "Infinity", "01", "+1", ".5", "1.", "0x1"]),
)
STRINGS: Final = st.one_of(
    st.text(max_size=12).map(json.dumps),
    st.text(max_size=12).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.lists(st.sampled_from([*ESCAPES, "a", "é", "\U0001f600"]), max_size=5).map(lambda parts: f'"{"".join(parts)}"'),
    st.integers(1, 900).map(lambda count: json.dumps("x" * count)),
)
DEEP: Final = st.sampled_from([2, 14, 15, 16, 17, 500, 985, 993, 1_100, 3_000]).map(lambda n: "[" * n + "]" * n)
SCALARS: Final = st.one_of(st.sampled_from(["null", "true", "false"]), NUMBERS, STRINGS, DEEP)
JSON: Final = st.recursive(SCALARS, lambda inside: _arrays(inside) | _objects(inside), max_leaves=8)

MOMENTS: Final = st.builds(
    "{}{}{:02}:{:02}:{:02}{}{}".format,
    st.one_of(
        st.dates().map(str), st.sampled_from(["0001-01-01", "9999-12-31", "2026-12-01", "2036-11-20", "0000-01-01"])
    ),
    st.sampled_from(["T", "t", " ", "_", ""]),
    st.integers(0, 24),
    st.integers(0, 60),
    st.integers(0, 61),
    st.sampled_from(["", ".5", ".123456789012", f".{'9' * 400}", ".", ",5"]),
    st.sampled_from(
        ["Z", "z", "", "+00:00", "-00:00", "+0130", "+01", "+14:00", "-15:59", "+16:00", "+25:00", " UTC", "+01:60"]
    ),
).map(json.dumps)

_SOUND: Final = [one for one in recorded() if len(one.raw) < 4_000]


@st.composite
def fields_gone_wrong(draw: st.DrawFn, task: str | None = None) -> tuple[str, str]:
    """Return a task and the JSON of its fields: recorded ones, in which up to three values stand elsewhere."""
    one = draw(st.sampled_from([one for one in _SOUND if task in {None, one.task}]))
    fields: dict[str, Any] = json.loads(json.dumps(one.fields))
    holes: dict[str, str] = {}
    for number in range(draw(st.integers(0, 3))):
        place = fields
        while nested := [name for name, value in place.items() if isinstance(value, dict) and value]:
            if draw(st.booleans()):
                break
            place = place[draw(st.sampled_from(nested))]
        name = draw(st.one_of(st.sampled_from(list(place)), st.text(max_size=4)))
        holes[f"hole {number} is here"] = draw(st.one_of(JSON, MOMENTS))
        place[name] = f"hole {number} is here"
    text = json.dumps(fields, ensure_ascii=draw(st.booleans()))
    for hole, filling in holes.items():
        text = text.replace(json.dumps(hole), filling)
    return one.task, text


@st.composite
def items_gone_wrong(draw: st.DrawFn) -> bytes:
    """Return an item as it might lie in Redis: wrong in its fields, in its envelope, or in some of its bytes."""
    task, text = draw(fields_gone_wrong())
    body = draw(
        st.sampled_from(["[[], {}, {{}}]", "[[1], {}, {{}}]", "[{}]", "{}", '[[], {}, {{"chain": 1}}]'])
    ).format(text)
    encoding = draw(st.sampled_from(["base64", "base64", None, "utf-8", 7]))
    encoded = b64encode(body.encode(errors="replace")).decode() if encoding == "base64" else body
    item: dict[str, Any] = {
        "headers": {"task": task, "id": draw(st.text(max_size=5))},
        "content-type": "application/json",
        "properties": {
            "body_encoding": encoding,
            "delivery_tag": "t",
            "delivery_info": {"exchange": "", "routing_key": "q"},
        },
        "body": encoded,
    }
    raw = json.dumps(item).encode()
    if draw(st.booleans()):
        return raw
    at, length = draw(st.integers(0, len(raw))), draw(st.integers(0, 3))
    return raw[:at] + draw(st.binary(max_size=3)) + raw[at + length :]


ITEMS: Final = st.one_of(
    st.binary(max_size=60), JSON.map(lambda text: text.encode(errors="replace")), items_gone_wrong()
)
