// Finds the references in an expression of Cap'n Web; see docs/wire.md, "Expressions".

/** The nesting beyond which an expression is refused. The protocol allows 256 levels of values. */
const DEPTH_MAX = 520;

/** What an expression refers to. Each method returns the id to write in place of the one that it receives. */
export interface Visitor {
  /** An entry of the table of the side that sends the expression: `export`, `promise`, or `writable`. */
  sender(id: number, word: string): number;
  /** An entry of the table of the side that receives it: `import`, `pipeline`, `remap`, or `readable`. */
  receiver(id: number): number;
}

/**
 * Visits each reference in `value`, in the order of its text, and replaces its id. What is not an expression is left
 * to the evaluation.
 */
export function visit(value: unknown, visitor: Visitor, depth = 0): void {
  if (typeof value !== "object" || value === null) return;
  if (depth > DEPTH_MAX) throw new RangeError(`an expression is nested more than ${DEPTH_MAX} levels deep`);
  if (!Array.isArray(value)) return visitAll(Object.values(value), visitor, depth);
  const word: unknown = value[0];
  if (Array.isArray(word)) return value.length === 1 ? visitAll(word, visitor, depth) : undefined;
  switch (word) {
    case "export":
    case "promise":
    case "writable":
      if (Number.isInteger(value[1])) value[1] = visitor.sender(value[1], word);
      break;
    case "import":
    case "readable":
      if (Number.isInteger(value[1])) value[1] = visitor.receiver(value[1]);
      break;
    case "pipeline":
    case "remap":
      if (Number.isInteger(value[1])) value[1] = visitor.receiver(value[1]);
      // Arguments are a plain list of expressions, and so are captures. The instructions of a map name neither side.
      if (Array.isArray(value[3])) visitAll(value[3], visitor, depth);
      break;
    case "error":
      visit(value[4], visitor, depth + 1);
      break;
    case "response":
      visit(value[1], visitor, depth + 1);
      break;
    case "request":
      visit(value[2]?.body, visitor, depth + 1);
      break;
    case "blob":
      visit(value[2], visitor, depth + 1);
      break;
  }
}

function visitAll(values: unknown[], visitor: Visitor, depth: number): void {
  for (const value of values) visit(value, visitor, depth + 1);
}
