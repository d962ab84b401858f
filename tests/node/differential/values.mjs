// Random values of JavaScript, which are the same for the same seed.

const STRINGS = ["", "a", "__bowline", "\ud800", "x\udc00y", "\u0000", "🚣", "\u2028\u2029", '"\\/\b\f\n\r\t', "@", "é\u007f", "\udfff\ud800"];
const NUMBERS = [0, -0, 1, -1, 0.1, 2 ** 53, 2 ** 53 + 2, 2 ** 53 - 1, -(2 ** 53) + 1, 5e-324, Number.MAX_VALUE, 2.2250738585072014e-308, NaN, Infinity, -Infinity, 1e21, 1e-7, 123456789012345680000];
const KEYS = ["a", "b", "", "0", "10", "9", "4294967295", "-1", "01", "length", "toString", "constructor", "toJSON", "__proto__", "é", "\ud83d", "cause", "name"];
const DATES = [0, 1757214689123, -1, 8.64e15, -8.64e15, NaN];
const ERRORS = [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError];
const ARRAYS = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, BigInt64Array, BigUint64Array, Float32Array, Float64Array, DataView];
const DEPTH_MAX = 255;

export function* values(seed, count) {
  const random = new Random(seed);
  for (let n = 0; n < count; n++) {
    // A few are as deep as the wire allows.
    yield n % 500 === 7 ? random.deep() : random.value(random.below(5));
  }
}

class Random {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  // mulberry32
  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  below(n) {
    return this.next() % n;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  times(max, make) {
    return Array.from({ length: this.below(max + 1) }, make);
  }

  value(depth) {
    if (depth > 0 && this.below(3) > 0) return this.compound(depth - 1);
    switch (this.below(13)) {
      case 0:
        return undefined;
      case 1:
        return null;
      case 2:
        return this.below(2) === 0;
      case 3:
        return this.bigint();
      case 4:
        return new Date(this.below(2) ? this.pick(DATES) : this.number());
      case 5:
        return this.bytes();
      case 6:
        return new URL(`https://ex.com/${encodeURIComponent(this.text().toWellFormed())}?q=${this.below(9)}#${this.pick(["", "f"])}`);
      case 7:
        return new Headers(this.pairs());
      case 8:
        return this.below(2)
          ? new Request("https://ex.com/r", { method: this.pick(["GET", "PUT", "POST", "DELETE"]), headers: this.pairs() })
          : new Response(null, { status: this.pick([200, 204, 304, 404, 599]), statusText: this.pick(["", "no"]), headers: this.pairs() });
      case 9:
      case 10:
        return this.number();
      default:
        return this.text();
    }
  }

  compound(depth) {
    switch (this.below(5)) {
      case 0:
        return this.error(depth);
      case 1:
      case 2: {
        const array = this.times(4, () => this.value(depth));
        if (array.length > 1 && this.below(8) === 0) delete array[0];
        return array;
      }
      default:
        return this.object(depth);
    }
  }

  object(depth) {
    const object = {};
    this.times(5, () => this.set(object, this.below(2) ? this.pick(KEYS) : this.text(), this.value(depth)));
    return object;
  }

  set(object, key, value) {
    Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
  }

  error(depth) {
    const message = this.text();
    const options = this.below(3) === 0 ? { cause: this.value(depth) } : undefined;
    const error =
      this.below(4) === 0
        ? new AggregateError(this.times(3, () => this.value(depth)), message, options)
        : new (this.pick(ERRORS))(message, options);
    if (this.below(4) === 0) error.name = this.pick(["", "Mine", "error", "TypeErr", "é", "\ud800", "AbortError"]);
    this.times(3, () => {
      const key = this.pick(KEYS);
      if (key !== "name") this.set(error, key, this.value(depth));
    });
    if (this.below(8) === 0) error.unsendable = this.pick([() => 1, new Map(), Symbol("s")]);
    return error;
  }

  deep() {
    let value = this.below(9);
    for (let n = 0; n < DEPTH_MAX; n++) {
      value = this.pick([[value], { k: value }, Object.assign(new Error("deep"), { value })]);
    }
    return value;
  }

  text() {
    if (this.below(2)) return this.pick(STRINGS) + this.pick(STRINGS);
    const units = this.times(this.below(20) === 0 ? 300 : 12, () => (this.below(4) ? 32 + this.below(95) : this.below(0x10000)));
    return String.fromCharCode(...units);
  }

  number() {
    const bits = new DataView(new ArrayBuffer(8));
    switch (this.below(4)) {
      case 0:
        return this.pick(NUMBERS);
      case 1:
        return this.below(2000) - 1000;
      case 2:
        return (this.next() - 2 ** 31) / 2 ** this.below(40);
      default:
        bits.setUint32(0, this.next());
        bits.setUint32(4, this.next());
        return bits.getFloat64(0);
    }
  }

  bigint() {
    let n = BigInt(this.next());
    this.times(this.below(10) === 0 ? 60 : 4, () => (n = (n << 32n) | BigInt(this.next())));
    return this.below(2) ? n : -n;
  }

  bytes() {
    const data = Uint8Array.from({ length: 8 * this.below(6) }, () => this.next());
    switch (this.below(3)) {
      case 0:
        return this.below(2) ? data.subarray(this.below(data.length + 1)) : Buffer.from(data);
      case 1:
        return data.buffer;
      default:
        return new (this.pick(ARRAYS))(data.buffer);
    }
  }

  pairs() {
    const names = ["a", "B", "Set-Cookie", "x-y", "c_d"];
    return this.times(4, () => [this.pick(names), this.pick(["", "1", " x ", "é", "a,b", "\tz"])]);
  }
}
