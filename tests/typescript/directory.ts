// Written by Bowline from Rust, for `Directory`; changes belong there.
import type { RpcStub, RpcTarget } from "capnweb";

/**
 * A directory of people.
 *
 * All clients share it.
 */
export interface Directory extends RpcTarget {
  /**
   * Returns the account that the token belongs to.
   * @throws {TokenError}
   */
  authenticate(token: string): Promise<RpcStub<Account>>;
  /** @throws {ProfileError} */
  profile(id: number, note?: string | null): Promise<Profile>;
  /**
   * The subscription ends when the handle is disposed.
   * @throws {ProfileError}
   */
  watch(request: Watch, sink: RpcStub<Sink>): Promise<RpcStub<Handle>>;
  each(function_: (value: Event) => void): void | Promise<void>;
  fold(with_: (value1: number, value2: Event | null) => number | null | Promise<number | null>): Promise<number>;
  friends(): Promise<RpcStub<Account>[]>;
  adopt(account: RpcStub<Account>, ...ids: number[]): void | Promise<void>;
  find(first: number | null | undefined, pageSize: number): Promise<PageOfEvent>;
  findPeople(last?: number | null): Promise<PageOfAccountNull>;
  raw(bytes: Uint8Array, when: Date, number: bigint): Promise<Record<string, Uint8Array>>;
  anything(value: unknown): Promise<unknown>;
  object(): Promise<RpcStub<any>>;
  upload(bytes: ReadableStream<Uint8Array>): Promise<ReadableStream<Event | null>>;
  picture(of: Blob): Promise<Blob | null>;
  log(): Promise<WritableStream<string>>;
  shapes(level: Level, shape: Shape, plain: Plain): Promise<[Outside, Adjacent]>;
  readonly version: string;
  /** @throws {TokenError} */
  readonly "main-account": RpcStub<Account>;
}

export interface Account extends RpcTarget {
  me(): Promise<Profile>;
  directory(): Promise<RpcStub<Directory>>;
}

/** A person. */
export interface Profile {
  /** Unique. */
  id: number;
  firstName: string;
  chief?: number | null;
  account: RpcStub<Account>;
  tags: Record<string, string>;
  nickNames?: string[];
  balance: bigint;
  likes?: Profile[];
}

export type TokenError =
  /** bad token */
  | (Error & { code: "TokenError" });

export type ProfileError =
  /** there is no {id} */
  | (Error & { code: "NoUser"; id: number; like: string[] })
  | (Error & { code: "Range" });

export interface Handle extends RpcTarget {}

export type Watch = { topic: string } & How;

export type How =
  /** Calls back for each event. */
  | { kind: "push_each"; callBack: (value: Event) => void }
  | { kind: "poll" }
  | { kind: "as" } & Plan;

export interface Event {
  text: string;
  from?: RpcStub<Account> | null;
  letter: "a" | "b";
}

export interface Plan {
  every: UserId;
  in?: Level | null;
}

export type UserId = number;

export type Level = "very-low" | "high";

/** Implemented by clients. */
export interface Sink extends RpcTarget {
  push(event: Event): void | Promise<void>;
  accept(account: RpcStub<Account>): Promise<boolean>;
}

export interface PageOfEvent {
  items: Event[];
  next?: number | null;
}

export interface PageOfAccountNull {
  items: (RpcStub<Account> | null)[];
  next?: number | null;
}

export type Outside = "Nothing" | { Number: number } | { Pair: [number, string | null] } | { Named: { a: boolean } };

export type Adjacent =
  | { t: "Nothing" }
  | { t: "Number"; c: number }
  | { t: "Pair"; c: [number, [number, number]] }
  | { t: "Named"; c: { a: boolean } };

export type Shape = number | { a: boolean } | (Shape | null)[];

export type Plain = undefined;
