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
export declare function visit(value: unknown, visitor: Visitor, depth?: number): void;
