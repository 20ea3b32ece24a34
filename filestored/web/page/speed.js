// Speed of an upload over the last seconds. Pure: times are passed in.

const WINDOW_SECONDS = 5;

export class Speed {
  samples = [];

  /** Note how many bytes were sent at a time in milliseconds. */
  add(now, bytes) {
    this.samples.push([now, bytes]);
    while (this.samples.length > 2 && now - this.samples[0][0] > WINDOW_SECONDS * 1000) this.samples.shift();
  }

  /** Return bytes per second, or null while it is unknown. */
  get value() {
    const [first, last] = [this.samples[0], this.samples.at(-1)];
    if (!first || last[0] - first[0] < 500) return null;
    return Math.max(0, (1000 * (last[1] - first[1])) / (last[0] - first[0]));
  }

  /** Return the seconds for so many bytes, or null while they are unknown. */
  seconds_for(bytes) {
    return this.value ? bytes / this.value : null;
  }
}
