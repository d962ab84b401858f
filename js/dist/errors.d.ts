/** Why a session or a call failed. `code` is one of the codes of docs/link.md, "Codes". */
export declare class SessionError extends Error {
    readonly name = "SessionError";
    /** What happened, for programs: `RESUME_WINDOW_EXPIRED`, `BUFFER_OVERFLOW`, … */
    readonly code: string;
    constructor(code: string, message: string);
}
/** Returns the expression of an error with a code, as the server writes such errors. */
export declare function codedError(code: string, message?: string): unknown[];
