// Three servers without the link, which respond in different ways to a client that offers it, each a real `capnweb`
// on a real `ws`: node fallback.mjs URL. Calls the Bowline server at URL first, as any official client does, then
// prints the URLs of its servers.
import assert from "node:assert/strict";
import http from "node:http";
import { RpcSession, RpcTarget, WebSocketTransport, newWebSocketRpcSession } from "capnweb";
import { WebSocket, WebSocketServer } from "ws";

globalThis.WebSocket ??= WebSocket;

class Adder extends RpcTarget {
  add(a, b) { return a + b; }
}

const ours = newWebSocketRpcSession(process.argv[2]);
assert.equal(await ours.add(2, 3), 5);
ours[Symbol.dispose]();

async function served(options, headers = []) {
  const server = http.createServer();
  const sockets = new WebSocketServer({ server, ...options });
  sockets.on("headers", (answer) => answer.push(...headers));
  sockets.on("connection", (ws) => new RpcSession(new WebSocketTransport(ws), new Adder()));
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return `ws://127.0.0.1:${server.address().port}`;
}

console.log([
  // Echoes the first offered subprotocol.
  await served({}),
  // Selects none.
  await served({ handleProtocols: () => false }),
  // Treats a frame of the link as a bad message, although a middlebox has added the confirmation to its response.
  await served({}, ["bowline-link: bowline.v1"]),
].join(" "));
process.stdin.resume().on("end", () => process.exit(0));
