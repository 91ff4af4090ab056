// What the cart's model expects to sell this month, as bars.

import { get } from "./api.js";
import { byId, el, keyed, mark, say } from "./dom.js";
import { month, percent } from "./format.js";
import { pictureOfCategory } from "./pictures.js";

let asked = 0;

export async function showTrending(gender) {
  const mine = (asked += 1);
  let answer;
  try {
    answer = await get(`/api/trending?gender=${gender}`);
  } catch (error) {
    answer = { trending: [], sentence: error.message };
  }
  if (mine !== asked) return; // the shopper was changed meanwhile
  if (answer.month) say(byId("trending-title"), `Trending in ${month(answer.month)}`);
  keyed(byId("trending"), answer.trending, (entry) => entry.category, makeBar, fillBar);
  const sentence = byId("trending-sentence");
  sentence.hidden = answer.sentence === "";
  say(sentence, answer.sentence);
}

function makeBar(entry) {
  return el("li", { className: `bar category-${entry.category}` },
    pictureOfCategory(entry.category), el("span", { className: "name" }, entry.name),
    el("span", { className: "track", "aria-hidden": "true" }, el("span", { className: "fill" })),
    el("span", { className: "number" }));
}

function fillBar(node, entry) {
  node.querySelector(".fill").style.width = `${(entry.share * 100).toFixed(1)}%`;
  say(node.querySelector(".number"), percent(entry.share, 0));
  mark(node, "title", `${percent(entry.share)} of the expected sales`);
}
