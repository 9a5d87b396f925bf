#!/usr/bin/env python3
"""Print Evenkeel's schema notation for the Kafka messages that a broker's client listener can offer.

    tools/kafka-schema.py kafka-clients-4.3.1.jar kafka-clients-3.9.2.jar > src/kafka/wire/schema.txt

The first jar gives the current versions, the second one the versions that 4.x has removed. Both carry the
message descriptions as `common/message/*.json`. Only facts of the wire are kept: names, types, version
ranges, nullability, tags, and defaults that matter when a field is encoded. Standard library only.

A version that both jars know must read the same in both; the script fails otherwise, so that the output
is never a silent mixture.
"""
import json
import re
import sys
import zipfile

# Share groups: version 0 was an early access that changed between releases; 4.1 removed it from the client APIs.
CURRENT_ONLY = {76, 77, 78, 79, 87}
SCALARS = {
    "bool": "bool", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64", "uint16": "u16",
    "uint32": "u32", "float64": "f64", "uuid": "uuid", "string": "string", "bytes": "bytes",
    "records": "records",
}
HEADER = """\
# Kafka messages, every version, as Evenkeel's interpreter reads them (see schema.rs).
# Written by tools/kafka-schema.py from the message descriptions inside {0} (current versions)
# and {1} (versions that 4.x removed). Don't edit by hand.
#
#   api KEY NAME                    an API; one without messages is not for clients
#   request|response MIN-MAX FLEX   valid versions, first flexible version or -
#   name type [RANGE] [?RANGE] [#TAG] [=DEFAULT]
#
# One space of indent for each level. RANGE is 3, 3-5 or 3+; a field without one is in all versions of what
# holds it. ? alone: nullable wherever present. []x is an array of x, {{}} a struct, []{{}} an array of structs.
# A default is given where it isn't 0, false, empty, or the struct of defaults.
"""


def load(jar):
    """All request and response descriptions of a jar, by name."""
    out = {}
    with zipfile.ZipFile(jar) as z:
        for name in z.namelist():
            if not (name.startswith("common/message/") and name.endswith(".json")):
                continue
            text = z.read(name).decode()
            text = re.sub(r"^\s*//.*$", "", text, flags=re.M)
            text = re.sub(r"(?<=[,\s\]}])//[^\"\n]*$", "", text, flags=re.M)
            message = json.loads(text)
            if message["type"] in ("request", "response"):
                out[message["name"]] = message
    return out


def span(text):
    """`3+`, `3-5`, `3` or `none` as an inclusive pair, or None."""
    if text in (None, "none", ""):
        return None
    if text.endswith("+"):
        return (int(text[:-1]), 32767)
    low, _, high = text.partition("-")
    return (int(low), int(high or low))


def meet(a, b):
    if a is None or b is None:
        return None
    low, high = max(a[0], b[0]), min(a[1], b[1])
    return (low, high) if low <= high else None


def snake(name):
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def default(field, kind):
    """The default in notation, or None where it is the type's zero."""
    value = field.get("default")
    if value is None:
        return None
    if kind.startswith("[]") or kind == "{}":
        if value != "null":
            raise SystemExit(f"{field['name']}: default {value!r} of a {kind}")
        return "null"
    if kind in ("string", "bytes", "records", "uuid"):
        if value == "null":
            return "null"
        if value in ("", "0"):
            return None
        raise SystemExit(f"{field['name']}: default {value!r} of a {kind}")
    if kind == "bool":
        return "true" if str(value).lower() == "true" else None
    number = float(value) if kind == "f64" else int(str(value), 0)
    return None if number == 0 else str(number)


def build(fields, common, limit):
    """The fields that exist within `limit`, with every range cut to it."""
    out = []
    for f in fields:
        versions = meet(span(f["versions"]), limit)
        if versions is None:
            continue
        base = f["type"].removeprefix("[]")
        array = "[]" if f["type"].startswith("[]") else ""
        children = None
        if base in SCALARS:
            kind = array + SCALARS[base]
        else:
            kind = array + "{}"
            children = build(f["fields"] if "fields" in f else common[base], common, versions)
        tagged = meet(span(f.get("taggedVersions")), versions)
        if tagged not in (None, versions):
            raise SystemExit(f"{f['name']}: tagged in a part of its versions only")
        out.append({
            "name": snake(f["name"]), "kind": kind, "versions": versions,
            "nullable": meet(span(f.get("nullableVersions")), versions),
            "tag": f["tag"] if tagged else None,
            "default": default(f, kind), "fields": children,
        })
    return out


def cut(fields, limit):
    """`fields` as they are within `limit`: what two sources must agree about."""
    out = []
    for f in fields:
        versions = meet(f["versions"], limit)
        if versions is None:
            continue
        g = dict(f, versions=versions, nullable=meet(f["nullable"], versions))
        if f["fields"] is not None:
            g["fields"] = cut(f["fields"], versions)
        out.append(g)
    return out


def merge(new, old, edge, where):
    """Both lists as one: `old` up to version `edge`, `new` after it. Fields keep their order."""
    out, used = [], set()
    names = [f["name"] for f in old]
    position = 0
    for f in new:
        if f["name"] in names:
            i = names.index(f["name"])
            for j in range(position, i):
                if j not in used:
                    out.append(old[j])
                    used.add(j)
            o = old[i]
            used.add(i)
            position = i + 1
            if (o["kind"], o["tag"], o["default"]) != (f["kind"], f["tag"], f["default"]):
                raise SystemExit(f"{where}.{f['name']}: the sources differ: {o} {f}")
            g = dict(f, versions=(o["versions"][0], f["versions"][1]))
            if o["versions"][1] + 1 < f["versions"][0]:
                raise SystemExit(f"{where}.{f['name']}: a hole in its versions")
            spans = [s for s in (o["nullable"], f["nullable"]) if s]
            g["nullable"] = (spans[0][0], spans[-1][1]) if spans else None
            if f["fields"] is not None:
                g["fields"] = merge(f["fields"], o["fields"], edge, f"{where}.{f['name']}")
            out.append(g)
        else:
            out.append(f)
    out.extend(o for j, o in enumerate(old) if j not in used)
    return out


def structs(message):
    return {s["name"]: s["fields"] for s in message.get("commonStructs", [])}


def range_text(span_, limit):
    low, high = span_
    if high == limit[1]:
        return f"{low}+" if low != limit[1] else str(low)
    return str(low) if low == high else f"{low}-{high}"


def emit(fields, limit, top, depth):
    for f in fields:
        words = [f["name"], f["kind"]]
        v = f["versions"]
        if v != limit:
            words.append(range_text(v, (0, top)))
        if f["nullable"] == v:
            words.append("?")
        elif f["nullable"]:
            words.append("?" + range_text(f["nullable"], (0, top)))
        if f["tag"] is not None:
            words.append(f"#{f['tag']}")
        if f["default"] is not None:
            words.append("=" + f["default"])
        print(" " * depth + " ".join(words))
        if f["fields"] is not None:
            emit(f["fields"], v, top, depth + 1)


def message(new, old, key):
    """One direction of one API."""
    now, then = span(new["validVersions"]), span(old["validVersions"]) if old else None
    fields = build(new["fields"], structs(new), now)
    low = now[0]
    if then and key not in CURRENT_ONLY:
        before = build(old["fields"], structs(old), then)
        both = meet(now, then)
        if both and cut(fields, both) != cut(before, both):
            raise SystemExit(f"{new['name']}: the sources differ in versions {both}")
        if then[0] < low:
            if then[1] < low - 1:
                raise SystemExit(f"{new['name']}: versions missing between the sources")
            removed = (then[0], low - 1)
            fields = merge(fields, cut(before, removed), low - 1, new["name"])
            low = then[0]
            if cut(fields, removed) != cut(before, removed) or cut(fields, now) != cut(
                build(new["fields"], structs(new), now), now
            ):
                raise SystemExit(f"{new['name']}: the merge doesn't read as its sources")
    flexible = span(new.get("flexibleVersions"))
    if old and span(old.get("flexibleVersions")) != flexible:
        raise SystemExit(f"{new['name']}: flexible versions differ")
    flex = str(flexible[0]) if flexible and flexible[0] <= now[1] else "-"
    versions = f"{low}-{now[1]}"
    print(f"{new['type']} {versions} {flex}")
    emit(fields, (low, now[1]), now[1], 1)


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    new, old = load(sys.argv[1]), load(sys.argv[2])
    label = [re.sub(r"\.jar$", "", path.rsplit("/", 1)[-1]) for path in sys.argv[1:]]
    print(HEADER.format(*label), end="")
    requests = sorted((m for m in new.values() if m["type"] == "request"), key=lambda m: m["apiKey"])
    for request in requests:
        key, name = request["apiKey"], request["name"].removesuffix("Request")
        print(f"\napi {key} {name}")
        if "broker" not in request.get("listeners", []):
            continue
        message(request, old.get(f"{name}Request"), key)
        message(new[f"{name}Response"], old.get(f"{name}Response"), key)


if __name__ == "__main__":
    main()
