// A program that uses the declarations of tests/it/typescript.rs. It is compiled, not run. Everything is
// correct except the lines after `@ts-expect-error`, for which the compiler has to report an error.

import { RpcStub, RpcTarget, newHttpBatchRpcSession, newWebSocketRpcSession } from "capnweb";
import type { Account, Directory, Event, How, Level, Profile, Sink, Watch } from "./directory.ts";

const api: RpcStub<Directory> = newWebSocketRpcSession<Directory>("wss://example.com/rpc");

class Printer extends RpcTarget implements Sink {
  push(event: Event) {
    console.log(event.text.length, event.letter === "a");
  }

  async accept(account: RpcStub<Account>) {
    return (await account.me()).id > 0;
  }
}

export async function results() {
  using account: RpcStub<Account> = await api.authenticate("secret");
  const profile = await account.me();
  const id: number = profile.id;
  const chief: number | null | undefined = profile.chief;
  const tag: string | undefined = profile.tags["color"];
  const balance: bigint = profile.balance;
  const names: string[] = profile.nickNames ?? [];
  const friends = await api.friends();
  const friend: RpcStub<Account> | undefined = friends[0];
  const version: string = await api.version;
  const main: RpcStub<Account> = await api["main-account"];
  const page = await api.findPeople();
  const first = await page.items[0]?.me();
  const bytes: Uint8Array | undefined = (await api.raw(new Uint8Array(3), new Date(), 5n))["x"];
  const [outside, adjacent] = await api.shapes("high", [1, null, { a: true }], undefined);
  if (typeof outside === "object" && "Pair" in outside) outside.Pair[0].toFixed();
  if (adjacent.t === "Named") adjacent.c.a satisfies boolean;
  return [id, chief, tag, balance, names, friend, version, main, first?.firstName, bytes];
}

export async function pipelines() {
  const account = api.authenticate("secret");
  const profile: Profile = await api.profile(account.me().id, account.me().firstName);
  const ids: number[] = await api.friends().map((friend) => friend.me().id);
  const round: string = await account.directory().authenticate("again").me().firstName;
  const batch = newHttpBatchRpcSession<Directory>("https://example.com/rpc");
  return [profile, ids, round, await batch.version];
}

export async function capabilities() {
  const printer = new Printer();
  await api.watch({ topic: "news", kind: "poll" }, printer);
  await api.watch({ topic: "news", kind: "as", every: 7 }, new RpcStub(printer));
  const handle = await api.watch({ topic: "news", kind: "push_each", callBack: (event) => console.log(event.text) }, printer);
  handle[Symbol.dispose]();
  await api.each((event) => console.log(event.from?.me()));
  await api.each(async (event: Event) => void (await event.from?.me()));
  const sum: number = await api.fold((sum, event) => sum + (event?.text.length ?? 0));
  await api.fold(async () => null);
  await api.adopt(await api.authenticate("secret"), 1, 2);
  await api.adopt(api.authenticate("secret"));
  const plan: Watch & How = { topic: "news", kind: "as", every: 1, in: "very-low" };
  const level: Level = "high";
  const events = await api.upload(new Blob(["text"]).stream());
  const event: Event | null | undefined = (await events.getReader().read()).value;
  await (await api.log()).getWriter().write("a line");
  return [sum, plan, level, event];
}

export async function mistakes() {
  // @ts-expect-error: the number is a number
  await api.profile("7");
  // @ts-expect-error: there is no such method
  await api.nobody();
  // @ts-expect-error: an argument is missing
  await api.authenticate();
  // @ts-expect-error: one too many
  await api.friends(1);
  // @ts-expect-error: without the callback of its kind
  await api.watch({ topic: "news", kind: "push_each" }, new Printer());
  // @ts-expect-error: of another interface
  await api.adopt(api);
  // @ts-expect-error: neither of another interface
  await api.watch({ topic: "news", kind: "poll" }, api.authenticate("secret"));
  // @ts-expect-error: a callback for something else
  await api.each((event: number) => console.log(event));
  // @ts-expect-error: no level
  await api.shapes("low", 1, undefined);
  // @ts-expect-error: a property is not called
  await api.version();
  // @ts-expect-error: a stream of something else
  await api.upload(new ReadableStream<string>());
  // @ts-expect-error: a bigint is no number
  const balance: number = (await api.profile(7)).balance;
  // @ts-expect-error: it may not be there
  const chief: number = (await api.profile(7)).chief;
  // @ts-expect-error: a method is missing
  const half: Sink = new (class extends RpcTarget { push() {} })();
  // @ts-expect-error: a pending result has no field of this name
  const name: string = await api.authenticate("secret").me().name;
  return [balance, chief, half, name];
}
