// The script of the page. Its types come from api.d.ts, which is generated from the Rust traits. `tsc`
// checks this file as it is, and the browser runs it without a build step.

import { connect } from "bowline-client";

/** @import { RpcStub } from "capnweb" */
/** @import { Board, BoardError, Change, Color, Participant, Task, Watch } from "./api.d.ts" */

/** Whether the plug is pulled. */
let unplugged = false;

/** The connections of this page, of which the newest is in use. @type {WebSocket[]} */
const sockets = [];

/** A WebSocket whose plug can be pulled. Applications do not need this. */
class PluggedWebSocket extends WebSocket {
  /** @param {string} url @param {string[]} [protocols] */
  constructor(url, protocols) {
    if (unplugged) throw new Error("the plug is pulled");
    super(url, protocols ?? []);
    sockets.splice(0, sockets.length, this);
  }
}

// `sessionStorage` keeps the session over a reload. It contains the session's secrets; see docs/browsers.md.
/** @type {import("bowline-client").Session<Board>} */
const session = connect("rpc", { storage: sessionStorage, WebSocket: PluggedWebSocket });
const board = session.stub;

/** The references we hold while we take part. Disposing them leaves the board. */
/** @type {{ me: RpcStub<Participant>, watch: RpcStub<Watch> } | null} */
let held = null;

const LABELS = {
  connecting: "Connecting", attached: "Connected", detached: "Reconnecting", plain: "Connected, cannot resume",
  closed: "Closed", lost: "Lost",
};
const counts = { resumed: 0, recovered: 0 };

session.addEventListener("state", showState);
session.addEventListener("resumed", () => counts.resumed++);
session.addEventListener("recovered", () => {
  counts.recovered++;
  // The board may have changed before our subscription was restored.
  void attempt(async () => (await held?.me.tasks())?.forEach(show));
});
session.addEventListener("lost", () => problem("The session was lost. Reload the page to join again."));

await session.ready;
byId("title").textContent = await board.title;
const me = session.kept("me");
if (me) await enter(/** @type {RpcStub<Participant>} */ (me));

on("join", "submit", async () => {
  const joining = await board.join(input("name").value);
  await enter(joining);
  await session.keep("me", joining);
});

on("add", "submit", async () => {
  const color = /** @type {Color | ""} */ (input("color").value);
  const [title, key] = [input("task").value, crypto.randomUUID()];
  input("task").value = "";
  // What waits for the connection is visible, too.
  const waiting = element("li", "waiting", title);
  byId("tasks").append(waiting);
  try {
    await repeated(async () => held?.me.add(key, title, color || null));
  } catch (error) {
    input("task").value ||= title;
    throw error;
  } finally {
    waiting.remove();
  }
});

on("leave", "click", () => {
  session.unkeep("me");
  held?.watch[Symbol.dispose]();
  held?.me[Symbol.dispose]();
  held = null;
  byId("tasks").replaceChildren();
  byId("participants").replaceChildren();
  showBoard(false);
});

on("plug", "click", () => {
  unplugged = !unplugged;
  byId("plug").textContent = unplugged ? "Put the plug back" : "Pull the plug";
  byId("plug").setAttribute("aria-pressed", `${unplugged}`);
  sockets.forEach((socket) => socket.close());
  if (!unplugged) window.dispatchEvent(new Event("online"));
});

on("crash", "click", () => board.crash().catch(() => {}));

/**
 * Shows the board to a participant: three calls in one round trip.
 * @param {RpcStub<Participant>} me
 */
async function enter(me) {
  const [tasks, watch] = await Promise.all([me.tasks(), me.watch(changed)]);
  held = { me, watch };
  tasks.forEach(show);
  showBoard(true);
}

/**
 * Repeats a call that may be made twice, if it is unknown whether it was carried out.
 * @template T
 * @param {() => Promise<T>} call
 * @returns {Promise<T>}
 */
async function repeated(call) {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const { code = "" } = /** @type {{ code?: string }} */ (error);
      if (!["CALL_OUTCOME_UNKNOWN", "CALL_NOT_ATTEMPTED"].includes(code)) throw error;
    }
  }
}

/**
 * Called by the server.
 * @param {Change} change
 */
function changed(change) {
  switch (change.kind) {
    case "task":
      return show(change.task);
    case "participants":
      return byId("participants").replaceChildren(...change.names.map((name) => element("li", "", name)));
  }
}

function showState() {
  const { state } = session;
  byId("connection").dataset["state"] = state;
  byId("state").textContent = LABELS[state];
  const { resumed, recovered } = counts;
  byId("history").textContent = resumed + recovered === 0 ? "" : `resumed ${resumed}×, recovered ${recovered}×`;
}

/**
 * Adds a task to the page, or replaces the row that shows it.
 * @param {Task} task
 */
function show(task) {
  const row = element("li", task.color ?? "");
  row.id = `task-${task.id}`;
  row.classList.toggle("done", task.done);
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = task.done;
  box.onchange = () => attempt(() => repeated(async () => held?.me.setDone(task.id, box.checked)));
  const title = element("label", "title", task.title);
  title.prepend(box);
  const time = task.since.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  row.append(title, element("span", "by", `${task.by}, ${time}`));
  const before = document.getElementById(row.id);
  if (before) before.replaceWith(row);
  else byId("tasks").append(row);
}

/**
 * Runs an action and shows its error. Errors of the server are JavaScript errors with the properties
 * of the Rust error.
 * @param {() => unknown} action
 */
async function attempt(action) {
  problem("");
  try {
    await action();
  } catch (error) {
    const refusal = /** @type {BoardError} */ (error);
    problem(refusal.message);
    if (refusal.code === "Length") input(held ? "task" : "name").maxLength = refusal.max;
  }
}

/** @param {boolean} yes */
function showBoard(yes) {
  byId("join").hidden = yes;
  byId("board").hidden = !yes;
  byId("leave").hidden = !yes;
  input(yes ? "task" : "name").focus();
}

/** @param {string} text */
function problem(text) {
  byId("problem").textContent = text;
}

/**
 * @param {string} id
 * @param {"submit" | "click"} event
 * @param {() => unknown} action
 */
function on(id, event, action) {
  byId(id).addEventListener(event, (submitted) => {
    submitted.preventDefault();
    void attempt(action);
  });
}

/** @param {string} id */
function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

/** @param {string} id */
function input(id) {
  return /** @type {HTMLInputElement} */ (byId(id));
}

/**
 * @param {string} tag
 * @param {string} kind
 * @param {string} [text]
 */
function element(tag, kind, text) {
  const created = document.createElement(tag);
  if (kind) created.className = kind;
  if (text) created.textContent = text;
  return created;
}

showState();
// Tells tests that the script has run.
document.documentElement.dataset["ready"] = "";
