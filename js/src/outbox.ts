// Messages that wait for a connection, before they are numbered.

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
export const EMPTY_PUSH = '["push",null]';

/** The overhead that is counted for each message, in bytes. */
const ITEM_BYTES = 32;

export class Outbox {
  #items: Item[] = [];
  #pushes = new Map<number, Item>();
  #bytes = 0;
  /** The number of messages other than releases. */
  #urgent = 0;

  get length(): number {
    return this.#items.length;
  }

  /** The size of the messages, including an overhead for each. */
  get bytes(): number {
    return this.#bytes + this.#items.length * ITEM_BYTES;
  }

  /** Whether all messages are releases, which nothing waits for. */
  get onlyReleases(): boolean {
    return this.#urgent === 0;
  }

  /** Whether the first message is a call. */
  get callNext(): boolean {
    const word = this.#items[0]?.word;
    return word === "push" || word === "stream" || word === "pipe" || word === "empty";
  }

  /** Adds a message about `id`. A pull joins the push that it is about, and a release the one before it. */
  add(word: string, id: number, text: string, plain = false): void {
    const push = word === "pull" ? this.#pushes.get(id) : undefined;
    if (push) {
      push.pulled = true;
      return;
    }
    const last = this.#items.at(-1);
    if (last?.word === word && last.last + 1 === id && (word === "empty" || word === "release")) {
      last.last = id;
      return;
    }
    const item = { word, id, last: id, text, pulled: false, plain };
    this.#items.push(item);
    this.#bytes += text.length;
    if (!isRelease(word)) this.#urgent += 1;
    if (word === "push") this.#pushes.set(id, item);
  }

  /** Removes the first message. Returns the texts to write, each of which is numbered. */
  take(calls: boolean): string[] {
    const item = this.#items.shift();
    if (!item) return [];
    this.#bytes -= item.text.length;
    const { word, id, last, text } = item;
    if (!isRelease(word) && !(word === "empty" && id < last)) this.#urgent -= 1;
    if (word === "push") {
      this.#pushes.delete(id);
      return !item.pulled ? [text] : calls ? [`+${text}`] : [text, `["pull",${id}]`];
    }
    if (word === "empty") {
      if (id < last) this.#items.unshift({ ...item, id: id + 1 });
      if (id < last) this.#bytes += text.length;
      return [text];
    }
    if (last === id) return [text];
    if (calls) return [`["release",${id},1,${last}]`];
    if (id < last) {
      this.#items.unshift({ ...item, id: id + 1, text: `["release",${id + 1},1]` });
      this.#bytes += text.length;
    }
    return [text];
  }

  /** Removes the answers that need not wait for the calls before them, and returns their texts. */
  takeAnswers(): string[] {
    const answers = this.#items.filter(({ plain }) => plain);
    if (answers.length > 0) this.#items = this.#items.filter(({ plain }) => !plain);
    for (const { text } of answers) this.#bytes -= text.length;
    this.#urgent -= answers.length;
    return answers.map(({ text }) => text);
  }

  /** Removes and returns all messages. */
  clear(): Item[] {
    const items = this.#items;
    this.#items = [];
    this.#pushes.clear();
    this.#bytes = this.#urgent = 0;
    return items;
  }
}

function isRelease(word: string): boolean {
  return word === "release" || word === "releases";
}
