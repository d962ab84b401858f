// Sessions that outlive a page: where their state is stored, and which page may have it.

import type { Saved } from "./engine.js";

/** The part of the standard `Storage` that is used: `sessionStorage`, `localStorage`, or an object of the application. */
export interface SessionStore {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** How long a page waits for the page before it to give up the session. */
const LOCK_MS = 2_000;

/** Reads a saved session for this URL. Anything else, also from another version, is ignored. */
export function load(store: SessionStore, key: string, url: string): Saved | undefined {
  try {
    const saved = JSON.parse(store.getItem(key) ?? "null") as Saved | null;
    return saved?.v === 1 && saved.url === url ? saved : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Takes the session for this page, and holds it until the returned function is called or the page ends. Returns `null`
 * if another page has it: browsers copy `sessionStorage` when a tab is duplicated. Where there are no Web Locks, the
 * page that resumed last has the session.
 */
export async function own(sessionId: string, waitMs = LOCK_MS): Promise<(() => void) | null> {
  const locks = globalThis.navigator?.locks;
  if (!locks) return () => {};
  return new Promise((resolve) => {
    const signal = AbortSignal.timeout(waitMs);
    const held = locks.request(`bowline:${sessionId}`, { signal }, () => new Promise<void>((release) => resolve(release)));
    held.catch(() => resolve(null));
  });
}
