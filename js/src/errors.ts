// Errors of a session, and the values that arrive in their place at calls.

/** Why a session or a call failed. `code` is one of the codes of docs/link.md, "Codes". */
export class SessionError extends Error {
  override readonly name = "SessionError";
  /** What happened, for programs: `RESUME_WINDOW_EXPIRED`, `BUFFER_OVERFLOW`, … */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

const MESSAGES: Record<string, string> = {
  CALL_OUTCOME_UNKNOWN: "The other side was restarted; the call may or may not have run.",
  CALL_NOT_ATTEMPTED: "The other side was restarted; the call did not run and may be repeated.",
  STREAM_INTERRUPTED: "The other side was restarted, which ends streams.",
  CAPABILITY_LOST: "The other side was restarted, and the object was lost.",
};

/** Returns the expression of an error with a code, as the server writes such errors. */
export function codedError(code: string, message = MESSAGES[code] ?? "The object was not restored."): unknown[] {
  return ["error", "Error", message, null, { code }];
}
