"""What each type of the table is tried with: values as the server reads them, and literals that may or may not be any."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

STAMPS = [
    "2024-01-31 12:34:56.789", "2024-02-29 00:00:00", "0044-03-15 12:00:00.1 BC", "0001-01-01 00:00:00",
    "0001-12-31 23:59:59.999999 BC", "10000-01-01 00:00:00", "294276-12-31 23:59:59.999999", "infinity",
    "-infinity", "4714-11-24 00:00:00 BC", "1969-12-31 23:59:59.000001",
]  # fmt: skip
FLOATS = ["0", "-0", "1", "0.1", "-2.5", "1e-05", "0.0001", "NaN", "Infinity", "-Infinity", "100000", "1e+06"]
TEXTS = ["", "a", "B", "é", "\U0001f600", "\uffff", 'q"\\/\b\t\n\x01\x7f\u2028', "NULL", "{a,b}", " "]


@dataclass(frozen=True)
class Case:
    """``samples``: at least two values, equal ones of different text among them; ``literals``: texts for both casts."""

    samples: list[str]
    literals: st.SearchStrategy[str] | None = None
    cast: str | None = None  # where the type's own name would cut the value off
    partial: bool = True  # whether we may refuse what the server reads
    extension: str | None = None


def _integers(bits: int, *, signed: bool = True) -> Case:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return Case(["0", str(low), str(high), "17"], st.integers(low - 2, high + 2).map(str))


def _regex(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(pattern, fullmatch=True)


_FLOAT = st.floats().map(repr) | _regex(r"-?[0-9]{1,4}(\.[0-9]{0,6})?(e[+-]?[0-9]{1,2})?")
_CLOCK = r"([01]?[0-9]|2[0-5]):[0-6][0-9](:[0-6][0-9](\.[0-9]{1,6})?)?"
_OFFSET = r"( ?(Z|[+-](0?[0-9]|1[0-7])(:?[0-6][0-9](:[0-6][0-9])?)?))?"
_DAY = r"([0-3][0-9]{3}|10000|5874897|294277)-(0?[0-9]|1[0-3])-([0-3]?[0-9])"
_UNIT = "(y|years?|yrs?|mons?|months?|weeks?|w|days?|d|hours?|hrs?|h|min|mins|minutes?|m|secs?|seconds?|s)"
_INTERVAL = (
    _regex(rf"@?( ?[+-]?[0-9]{{1,10}} ?{_UNIT}){{1,4}}( [+-]?[0-9]{{1,3}}:[0-9]{{1,2}}(:[0-9]{{1,2}}(\.[0-9]{{1,6}})?)?)?( ago)?")
    | _regex(r"P(-?[0-9]{1,3}Y)?(-?[0-9]{1,4}M)?(-?[0-9]{1,3}W)?(-?[0-9]{1,10}D)?(T([+-]?[0-9]{1,9}H)?(-?[0-9]{1,5}M)?([+-]?[0-9]{1,9}(\.[0-9]{1,6})?S)?)?")
    | _regex(r"[+-]?infinity|[+-]?[0-9]{1,3}:[0-9]{2}")
)  # fmt: skip
_ADDRESS = _regex(r"([0-9]{1,2}|1[0-9]{2}|2[0-5][0-9])(\.([0-9]{1,2}|2[0-6][0-9])){2,4}(/[0-9]{1,2})?") | st.builds(
    lambda address, bits: address + bits,
    st.ip_addresses(v=6).map(str) | _regex(r"([0-9a-f]{1,4}|0):(0:){0,6}:([0-9a-f]{1,4}|0|1)(:1\.2\.3\.4)?") | _regex(r"::(ffff:)?(0:)?[0-9a-f]{0,4}:?[0-9a-f]{0,4}"),
    _regex(r"(/[0-9]{1,3})?"),
)  # fmt: skip
_NETWORK = _ADDRESS | st.ip_addresses().map(str) | st.builds(
    lambda number, bits: f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}/{bits}",
    st.integers(0, 2**32 - 1).map(lambda n: n & 0xFFF00000), st.integers(10, 32),
)  # fmt: skip
_MAC = _regex(
    r"[0-9a-fA-F]{2}([:-][0-9a-f]{2}){5,7}|[0-9a-f]{6}[:-][0-9a-f]{6}|[0-9a-f]{4}([.-][0-9a-f]{4}){2,3}|[0-9a-f]{11,16}"
)
_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=70)
_BYTES = st.binary(max_size=6).map(lambda b: f"\\x{b.hex()}") | _regex(
    r"(\\x)?([0-9a-f ]{1,4}|\\\\|\\[0-4][0-8]{2}|[a-z]){0,4}"
)
_UUID = st.uuids().map(str) | _regex(r"\{?([0-9a-fA-F]{4}-?){7}[0-9a-fA-F]{3,4}\}?")
_BITS = _regex(r"[bBxX]?[01]{0,12}[2f]?")

CASES: dict[str, Case] = {
    "bool": Case(["t", "f"]),
    "int2": _integers(16),
    "int4": _integers(32),
    "int8": _integers(64),
    "oid": _integers(32, signed=False),
    "float4": Case([*FLOATS, "1.6777215e+07", "3.4028235e+38", "1e-45", "16777216", "33554430"], _FLOAT),
    "float8": Case(
        [*FLOATS, "1e14", "1e15", "1e23", "2e23", "8.41e21", "36028797018963968", "5e-324", "123456789012345678"], _FLOAT
    ),
    "numeric": Case(
        ["0", "-0.00", "1.0", "1.00", "NaN", "Infinity", "-Infinity", "1e20", "1e-20", "99999999999999999.5"], _FLOAT
    ),
    "text": Case(TEXTS, _TEXT, partial=False),
    "varchar": Case(["", "a ", "a"], _TEXT, partial=False),
    "bpchar": Case(["", " ", "a", "a ", "a  ", "a \t", "b", "a\x01", "é  ", 'a"  '], _TEXT | _regex("[ab]{1,2} *"), partial=False),
    "name": Case(["a", "B", "é" * 40, "z" * 80, ""], _TEXT, partial=False),
    "uuid": Case(["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "{00000000000000000000000000000000}"], _UUID, partial=False),
    "bytea": Case(["", "\\x00", "\\xff00", "\\xff", "\\x00ff", "abc", "\\x616263", "\\\\\\001"], _BYTES, partial=False),
    "bit": Case(["0", "1", "01", "10", "11", "100000000", "100000001", "000000001", "xff"], _BITS, "varbit", False),
    "varbit": Case(["", "0", "1", "01", "10", "11", "100000000", "100000001", "000000001", "xFf"], _BITS, partial=False),
    "date": Case(
        ["2024-02-29", "0044-03-15 BC", "0001-01-01 BC", "5874897-12-31", "infinity", "-infinity", "4714-11-24 BC"],
        _regex(rf"{_DAY}( (BC|AD))?|-?infinity"),
    ),
    "time": Case(["00:00:00", "24:00:00", "12:34:56.000001", "12:34:56.5"], _regex(_CLOCK + _OFFSET)),
    "timetz": Case(
        ["00:00:00+00", "24:00:00-15:59:59", "00:00:00+15:59:59", "12:34:56.5+02", "11:34:56.5+01", "10:34:56.5Z",
         "12:34:56.5+02:30", "12:34:56.5-00:00:07", "24:00:00+00", "00:00:00-12"],
        _regex(_CLOCK + _OFFSET),
    ),
    "timestamp": Case(STAMPS, _regex(rf"{_DAY}([ T]{_CLOCK})?( BC)?|-?infinity")),
    "timestamptz": Case(
        [f"{s[:-3]}+00 BC" if s.endswith("BC") else s if "inf" in s else f"{s}+00" for s in STAMPS],
        _regex(rf"{_DAY}([ T]{_CLOCK}{_OFFSET})?( BC)?|-?infinity"),
    ),
    "interval": Case(
        ["00:00:00", "1 mon", "30 days", "720:00:00", "1 day", "24:00:00", "23:59:59.999999", "-1 day +24:00:00", "1 year",
         "12 mons", "360 days", "-1 mon", "-30 days", "1 mon -30 days", "1 year -1 mon", "-00:00:00.000001",
         "-1:02:03.5", "178000000 years", "-178000000 years", "infinity", "-infinity", "2147483647 days",
         "2562047788:00:54.775807", "-2562047788:00:54.775807", "1 year 2 mons -3 days 04:05:06.789"],
        _INTERVAL,
    ),
    "inet": Case(
        ["10.0.0.1", "10.0.0.1/8", "10.0.0.2/8", "10.1.0.0/16", "10.0.0.0/16", "10.0.0.0/8", "0.0.0.0/0", "255.255.255.255",
         "::", "::/0", "::1", "::1.2.3.4", "::ffff:1.2.3.4", "::ffff:0:0", "::2", "::1:0", "2001:db8::1", "2001:db8::/32",
         "2001:db8::1/32", "1:0:0:2:0:0:0:3", "1:0:0:2:3:0:0:4", "0:1:2:3:4:5:6:7", "1:2:3:4:5:6:7:0", "fe80::/10",
         "0:0:0:0:0:1:2:3", "0:0:0:0:1:2:3:4", "::fffe:1.2.3.4", "9.255.255.255/8", "11.0.0.0/7"],
        _ADDRESS,
    ),
    "cidr": Case(
        ["10.0.0.0/8", "10.0.0.0/16", "10.1.0.0/16", "0.0.0.0/0", "10.0.0.1", "::/0", "::1", "2001:db8::/32", "::ffff:1.2.3.0/120"],
        _NETWORK,
    ),
    "macaddr": Case(["08:00:2b:01:02:03", "08-00-2B-01-02-04", "ffff.ffff.ffff", "000000000000"], _MAC),
    "macaddr8": Case(["08:00:2b:01:02:03:04:05", "08002b010203", "ffff.ffff.ffff.ffff", "0000000000000000"], _MAC),
    "json": Case(['{"a": 1}', "[1, null]", '"x"', "null"]),
    "jsonb": Case(['{"a": 1}', "[1, null]", '"x"', "null", "1.50", "1.5", "[]"]),
    "hstore": Case(['a=>1, b=>NULL', "", 'x=>"q\\"\\\\ é, =>"', '"NULL"=>"null"'], extension="hstore"),
    "money": Case(["1", "-1234.5"]),
    "citext": Case(["A", "a", 'q"'], extension="citext"),
    "ltree": Case(["a.b", "", "a"], extension="ltree"),
    "tsvector": Case(["'a':1 'b''c':2A", ""]),
    "tsquery": Case(["'a' & !'b'", "'q\"'"]),
    "jsonpath": Case(['$."a"[*]', "$"]),
    "pg_lsn": Case(["0/0", "16/B374D848"]),
    "xid": Case(["0", "4294967295"]),
    "xid8": Case(["0", "18446744073709551615"]),
    "tid": Case(["(0,1)", "(7,2)"]),
    "point": Case(["(1,2)", "(0.1,-5e-10)"]),
    "line": Case(["{1,-1,0}", "{0,1,2.5}"]),
    "lseg": Case(["[(0,0),(1,1)]", "[(0,0),(1,2)]"]),
    "box": Case(["(1,1),(0,0)", "(2,2),(1,1)"]),
    "path": Case(["((0,0),(1,1))", "[(0,0),(1,1)]"]),
    "polygon": Case(["((0,0),(1,1),(1,0))", "((0,0),(1,1),(2,0))"]),
    "circle": Case(["<(0,0),1>", "<(1,1),2>"]),
    "int4range": Case(["[1,5)", "empty", "(,)"]),
    "int8range": Case(["[1,5)", "empty"]),
    "numrange": Case(["[1.50,2]", "empty", "(NaN,)"]),
    "tsrange": Case(['["2024-01-01 00:00:00","2024-01-02 00:00:00")', "empty"]),
    "tstzrange": Case(['["2024-01-01 00:00:00+00",)', "empty"]),
    "daterange": Case(["[2024-01-01,2024-02-01)", "[,infinity]"]),
    "int4multirange": Case(["{[1,5),[7,9)}", "{}"]),
    "int8multirange": Case(["{[1,5)}", "{}"]),
    "nummultirange": Case(["{[1.50,2]}", "{}"]),
    "tsmultirange": Case(['{["2024-01-01 00:00:00","2024-01-02 00:00:00")}', "{}"]),
    "tstzmultirange": Case(['{["2024-01-01 00:00:00+00",)}', "{}"]),
    "datemultirange": Case(["{[2024-01-01,2024-02-01)}", "{}"]),
}  # fmt: skip

# Types of Materialize only: no server here prints them. MATERIALIZE has what its own tests record.
FOREIGN = {"uint2", "uint4", "uint8", "mz_timestamp", "list", "map"}
UNBUILT = {"xml"}  # the embedded server is built without libxml
