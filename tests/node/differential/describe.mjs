// A canonical description of a value, exact to the bit. `differences` are ids of allowed.md: the value is described
// as it is after these differences.

const CLASSES =
  "Error EvalError RangeError ReferenceError SyntaxError TypeError URIError AggregateError".split(" ");
const BLOCKED = new Set(
  ("constructor __defineGetter__ __defineSetter__ hasOwnProperty __lookupGetter__ __lookupSetter__ isPrototypeOf " +
    "propertyIsEnumerable toString valueOf __proto__ toLocaleString toJSON").split(" "),
);

export function describe(value, differences = new Set()) {
  return new Describer(differences).value(value);
}

const double = new DataView(new ArrayBuffer(8));

class Describer {
  constructor(differences) {
    this.differences = differences;
  }

  value(value) {
    switch (typeof value) {
      case "string":
        return this.text(value);
      case "number":
        return this.number(value);
      case "bigint":
        return `big:${value}`;
      case "boolean":
      case "undefined":
        return String(value);
      case "object":
        return value === null ? "null" : this.object(value);
      default:
        return "unsendable";
    }
  }

  text(text) {
    return JSON.stringify(this.differences.has("lone-surrogate") ? text.toWellFormed() : text);
  }

  number(n) {
    if (Number.isNaN(n)) return "n:nan";
    double.setFloat64(0, this.differences.has("minus-zero") ? n + 0 : n);
    return `n:${double.getBigUint64(0).toString(16).padStart(16, "0")}`;
  }

  object(value) {
    if (value instanceof Date) return `date:${Number.isNaN(value.getTime()) ? "invalid" : value.getTime()}`;
    if (value instanceof ArrayBuffer) return bytes("ArrayBuffer", new Uint8Array(value));
    if (ArrayBuffer.isView(value)) {
      const kind = Buffer.isBuffer(value) ? "Uint8Array" : value.constructor.name;
      return bytes(kind, new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
    }
    if (value instanceof Error) return this.error(value);
    if (value instanceof URL) return `url:${this.text(value.href)}`;
    if (value instanceof Headers) return `headers:${this.pairs(value)}`;
    if (value instanceof Request) return `request:${value.method}:${this.text(value.url)}:${this.pairs(value.headers)}`;
    if (value instanceof Response)
      return `response:${value.status}:${this.text(value.statusText)}:${this.pairs(value.headers)}`;
    if (unsendable(value)) return "unsendable";
    if (Array.isArray(value)) return `[${Array.from(value, (_, at) => this.item(value, at)).join(",")}]`;
    return this.entries(Object.entries(value));
  }

  item(array, at) {
    return at in array || this.differences.has("array-hole") ? this.value(array[at]) : "hole";
  }

  pairs(headers) {
    const shown = (value) => this.text(this.differences.has("header-space") ? value.replace(/ $/, "") : value);
    return `[${[...headers].map(([name, value]) => `${this.text(name)}=${shown(value)}`).join(",")}]`;
  }

  entries(entries) {
    const kept = entries.filter(([name]) => !(this.differences.has("blocked-name") && BLOCKED.has(name)));
    // If names become equal, the last of them remains.
    const described = new Map(kept.map(([name, value]) => [this.text(name), this.value(value)]));
    return `{${[...described].map(([name, value]) => `${name}=${value}`).join(",")}}`;
  }

  error(error) {
    const name = this.differences.has("error-class") && !CLASSES.includes(error.name) ? "Error" : error.name;
    const own = Object.entries(error).filter(([key]) => !["name", "message", "stack"].includes(key));
    for (const key of ["cause", "errors"]) {
      const hidden = Object.getOwnPropertyDescriptor(error, key);
      if (hidden !== undefined && !hidden.enumerable) own.push([key, error[key]]);
    }
    const props = own.filter(([, value]) => !(this.differences.has("unsendable-property") && unsendable(value)));
    if (this.differences.has("error-property-order")) props.sort(([a], [b]) => (a < b ? -1 : 1));
    return `error:${this.text(name)}:${this.text(error.message)}:${this.entries(props)}`;
  }
}

function unsendable(value) {
  return typeof value === "function" || typeof value === "symbol" || value instanceof Map;
}

function bytes(kind, data) {
  return `bytes:${kind}:${Buffer.from(data).toString("hex")}`;
}
