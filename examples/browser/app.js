// The page. Its types are those of api.d.ts, which is written from the Rust traits; `tsc` checks this
// file as it stands, and the browser runs it as it stands.

import { newWebSocketRpcSession } from "capnweb";

/** @import { RpcStub } from "capnweb" */
/** @import { Board, Change, Colour, Seat, Task, Watch } from "./api.d.ts" */

const socket = location.origin.replace(/^http/, "ws") + "/rpc";
/** @type {RpcStub<Board>} */
const board = newWebSocketRpcSession(socket);

/** What we hold of the server's, while we have a seat: giving it back is leaving. */
/** @type {{ seat: RpcStub<Seat>, watch: RpcStub<Watch> } | null} */
let held = null;

byId("title").textContent = await board.title;
board.onRpcBroken(() => problem("The connection is gone. Reload to try again."));

on("enter", "submit", async () => {
  const name = input("name").value;
  // Three calls, the last two on a seat that has not arrived: they travel together.
  const sitting = board.sitDown(name);
  const [tasks, watch] = await Promise.all([sitting.tasks(), sitting.watch(changed)]);
  held = { seat: await sitting, watch };
  tasks.forEach(show);
  seated(true);
});

on("add", "submit", async () => {
  const colour = /** @type {Colour | ""} */ (input("colour").value);
  await held?.seat.add(input("task").value, colour || null);
  input("task").value = "";
});

on("leave", "click", () => {
  held?.watch[Symbol.dispose]();
  held?.seat[Symbol.dispose]();
  held = null;
  byId("tasks").replaceChildren();
  byId("here").replaceChildren();
  seated(false);
});

/**
 * The server calls this.
 * @param {Change} change
 */
function changed(change) {
  switch (change.kind) {
    case "task":
      return show(change.task);
    case "here":
      return byId("here").replaceChildren(...change.names.map((name) => element("li", "", name)));
  }
}

/**
 * Puts a task on the page, in place of what it was.
 * @param {Task} task
 */
function show(task) {
  const row = element("li", task.colour ?? "");
  row.id = `task-${task.id}`;
  row.classList.toggle("done", task.done);
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = task.done;
  box.onchange = () => attempt(async () => held?.seat.tick(task.id, box.checked));
  const title = element("label", "title", task.title);
  title.prepend(box);
  const time = task.since.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  row.append(title, element("span", "by", `${task.by}, ${time}`));
  const before = document.getElementById(row.id);
  if (before) before.replaceWith(row);
  else byId("tasks").append(row);
}

/**
 * Errors of the server are JavaScript errors, with the properties that Rust gave them.
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
function seated(yes) {
  byId("enter").hidden = yes;
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
  byId(id).addEventListener(event, (happened) => {
    happened.preventDefault();
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
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (text) made.textContent = text;
  return made;
}

// For tests: everything is in place.
document.documentElement.dataset["ready"] = "";
