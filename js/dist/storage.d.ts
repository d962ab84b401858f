import type { Saved } from "./engine.js";
/** The part of the standard `Storage` that is used: `sessionStorage`, `localStorage`, or an object of the application. */
export interface SessionStore {
    getItem(key: string): string | null;
    setItem(key: string, value: string): void;
    removeItem(key: string): void;
}
/** Reads a saved session for this URL. Anything else, also from another version, is ignored. */
export declare function load(store: SessionStore, key: string, url: string): Saved | undefined;
/**
 * Takes the session for this page, and holds it until the returned function is called or the page ends. Returns `null`
 * if another page has it: browsers copy `sessionStorage` when a tab is duplicated. Where there are no Web Locks, the
 * page that resumed last has the session.
 */
export declare function own(sessionId: string, waitMs?: number): Promise<(() => void) | null>;
