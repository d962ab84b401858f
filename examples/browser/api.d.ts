// Written by Bowline from Rust, for `Board`; changes belong there.
import type { RpcStub, RpcTarget } from "capnweb";

/** A board of tasks, shared by all participants. */
export interface Board extends RpcTarget {
  /** The title of the board. */
  readonly title: string;
  /**
   * Joins the board under an unused name. Disposing the result leaves the board.
   * @throws {BoardError}
   */
  join(name: string): Promise<RpcStub<Participant>>;
  /** Ends the process of the server at once, as a power cut does. Nothing is answered. */
  crash(): void | Promise<void>;
}

/** One person at the board. The object survives the server's process. */
export interface Participant extends RpcTarget {
  /** The name under which the person joined. */
  readonly name: string;
  /** Returns all tasks, oldest first. */
  tasks(): Promise<Task[]>;
  /**
   * Adds a task to the board, with a color if one is given. The caller makes up the key; a task with a key that the
   * board knows is not added again, so the call may be repeated.
   * @throws {BoardError}
   */
  add(key: string, title: string, color?: Color | null): Promise<Task>;
  /**
   * Marks a task as done or not done.
   * @throws {BoardError}
   */
  setDone(id: number, done: boolean): void | Promise<void>;
  /**
   * Calls the callback with the names of the participants, and then with every change that a participant
   * makes, the caller included, until the result is disposed.
   */
  watch(onChange: (value: Change) => void): Promise<RpcStub<Watch>>;
}

/** A task. */
export interface Task {
  id: number;
  title: string;
  /** The name of the participant who added the task. */
  by: string;
  since: Date;
  color?: Color | null;
  done: boolean;
}

export type Color = "amber" | "blue" | "green";

export type BoardError =
  /** the name {taken} is taken */
  | (Error & { code: "NameTaken"; taken: string })
  /** {what} must have 1 to {max} characters */
  | (Error & { code: "Length"; what: string; max: number })
  /** there is no task {id} */
  | (Error & { code: "NoTask"; id: number });

/** A subscription to changes, which ends when it is disposed. It survives the server's process, too. */
export interface Watch extends RpcTarget {}

/** A change of the board. */
export type Change =
  /** A task was added or changed. */
  | { kind: "task"; task: Task }
  /** A participant joined or left. */
  | { kind: "participants"; names: string[] };
