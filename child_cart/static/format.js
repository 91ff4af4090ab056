// Format numbers with their units, the same on all pages. No line breaks before a unit.

const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

/** Whole cents, as 3.49. */
export function amount(cents) {
  const whole = Math.trunc(cents / 100);
  return `${whole}.${String(cents % 100).padStart(2, "0")}`;
}

/** Whole cents with the cart's currency, as 3.49 €. */
export function money(cents) {
  const { currency } = document.documentElement.dataset;
  return currency ? `${amount(cents)}\u00a0${currency}` : amount(cents);
}

/** A share from 0 to 1, as 84.5 %. */
export function percent(share, digits = 1) {
  return share === null || share === undefined ? "–" : `${(share * 100).toFixed(digits)}\u00a0%`;
}

/** A value of a metric with its unit: a fraction as per cent, others with four digits. */
export function measured(value, metric, digits) {
  if (value === null || value === undefined) return "not measured";
  if (metric.unit === "fraction") return percent(value, digits);
  const text = String(Number(value.toPrecision(4)));
  return metric.unit ? `${text}\u00a0${metric.unit}` : text;
}

/** The name of a metric, as the head of a column. */
export function metricTitle(metric) {
  return metric.name.charAt(0).toUpperCase() + metric.name.slice(1);
}

export function bytes(count) {
  if (count === null || count === undefined) return "–";
  let value = count, unit = 0;
  while (Number(value.toPrecision(3)) >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return unit === 0 ? `${value}\u00a0${value === 1 ? "byte" : "bytes"}` : `${value.toPrecision(3)}\u00a0${UNITS[unit]}`;
}

export const rate = (bytesPerSecond) => `${bytes(Math.round(bytesPerSecond))}/s`;

export function duration(seconds) {
  const s = Math.max(0, seconds), ms = Math.round(s * 1000);
  if (ms < 1000) return `${ms}\u00a0ms`;
  if (ms < 9950) return `${s.toFixed(1)}\u00a0s`;
  if (ms < 59_500) return `${Math.round(s)}\u00a0s`;
  if (s < 60) return "1\u00a0min 0\u00a0s";
  if (s < 3600) return `${Math.floor(s / 60)}\u00a0min ${Math.floor(s % 60)}\u00a0s`;
  if (s < 86400) return `${Math.floor(s / 3600)}\u00a0h ${Math.floor((s % 3600) / 60)}\u00a0min`;
  return `${Math.floor(s / 86400)}\u00a0d ${Math.floor((s % 86400) / 3600)}\u00a0h`;
}

/** A time of day, with the date unless it is today's. `at` in seconds since the epoch. */
export function clock(at) {
  const time = new Date(at * 1000);
  return time.toDateString() === new Date().toDateString() ? time.toLocaleTimeString("en-GB") : moment(at);
}

/** A date and a time of day. `at` in seconds since the epoch. */
export function moment(at) {
  const time = new Date(at * 1000);
  return `${time.toLocaleDateString("en-CA")} ${time.toLocaleTimeString("en-GB")}`;
}

export const month = (number) => new Date(2024, number - 1, 1).toLocaleString("en", { month: "long" });

export const count = (number) => number.toLocaleString("en");

/** `2 rows`, `1 row`. */
export const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

/** `NOT_ENOUGH_PEERS` as `not enough peers`. */
export const words = (name) => name.toLowerCase().replaceAll("_", " ");

export const shortId = (id) => id.slice(0, 8);
