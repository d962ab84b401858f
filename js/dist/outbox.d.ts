/** A message, or several that are written as one where the server supports it. */
export interface Item {
    /**
     * The first word of the message, or `empty` for pushes of nothing, `frame` for frames that are numbered, and
     * `releases` for the release of more than one reference to an entry.
     */
    word: string;
    /** The entry that the message creates or is about; of a range, the first. */
    id: number;
    /** The last entry of a range of releases or of empty pushes. */
    last: number;
    text: string;
    /** The result of the push is pulled, too. */
    pulled: boolean;
    /** An answer that refers to nothing, so that it may be sent before calls that wait. */
    plain: boolean;
}
/** The push of a value that nothing refers to. It keeps the ids of both sides in step. */
export declare const EMPTY_PUSH = "[\"push\",null]";
export declare class Outbox {
    #private;
    get length(): number;
    /** The size of the messages, including an overhead for each. */
    get bytes(): number;
    /** Whether all messages are releases, which nothing waits for. */
    get onlyReleases(): boolean;
    /** Whether the first message is a call. */
    get callNext(): boolean;
    /** Adds a message about `id`. A pull joins the push that it is about, and a release the one before it. */
    add(word: string, id: number, text: string, plain?: boolean): void;
    /** Removes the first message. Returns the texts to write, each of which is numbered. */
    take(calls: boolean): string[];
    /** Removes the answers that need not wait for the calls before them, and returns their texts. */
    takeAnswers(): string[];
    /** Removes and returns all messages. */
    clear(): Item[];
}
