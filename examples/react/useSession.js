// A hook for React 19: `useSession(url)` in a component below `<Suspense>` and an error boundary.
import { use, useSyncExternalStore } from "react";
import { share } from "./session.js";

/**
 * Suspends until the session is ready, and renders again when its state changes. All components with the same URL share
 * one session; an error boundary catches that it cannot be opened.
 *
 * @template Api
 * @param {string} url
 * @param {import("bowline-client").ConnectOptions} [options] of the component that comes first
 */
export function useSession(url, options) {
  const session = share(url, options);
  use(session.ready);
  const subscribe = (changed) => {
    session.addEventListener("state", changed);
    return () => session.removeEventListener("state", changed);
  };
  const state = useSyncExternalStore(subscribe, () => session.state);
  return { session, stub: session.stub, state };
}

/** Shows what the user has to know of the connection, and nothing while it is there. */
export function ConnectionState({ url }) {
  const { state } = useSession(url);
  return state === "detached" ? "Reconnecting …" : state === "lost" ? "The session was lost; reload the page." : null;
}
