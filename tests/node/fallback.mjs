// Servers without the link, which respond in different ways to a client that offers it, each a real `capnweb` on a
// real `ws`: node fallback.mjs URL. Calls the Bowline server at URL first, as any official client does, then prints the
// URLs of its servers. Each counts the connections and the frames of the link that it has seen.
import assert from "node:assert/strict";
import http from "node:http";
import { RpcSession, RpcTarget, WebSocketTransport, newWebSocketRpcSession } from "capnweb";
import { WebSocket, WebSocketServer } from "ws";

globalThis.WebSocket ??= WebSocket;

class Adder extends RpcTarget {
  add(a, b) { return a + b; }
  dials() { return this.seen.dials; }
  frames() { return this.seen.frames; }
}

const ours = newWebSocketRpcSession(process.argv[2]);
assert.equal(await ours.add(2, 3), 5);
ours[Symbol.dispose]();

// `handleProtocols` receives what the client offers and returns what the server selects.
async function served(handleProtocols, headers = () => []) {
  const server = http.createServer();
  const sockets = new WebSocketServer({ server, handleProtocols });
  const seen = { dials: 0, frames: 0 };
  sockets.on("headers", (answer, request) => answer.push(...headers(request)));
  sockets.on("connection", (ws) => {
    seen.dials += 1;
    ws.on("message", (text) => { if (`${text}`.startsWith("{")) seen.frames += 1; });
    const adder = new Adder();
    adder.seen = seen;
    new RpcSession(new WebSocketTransport(ws), adder);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return `ws://127.0.0.1:${server.address().port}`;
}

const offered = (request) => request.headers["sec-websocket-protocol"];
const echoesList = (request) => offered(request) ? [`Sec-WebSocket-Protocol: ${offered(request)}`] : [];

console.log([
  // Selects the first subprotocol that is offered, as `ws` does by default.
  await served(undefined),
  // Selects none.
  await served(() => false),
  // Answers with the whole list.
  await served(() => false, echoesList),
  // Selects the last.
  await served((protocols) => [...protocols].at(-1)),
  // Selects what was not offered.
  await served(() => false, (request) => offered(request) ? ["Sec-WebSocket-Protocol: bowline.v0"] : []),
].join(" "));
process.stdin.resume().on("end", () => process.exit(0));
