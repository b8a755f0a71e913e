"""What a relation reads: the tables whose changes can change its rows, and what of it nobody can watch.

PostgreSQL keeps the query of a view as a tree of nodes, whose text names each relation and each function by number:
all that was written, before anything is planned. EXPLAIN would show less, for the planner drops what it can prove to be
empty or needless; pg_depend shows less too, for it leaves out whatever is built in, such as ``now()`` and the catalogues.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tycostream.engines.libpq import Connection
from tycostream.engines.names import shown

_FIRST_NORMAL: Final = 16384  # objects below it came with the server

# Of relations, each with the role that reads it: what its rows depend on.
_RELATIONS: Final = b"""
SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relpersistence::text, c.relispartition,
  CASE WHEN c.relkind <> 'v' OR coalesce(array_to_string(c.reloptions, ','), '') ~* 'security_invoker=(on|true|yes|1)'
    THEN w.role ELSE c.relowner END,
  CASE c.relreplident WHEN 'f' THEN true WHEN 'n' THEN false
    ELSE EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid
      AND CASE c.relreplident WHEN 'i' THEN x.indisreplident ELSE x.indisprimary END) END,
  EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indisprimary),
  ARRAY(SELECT r.ev_action::text FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type = '1' AND c.relkind = 'v')
  || ARRAY(SELECT p.polqual::text FROM pg_policy p WHERE p.polrelid = c.oid AND p.polcmd IN ('r', '*') AND p.polqual IS NOT NULL
    AND c.relrowsecurity AND NOT (SELECT o.rolsuper OR o.rolbypassrls FROM pg_roles o WHERE o.oid = w.role)
    AND (c.relforcerowsecurity OR NOT pg_has_role(w.role, c.relowner, 'USAGE')))
  || ARRAY(SELECT d.adbin::text FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE d.adrelid = c.oid AND a.attgenerated = 'v'),
  ARRAY(SELECT i.inhrelid::bigint FROM pg_inherits i WHERE i.inhparent = c.oid),
  CASE WHEN c.relispartition THEN ARRAY(SELECT relid::oid::bigint FROM pg_partition_ancestors(c.oid)) ELSE '{}' END
FROM unnest(%s::oid[], %s::oid[]) w(oid, role) JOIN pg_class c ON c.oid = w.oid JOIN pg_namespace n ON n.oid = c.relnamespace
"""
_FUNCTIONS: Final = b"""
SELECT p.oid, n.nspname, p.proname, p.oid < 16384,
  p.provolatile = 'i' AND (p.prokind <> 'a' OR p.oid < 16384 OR NOT EXISTS (
    SELECT FROM pg_aggregate a JOIN pg_proc f ON f.oid IN (a.aggtransfn, a.aggfinalfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)
    WHERE a.aggfnoid = p.oid AND f.provolatile <> 'i'))
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.oid = ANY(%(functions)s::oid[]) OR p.oid IN (SELECT o.oprcode FROM pg_operator o WHERE o.oid = ANY(%(operators)s::oid[]))
ORDER BY n.nspname, p.proname
"""
# All that can change what a relation or a function means, and that no change of a row tells of.
_FACTS: Final = b"""
SELECT 'r' || c.oid, md5(concat_ws(' ', n.nspname, c.relname, c.relkind, c.relpersistence, c.relowner, c.relrowsecurity,
  c.relforcerowsecurity, c.reloptions,
  (SELECT string_agg(r.oid || ':' || r.xmin, ' ' ORDER BY r.oid) FROM pg_rewrite r WHERE r.ev_class = c.oid), 'i',
  (SELECT string_agg(i.inhrelid::text, ' ' ORDER BY i.inhrelid) FROM pg_inherits i WHERE i.inhparent = c.oid), 'p',
  (SELECT string_agg(p.oid || ':' || p.xmin, ' ' ORDER BY p.oid) FROM pg_policy p WHERE p.polrelid = c.oid), 'a',
  (SELECT string_agg(concat_ws(':', a.attname, a.atttypid, a.atttypmod, a.attgenerated), ' ' ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY(%(relations)s::oid[])
UNION ALL
SELECT 'f' || p.oid, p.xmin::text FROM pg_proc p WHERE p.oid = ANY(%(functions)s::oid[])
"""

# Tokens of a tree are escaped, so a name or a constant never looks like these.
_RELATION: Final = re.compile(r":relid (\d+)")
_FUNCTION: Final = re.compile(r":(?:funcid|opfuncid|aggfnoid|winfnoid) (\d+)")
_OPERATOR: Final = re.compile(r":opno (\d+)|:opnos \(o((?: \d+)+)\)")
_CLOCK: Final = re.compile(r"\{SQLVALUEFUNCTION :op ([0-8]) ")
_TIMES: Final = ("CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP")
_TIME_OF: Final = (0, 1, 1, 2, 2, 3, 3, 4, 4)  # the node's numbers tell "with a precision" apart
_TIMED: Final = re.compile(r":consttype (?:1082|1083|1114|1184|1266) ")
_MOMENT: Final = re.compile(r"(?i)'(\s*(?:now|today|tomorrow|yesterday)\s*)'")

# Stable functions of the server whose result depends on nothing but their arguments and on settings that are the same
# in all our sessions. Whatever is not named here is taken to depend on something that changes unseen.
_SETTLED: Final = re.compile(
    r"(date|time|timetz|timestamp|timestamptz)(_(?!in$|out$|recv$|send$)\w+)?|interval_pl_timestamptz|extract|in_range|overlaps"
    r"|make_timestamptz|timezone|generate_series|to_(char|date|number|timestamp|json|jsonb|tsvector|tsquery)"
    r"|(array|row)_to_json|array_to_string|anytextcat|textanycat|concat|concat_ws|format|convert(_from|_to)?"
    r"|quote_(literal|nullable)|length|money|numeric|jsonb?_\w+|pg_typeof|pg_collation_for"
    r"|(phraseto|plainto|websearch_to)_tsquery|ts_headline|ts_match_(tq|tt)|xml"
    r"|current_(database|schema|schemas|user)|session_user|system_user|getdatabaseencoding"
)
_UNWATCHABLE: Final = {
    "m": "a materialized view, which changes when somebody refreshes it",
    "f": "a foreign table, whose changes are another server's",
    "S": "a sequence, whose changes are not told",
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A table that holds rows, by schema and name. ``add``: what a publication is to add so that it holds this one."""

    oid: int
    name: tuple[str, str]
    add: tuple[str, str]
    identity: bool  # whether its UPDATE and DELETE can be replicated
    has_key: bool


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a relation reads.

    ``named``: the tables as its query names them. ``watched``: the numbers under which changes of its leaves may be
    told, those of partitioned ancestors too. ``unwatched``: why its rows may change unseen, in words; empty if they
    cannot. ``facts``: see ``load_facts``; other facts are another definition.
    """

    named: tuple[str, ...] = ()
    leaves: tuple[Leaf, ...] = ()
    watched: frozenset[int] = frozenset()
    unwatched: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Found:
    """What the trees name so far."""

    functions: set[int] = field(default_factory=set)
    operators: set[int] = field(default_factory=set)
    unwatched: list[str] = field(default_factory=list)

    def read(self, tree: str) -> set[int]:
        """Note the functions of a tree; the relations that it names."""
        self.functions.update(int(number) for number in _FUNCTION.findall(tree))
        for one, several in _OPERATOR.findall(tree):
            self.operators.update(int(number) for number in (one or several).split())
        self.unwatched += [f"it reads {_TIMES[_TIME_OF[int(op)]]}" for op in _CLOCK.findall(tree)]
        if "{TABLESAMPLECLAUSE " in tree:
            self.unwatched.append("it reads a random sample (TABLESAMPLE)")
        return {int(number) for number in _RELATION.findall(tree)}


async def load_inputs(connection: Connection, relation: int, *, scratch: bool = False) -> Inputs:
    """What the relation with this number reads, through views, partitions and children, as the connection's role reads it.

    ``scratch``: the relation itself will be gone, and is none of what is read.
    """
    row = await (
        await connection.execute(b"SELECT oid::bigint FROM pg_roles WHERE rolname = current_user")
    ).fetchone()
    assert row is not None
    found, seen, mentioned = _Found(), dict[int, tuple[Any, ...]](), {relation}
    # with the role that reads it: a relation may have other policies for another
    due, done = {(relation, int(row[0]))}, set[tuple[int, int]]()
    while due := due - done:
        done |= due
        oids, roles = [list(part) for part in zip(*sorted(due), strict=True)]
        rows = await (await connection.execute(_RELATIONS, [oids, roles])).fetchall()
        due = set()
        for row in rows:
            oid, role, trees, children = row[0], row[6], row[9], row[10]
            seen[oid] = row
            if why := _why_unwatchable(row):
                found.unwatched.append(why)
                continue
            for tree in trees:
                inner = found.read(tree) - {oid}
                mentioned |= inner
                due |= {(number, role) for number in inner}
            due |= {(child, role) for child in children}
    functions = await _functions(connection, found)
    tables = [row for row in seen.values() if row[3] in "rp" and not _why_unwatchable(row)]
    named = {row[0]: (row[1], row[2]) for row in tables if row[0] in mentioned}
    return Inputs(
        named=tuple(sorted(shown(*name) for name in named.values())),
        leaves=tuple(_leaf(row, named) for row in tables if row[3] == "r"),
        watched=frozenset(number for row in tables for number in (row[0], *row[11])),
        unwatched=tuple(sorted(set(found.unwatched))),
        facts=await load_facts(connection, seen.keys() - ({relation} if scratch else set()), functions),
    )


def _why_unwatchable(row: tuple[Any, ...]) -> str:
    """Why the changes of a relation's rows are not told, or nothing."""
    oid, schema, name, kind, persistence = row[:5]
    title = shown(schema, name)
    if oid < _FIRST_NORMAL:
        return f"it reads {title}, a system catalogue"
    if kind in _UNWATCHABLE:
        return f"it reads {title}, {_UNWATCHABLE[kind]}"
    if kind in "rp" and persistence != "p":
        return f"it reads {title}, {'an unlogged' if persistence == 'u' else 'a temporary'} table, whose changes are not logged"
    return ""


def _leaf(row: tuple[Any, ...], named: Mapping[int, tuple[str, str]]) -> Leaf:
    # a partitioned table brings its partitions of tomorrow along; children of a plain parent must each be added
    over = [named[number] for number in row[11] if number in named]
    return Leaf(row[0], (row[1], row[2]), over[-1] if over else (row[1], row[2]), row[7], row[8])


async def _functions(connection: Connection, found: _Found) -> list[int]:
    """Judge the functions that were found; the numbers of those that somebody may define anew."""
    wanted = {"functions": sorted(found.functions), "operators": sorted(found.operators)}
    rows = await (await connection.execute(_FUNCTIONS, wanted)).fetchall()
    for _, schema, name, built_in, immutable in rows:
        if immutable or (built_in and schema == "pg_catalog" and _SETTLED.fullmatch(name)):
            continue
        title = name if schema == "pg_catalog" else shown(schema, name)
        why = "" if built_in else ", which is not declared IMMUTABLE"
        found.unwatched.append(f"it calls {title}(){why}")
    return [row[0] for row in rows if not row[3]]


async def load_facts(
    connection: Connection, relations: Iterable[int], functions: Iterable[int]
) -> dict[str, str]:
    """What each of them is right now, by a name of ours: another text means that somebody has altered it."""
    wanted = {"relations": sorted(relations), "functions": sorted(functions)}
    return dict(await (await connection.execute(_FACTS, wanted)).fetchall())


async def altered(connection: Connection, sources: Mapping[str, Inputs]) -> set[str]:
    """Which of the sources read something that is not what it was when they were described."""
    known = {name for inputs in sources.values() for name in inputs.facts}
    relations = [int(name[1:]) for name in known if name[0] == "r"]
    functions = [int(name[1:]) for name in known if name[0] == "f"]
    now = await load_facts(connection, relations, functions)
    return {
        source
        for source, inputs in sources.items()
        if any(now.get(name) != fact for name, fact in inputs.facts.items())
    }


def literal_of_time(query: str, tree: str) -> bool:
    """Whether a query holds a constant such as 'today', which the server turns into a date whenever it reads the query.

    Where it stands for a text, the tree has its bytes.
    """
    if not _TIMED.search(tree):
        return False
    words: list[str] = _MOMENT.findall(query)
    return any(
        words.count(word) > tree.count(" ".join(str(byte) for byte in word.encode()) + " ]")
        for word in set(words)
    )
