// The script of the page. Its types come from api.d.ts, which is generated from the Rust traits. `tsc`
// checks this file as it is, and the browser runs it without a build step.

import { newWebSocketRpcSession } from "capnweb";

/** @import { RpcStub } from "capnweb" */
/** @import { Board, Change, Color, Participant, Task, Watch } from "./api.d.ts" */

const socket = location.origin.replace(/^http/, "ws") + "/rpc";
/** @type {RpcStub<Board>} */
const board = newWebSocketRpcSession(socket);

/** The references we hold while we take part. Disposing them leaves the board. */
/** @type {{ me: RpcStub<Participant>, watch: RpcStub<Watch> } | null} */
let held = null;

byId("title").textContent = await board.title;
board.onRpcBroken(() => problem("The connection was lost. Reload the page to reconnect."));

on("join", "submit", async () => {
  const name = input("name").value;
  // Three calls in one round trip: the last two are made on a result that has not arrived yet.
  const joining = board.join(name);
  const [tasks, watch] = await Promise.all([joining.tasks(), joining.watch(changed)]);
  held = { me: await joining, watch };
  tasks.forEach(show);
  showBoard(true);
});

on("add", "submit", async () => {
  const color = /** @type {Color | ""} */ (input("color").value);
  await held?.me.add(input("task").value, color || null);
  input("task").value = "";
});

on("leave", "click", () => {
  held?.watch[Symbol.dispose]();
  held?.me[Symbol.dispose]();
  held = null;
  byId("tasks").replaceChildren();
  byId("participants").replaceChildren();
  showBoard(false);
});

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
  box.onchange = () => attempt(async () => held?.me.setDone(task.id, box.checked));
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
    const { message, max } = /** @type {Error & { max?: number }} */ (error);
    problem(message);
    if (max) input(held ? "task" : "name").maxLength = max;
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

// Tells tests that the script has run.
document.documentElement.dataset["ready"] = "";
