// Sessions that modules of a page share, without a framework.
import { connect } from "bowline-client";

/** The sessions of this page, by URL. */
const sessions = new Map();

/**
 * Returns the session with a server, and opens it the first time, or when the last one has ended.
 *
 * @param {string} url
 * @param {import("bowline-client").ConnectOptions} [options]
 * @returns {import("bowline-client").Session<any>}
 */
export function share(url, options) {
  let session = sessions.get(url);
  if (!session) {
    session = connect(url, options);
    sessions.set(url, session);
    session.closed.then(() => sessions.delete(url));
  }
  return session;
}

/**
 * Calls `show` with the state of a session, now and whenever it changes. Returns a function that ends this.
 *
 * @param {import("bowline-client").Session<any>} session
 * @param {(state: import("bowline-client").State) => void} show
 */
export function watchState(session, show) {
  const changed = () => show(session.state);
  session.addEventListener("state", changed);
  changed();
  return () => session.removeEventListener("state", changed);
}
