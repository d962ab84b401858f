#!/usr/bin/env python3
"""Runs the peers, with one server process and one client process per run. The peers are interleaved within each
repetition. Appends one JSON line per figure to raw.jsonl.

usage: drive.py [--work w1,w2,...] [--peer a,b,...] [--reps 5] [--secs 1.0] [--raw FILE]
"""
import argparse, json, os, resource, signal, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.join(os.environ["CARGO_TARGET_DIR"], "release")
JS = os.environ["PEERS_JS_DIR"]

def rust(b):
    return [os.path.join(BIN, b)]

def node(s):
    return ["node", "--max-old-space-size=12000", os.path.join(JS, s)]

PEERS = {}
for k in ["ws-tt", "tcp", "ws-tt-naive", "ws-tkws", "ws-fast", "cw-tt", "cw-fast", "http"]:
    PEERS[k] = (rust("floors"), rust("floors"))
PEERS["js-ws-floor"] = (node("server.mjs"), node("client.mjs"))
PEERS["capnp"] = (rust("p-capnp"),) * 2
PEERS["js-ws"] = (node("server.mjs"), node("client.mjs"))
PEERS["js-http"] = (node("server.mjs"), node("client.mjs"))
PEERS["jsonrpsee"] = (rust("p-jsonrpsee"),) * 2
PEERS["tarpc"] = (rust("p-tarpc"),) * 2
PEERS["tonic"] = (rust("p-tonic"),) * 2
PEERS["tonic-stream"] = (rust("p-tonic"),) * 2
PEERS["remoc"] = (rust("p-remoc"),) * 2
PEERS["bowline"] = (rust("p-bowline"),) * 2
PEERS["bowline-plain"] = (rust("p-bowline"),) * 2
PEERS["bowline-alone"] = (rust("p-alone"),) * 2
PEERS["serde-json"] = (rust("p-alone"),) * 2
PEERS["js-alone"] = (node("server.mjs"), node("alone.mjs"))
ALONE = ["bowline-alone", "serde-json", "js-alone"]
OBJ = ["bowline", "bowline-plain", "capnp", "js-ws", "remoc"]
CONNECTED = [p for p in PEERS if p not in ALONE]
NOT_STREAM = [p for p in CONNECTED if p != "tonic-stream"]
NOT_CW = [p for p in NOT_STREAM if not p.startswith("cw-")]
# work: (client's work, peers, client core, server core, maximum repetitions, extra arguments)
WORKS = {
    "w2": ("w2", CONNECTED, 0, 1, 9, []),
    "w1": ("w1", NOT_STREAM, 0, 1, 9, []),
    "w1s": ("w1", NOT_STREAM, 1, 1, 9, []),
    "w4": ("w4", NOT_CW, 0, 1, 9, ["--reps", "1000"]),
    "w4s": ("w4", NOT_CW, 1, 1, 9, ["--reps", "1000"]),
    "w4d": ("w4", NOT_CW, 0, 1, 5, ["--reps", "4", "--delay", "20"]),
    "w5": ("w5", OBJ + ["js-http"], 0, 1, 9, []),
    "w8c": ("w8c", [p for p in NOT_CW if p != "js-http"], 0, 1, 3, []),
    "w8o": ("w8o", OBJ, 0, 1, 3, []),
    "w6": ("w6", NOT_CW, 0, 1, 9, []),
    "w3": ("w3", [p for p in CONNECTED if p != "js-http"], 0, 1, 9, []),
    "w7": ("w7", OBJ, 0, 1, 9, []),
    "w9": ("w9", ALONE, 0, 1, 9, []),
    "w10": ("w10", ["bowline-alone"], 0, 1, 9, []),
}

def pin(core):
    def f():
        os.sched_setaffinity(0, {core})
        s, h = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (h, h))
        os.setpgrp()
    return f

def spawn_listening(cmd, core):
    p = subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=pin(core))
    end = time.time() + 20
    while time.time() < end:
        line = p.stdout.readline()
        if not line:
            raise RuntimeError("server died: " + " ".join(cmd))
        if line.startswith("LISTEN "):
            return p, int(line.split()[1])
    raise RuntimeError("server did not start")

TICK = os.sysconf("SC_CLK_TCK")

def cpu_busy():
    f = open("/proc/stat").readline().split()[1:]
    f = [int(x) for x in f]
    return (f[0] + f[1] + f[2]) / TICK, f[7] / TICK      # user+nice+system, steal

def pid_cpu(pid):
    s = open(f"/proc/{pid}/stat").read()
    f = s[s.rindex(")") + 2:].split()
    return (int(f[11]) + int(f[12])) / TICK

def one(peer, work, secs):
    cw, _, ccore, score, _, extra = WORKS[work]
    scmd, ccmd = PEERS[peer]
    srv, port = spawn_listening(scmd + ["server", peer], score)
    procs = [srv]
    try:
        to = f"127.0.0.1:{port}"
        if "--delay" in extra:
            px, pport = spawn_listening(rust("floors") + ["proxy", extra[extra.index("--delay") + 1], "--to", to], 1)
            procs.append(px)
            to = f"127.0.0.1:{pport}"
        s0 = pid_cpu(srv.pid)
        r0 = resource.getrusage(resource.RUSAGE_CHILDREN)
        b0, st0, t0 = *cpu_busy(), time.time()
        cmd = ccmd + ["client", peer, "--addr", to, "--pid", str(srv.pid), "--work", cw, "--secs", str(secs)] + extra
        if work == "w8o" and peer == "remoc":
            cmd += ["--objs", "100000"]      # at about 15 KB each side, 1e6 would not fit in memory
        c = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=pin(ccore), timeout=420)
        b1, st1, t1 = *cpu_busy(), time.time()
        r1 = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = (r1.ru_utime + r1.ru_stime - r0.ru_utime - r0.ru_stime) + (pid_cpu(srv.pid) - s0)
        wall = max(t1 - t0, 1e-3)
        rows = []
        for l in c.stdout.splitlines():
            if l.startswith("{"):
                d = json.loads(l)
                d["work"] = work
                rows.append(d)
        err = c.stderr.strip().splitlines()
        meta = {"foreign": round(max(0, b1 - b0 - own) / wall, 3), "steal": round((st1 - st0) / wall, 3),
                "load1": os.getloadavg()[0], "rc": c.returncode}
        if c.returncode != 0:
            meta["err"] = " | ".join(err[:3])[:300]
        return rows, meta
    finally:
        for p in procs:
            p.kill()
            p.wait()

def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--work", default=",".join(WORKS))
    ap.add_argument("--peer", default="")
    ap.add_argument("--reps", type=int, default=5)
    ap.add_argument("--secs", type=float, default=1.0)
    ap.add_argument("--raw", default=os.path.join(HERE, "raw.jsonl"))
    ap.add_argument("--quiet-limit", type=float, default=0.2, help="cores of other processes' CPU above which a run is repeated")
    a = ap.parse_args()
    only = [p for p in a.peer.split(",") if p]
    run = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with open(a.raw, "a") as raw:
        for work in a.work.split(","):
            _, peers, _, _, maxreps, _ = WORKS[work]
            # the reference floor runs in every repetition, whichever peers were chosen
            peers = [p for p in peers if not only or p in only or p == "ws-tt"]
            for rep in range(min(a.reps, maxreps)):
                k = rep % len(peers)
                for peer in peers[k:] + peers[:k]:
                    best = None
                    for attempt in range(2):
                        try:
                            rows, meta = one(peer, work, a.secs)
                        except (subprocess.TimeoutExpired, RuntimeError) as e:
                            rows, meta = [], {"rc": -1, "err": str(e)[:200], "foreign": 9, "steal": 0}
                        if best is None or meta["foreign"] < best[1]["foreign"]:
                            best = (rows, meta)
                        if meta["foreign"] <= a.quiet_limit or meta["rc"] != 0:
                            break
                    rows, meta = best
                    if not rows:
                        rows = [{"peer": peer, "work": work, "param": ""}]
                    for d in rows:
                        d.update(run=run, rep=rep, **meta)
                        raw.write(json.dumps(d) + "\n")
                    raw.flush()
                    msg = " ".join(f"{d.get('param')}:{d.get('rate', d.get('srv_bytes', 0)):.0f}" for d in rows)
                    print(f"{work} rep{rep} {peer:13s} other={meta['foreign']:.2f} {msg} {meta.get('err', '')}", flush=True)

main()
