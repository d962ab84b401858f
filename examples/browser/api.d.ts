// Written by Bowline from Rust, for `Board`; changes belong there.
import type { RpcStub, RpcTarget } from "capnweb";

/** A board of tasks, shared by all participants. */
export interface Board extends RpcTarget {
  /** The title of the board. */
  readonly title: string;
  /**
   * Joins the board under an unused name. Disposing the result leaves the board.
   * @throws NameTaken {taken: string} — the name {taken} is taken
   * @throws Length {what: string, max: number} — {what} must have 1 to {max} characters
   * @throws NoTask {id: number} — there is no task {id}
   */
  join(name: string): Promise<RpcStub<Participant>>;
}

/** One person at the board. */
export interface Participant extends RpcTarget {
  /** Returns all tasks, oldest first. */
  tasks(): Promise<Task[]>;
  /**
   * Adds a task to the board, with a color if one is given.
   * @throws NameTaken {taken: string} — the name {taken} is taken
   * @throws Length {what: string, max: number} — {what} must have 1 to {max} characters
   * @throws NoTask {id: number} — there is no task {id}
   */
  add(title: string, color?: Color | null): Promise<Task>;
  /**
   * Marks a task as done or not done.
   * @throws NameTaken {taken: string} — the name {taken} is taken
   * @throws Length {what: string, max: number} — {what} must have 1 to {max} characters
   * @throws NoTask {id: number} — there is no task {id}
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

/** A subscription to changes, which ends when it is disposed. */
export interface Watch extends RpcTarget {}

/** A change of the board. */
export type Change =
  /** A task was added or changed. */
  | { kind: "task"; task: Task }
  /** A participant joined or left. */
  | { kind: "participants"; names: string[] };
