// Written by Bowline from Rust, for `Board`; changes belong there.
import type { RpcStub, RpcTarget } from "capnweb";

/** A board of tasks that everybody sees. */
export interface Board extends RpcTarget {
  /** What the board is about. */
  readonly title: string;
  /**
   * Takes a seat under a name that nobody else has. Whoever disposes it has left.
   * @throws NameTaken {taken: string} — somebody called {taken} is here already
   * @throws Length {what: string, max: number} — {what} has from 1 to {max} characters
   * @throws NoTask {id: number} — there is no task {id}
   */
  sitDown(name: string): Promise<RpcStub<Seat>>;
}

/** What one person can do. */
export interface Seat extends RpcTarget {
  /** All tasks, the oldest first. */
  tasks(): Promise<Task[]>;
  /**
   * Puts a task on the board, in a colour if that matters.
   * @throws NameTaken {taken: string} — somebody called {taken} is here already
   * @throws Length {what: string, max: number} — {what} has from 1 to {max} characters
   * @throws NoTask {id: number} — there is no task {id}
   */
  add(title: string, colour?: Colour | null): Promise<Task>;
  /**
   * Marks a task as done, or as not done.
   * @throws NameTaken {taken: string} — somebody called {taken} is here already
   * @throws Length {what: string, max: number} — {what} has from 1 to {max} characters
   * @throws NoTask {id: number} — there is no task {id}
   */
  tick(id: number, done: boolean): void | Promise<void>;
  /**
   * Calls `changed` with what everybody does, ourselves included, until the result is disposed.
   * The first call tells who is here.
   */
  watch(changed: (value: Change) => void): Promise<RpcStub<Watch>>;
}

/** Something to do. */
export interface Task {
  id: number;
  title: string;
  /** Who put it there. */
  by: string;
  since: Date;
  colour?: Colour | null;
  done: boolean;
}

export type Colour = "amber" | "blue" | "green";

/** Keeps a callback in use. */
export interface Watch extends RpcTarget {}

/** What happened. */
export type Change =
  /** A task is new, or no longer as it was. */
  | { kind: "task"; task: Task }
  /** Somebody came or left. */
  | { kind: "here"; names: string[] };
