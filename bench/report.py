#!/usr/bin/env python3
"""Writes the tables from raw.jsonl between the markers of RESULTS.md. A table of a work that is not in
raw.jsonl is left as it is."""
import json, os, re, statistics as st, sys

HERE = os.path.dirname(os.path.abspath(__file__))
rows = [json.loads(l) for l in open(os.path.join(HERE, sys.argv[1] if len(sys.argv) > 1 else "raw.jsonl"))]
REF = "ws-tt"
ORDER = ["tcp", "ws-tt", "ws-tt-naive", "ws-tkws", "ws-fast", "cw-tt", "cw-fast", "http", "js-ws-floor", "bowline", "bowline-plain", "capnp", "js-ws", "js-http",
         "jsonrpsee", "tarpc", "tonic", "tonic-stream", "remoc", "bowline-alone", "serde-json", "js-alone"]

def get(work, param, peer):
    r = [d for d in rows if d["work"] == work and d.get("param") == param and d["peer"] == peer and "unsupported" not in d
         and d.get("rc", 0) == 0]
    # a later run of the same work and peer replaces an earlier one
    last = max((d.get("run", "") for d in r), default="")
    return {d.get("rep", i): d for i, d in enumerate(r) if d.get("run", "") == last}

def med(work, param, peer, key):
    v = [d[key] for d in get(work, param, peer).values() if key in d]
    return st.median(v) if v else None

def ratio(work, param, peer, key, refparam=None):
    a = get(work, param, peer)
    out = []
    for rep, d in a.items():
        # the floor of the same repetition of the same run
        r = [x for x in rows if x["work"] == work and x.get("param") == (param if refparam is None else refparam)
             and x["peer"] == REF and x.get("rep") == rep and x.get("run") == d.get("run")]
        if r and key in d and r[0].get(key):
            out.append(d[key] / r[0][key])
    return st.median(out) if out else None

def spread(work, param, peer, key):
    v = sorted(d[key] for d in get(work, param, peer).values() if key in d)
    return (v[-1] - v[0]) / st.median(v) if len(v) > 2 and st.median(v) else None

def n(x, d=1):
    if x is None:
        return "-"
    if abs(x) >= 1000:
        return f"{x:,.0f}"
    if abs(x) >= 100:
        return f"{x:.0f}"
    return f"{x:.{d}f}" if abs(x) >= 1 else f"{x:.3f}"

def table(head, body):
    if not body:
        return "Not measured in this run."
    out = ["| " + " | ".join(head) + " |", "|" + "|".join(["---"] + ["--:"] * (len(head) - 1)) + "|"]
    out += ["| " + " | ".join(r) + " |" for r in body]
    return "\n".join(out)

def peers(work):
    have = {d["peer"] for d in rows if d["work"] == work and "unsupported" not in d and d.get("rc", 0) == 0}
    return [p for p in ORDER if p in have]

S = []
W = ["1", "16", "64", "256", "1024"]
S.append("### W2 calls per second, one connection, by calls in flight\n\n" + table(
    ["peer"] + W + ["/floor at 64", "/floor at 1024", "spread at 64"],
    [[p] + [n(med("w2", w, p, "rate")) for w in W] + [n(ratio("w2", w, p, "rate"), 3) for w in ("64", "1024")]
     + [f"{100 * (spread('w2', '64', p, 'rate') or 0):.0f}%"] for p in peers("w2")]))
S.append("### W2 CPU microseconds per call (= CPU-seconds per million calls), client / server\n\n" + table(
    ["peer"] + W + ["sum at 64, x floor", "sum at 1024, x floor"],
    [[p] + [f"{n(med('w2', w, p, 'cli_us'), 2)} / {n(med('w2', w, p, 'srv_us'), 2)}" for w in W]
     + [(lambda a, b: n(a / b, 1) if a and b else "-")(
         sum(med("w2", w, p, k) or 0 for k in ("cli_us", "srv_us")), sum(med("w2", w, REF, k) or 0 for k in ("cli_us", "srv_us")))
        for w in ("64", "1024")] for p in peers("w2")]))
for w, t in (("w1s", "both processes on one core (no cross-core wake-up)"), ("w1", "client and server on different cores")):
    S.append(f"### W1 sequential 32-byte echo, {t}\n\n" + table(
        ["peer", "p50 us", "p99 us", "calls/s", "p50 x floor", "p99 x floor", "client CPU us", "server CPU us"],
        [[p, n(med(w, "", p, "p50_us")), n(med(w, "", p, "p99_us")), n(med(w, "", p, "rate")), n(ratio(w, "", p, "p50_us"), 2),
          n(ratio(w, "", p, "p99_us"), 2), n(med(w, "", p, "cli_us")), n(med(w, "", p, "srv_us"))] for p in peers(w)]))
body = []
for p in peers("w4s"):
    d20 = med("w4d", "20", p, "p50_us")
    rtt = (med("w4d", "20", REF, "p50_us") or 320e3) / 8      # the floor makes exactly 8 round trips
    body.append([p, n(med("w4s", "0", p, "p50_us")), n(ratio("w4s", "0", p, "p50_us"), 2), n(med("w4", "0", p, "p50_us")),
                 n(ratio("w4", "0", p, "p50_us"), 2),
                 n(d20 / 1e3 if d20 else None), n(round(d20 / rtt) if d20 else None, 0),
                 f"{n(med('w4s', '0', p, 'cli_us'))} / {n(med('w4s', '0', p, 'srv_us'))}"])
S.append("### W4 chain of 8 dependent calls\n\n" + table(
    ["peer", "0 ms, one core, us", "x floor", "0 ms, two cores, us", "x floor", "20 ms each way, ms", "round trips", "CPU us per chain, client / server"], body))
body = []
for p in peers("w5"):
    for c in ("1", "64"):
        fl = med("w2", c, REF, "rate")
        x = med("w5", c, p, "rate")
        body.append([p, c, n(x), n(x / fl if x and fl else None, 3), n(med("w5", c, p, "cli_us")), n(med("w5", c, p, "srv_us"))])
S.append("### W5 create an object, call it twice, drop it\n\n" + table(
    ["peer", "at a time", "objects/s", "per floor message (W2, same window)", "client CPU us", "server CPU us"], body))
S.append("### W8 memory: server RSS per idle connection (5,000 connections, one call each)\n\n" + table(
    ["peer", "server bytes per connection", "x floor", "client bytes per connection", "server RSS before, MiB"],
    [[p, n(med("w8c", "5000", p, "srv_bytes")), n(ratio("w8c", "5000", p, "srv_bytes"), 2), n(med("w8c", "5000", p, "cli_bytes")),
      n(med("w8c", "5000", p, "srv_base_mib"))] for p in peers("w8c")]))
body = []
for p in peers("w8o"):
    for c in ("1000000", "100000"):
        if get("w8o", c, p):
            body.append([p, f"{int(c):,}", n(med("w8o", c, p, "srv_bytes")), n(med("w8o", c, p, "cli_bytes")), n(med("w8o", c, p, "rate"))])
S.append("### W8 memory: RSS per live exported object on one connection\n\n" + table(
    ["peer", "objects", "server bytes per object", "client bytes per object", "created per second, 64 at a time"], body))
S.append("### W6 echo of 1 MiB (MiB/s counts the payload once per round trip)\n\n" + table(
    ["peer", "1 in flight", "4 in flight", "x floor at 1", "client CPU ms per MiB", "server CPU ms per MiB"],
    [[p, n(med("w6", "1", p, "rate")), n(med("w6", "4", p, "rate")), n(ratio("w6", "1", p, "rate"), 2),
      n((med("w6", "1", p, "cli_us") or 0) / 1e3, 2), n((med("w6", "1", p, "srv_us") or 0) / 1e3, 2)] for p in peers("w6")]))
S.append("### W3 64 connections x 16 calls in flight\n\n" + table(
    ["peer", "calls/s", "x floor", "client CPU us", "server CPU us"],
    [[p, n(med("w3", "64x16", p, "rate")), n(ratio("w3", "64x16", p, "rate"), 3), n(med("w3", "64x16", p, "cli_us"), 2),
      n(med("w3", "64x16", p, "srv_us"), 2)] for p in peers("w3")]))
body = []
for p in peers("w7"):
    for c in ("sequential", "at-once"):
        fl = med("w2", "1" if c == "sequential" else "1024", REF, "rate")
        x = med("w7", c, p, "rate")
        body.append([p, c, n(med("w7", c, p, "ms_per_1000"), 1), n(x), n(x / fl if x and fl else None, 3), n(med("w7", c, p, "cli_us")),
                     n(med("w7", c, p, "srv_us"))])
S.append("### W7 server calls a client-passed capability 1,000 times\n\n" + table(
    ["peer", "order", "ms", "calls/s", "per floor message (W2 at 1 / 1024)", "client CPU us", "server CPU us"], body))
codec = ["arguments", "call", "object-1k", "string-64k"]
body = []
for p in peers("w9"):
    of = [(med("w9", c, p, "ns"), med("w9", c, "js-alone", "ns")) for c in codec]
    body.append([p] + [n(x) for x, _ in of] + [n(js / x if x and js else None) for x, js in of])
S.append("### W9 the codec alone: nanoseconds, and how many times faster than npm's\n\n" + table(
    ["peer"] + [f"{c}, ns" for c in codec] + [f"{c}, x js" for c in codec], body))
body = [[p, n(med("w10", "resume", p, "resume_us")), n(med("w10", "resume", p, "dial_us")), n(med("w10", "resume", p, "beyond_us"))]
        for p in peers("w10")]
S.append("### W10 resuming a session: from the cut of the connection to the next reply\n\n" + table(
    ["peer", "us", "of which to open a connection", "beyond"], body))
body = []
for p in peers("w10"):
    for c in (10, 1000, 10000):
        k = f"kept-{c}"
        body.append([p, f"{c:,}", n(med("w10", k, p, "snapshot_us")), n(med("w10", k, p, "restore_us")), n(med("w10", k, p, "bytes_each"))])
S.append("### W10 recovering a session: snapshot and restore\n\n" + table(
    ["peer", "objects held by the client", "snapshot, us", "restore, us", "bytes for each object"], body))
last = {}
for d in rows:
    if "run" in d:
        k = (d["work"], d["peer"])
        last[k] = max(last.get(k, ""), d["run"])
quiet = [d for d in rows if "foreign" in d and d["foreign"] < 8 and last[d["work"], d["peer"]] == d["run"]
         and d["work"][:2] != "w8"]      # other processes do not change memory figures
if quiet:
    q = sorted(d["foreign"] for d in quiet)
    S.append(f"Other processes' CPU while measuring {' '.join(sorted({d['work'] for d in quiet}))}: median {st.median(q):.2f} cores "
             f"of 2, 90th centile {q[int(len(q) * .9)]:.2f}; {sum(x > 0.6 for x in q)} of {len(q)} figures were taken above 0.6.")
text = "\n\n".join(S) + "\n"
path = os.path.join(HERE, "RESULTS.md")
A, B = "<!-- tables: written by report.py -->", "<!-- end of tables -->"
if os.path.exists(path):
    s = open(path).read()
    if A in s:
        old = re.split(r"^(?=### |Other processes)", s[s.index(A):s.index(B)], flags=re.M)[1:]
        stand = {part.splitlines()[0]: part.strip() for part in old}
        S = [stand.get(part.splitlines()[0], part) if "Not measured" in part else part for part in S]
        said = lambda line: set(re.findall(r"\bw\d+[a-z]?\b", line))
        S += [line for line in stand if line.startswith("Other") and not said(line) <= {d["work"] for d in quiet}]
        text = "\n\n".join(S) + "\n"
        s = s[: s.index(A) + len(A)] + "\n\n" + text + "\n" + s[s.index(B):]
        open(path, "w").write(s)
        sys.exit()
print(text)
