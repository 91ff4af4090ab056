// A small picture for each item and category, drawn by this project: by what the name says, else by the category.

import { svg } from "./dom.js";

const FILE = "/static/pictures.svg";
const BY_NAME = [
  [/baguette/, "baguette"], [/croissant/, "croissant"], [/rolls?\b|buns?\b|bagel/, "roll"], [/biscuit|cookie|cracker/, "biscuit"],
  [/ice.cream|sorbet/, "icecream"], [/chocolate|cocoa/, "chocolate"], [/liquorice/, "spiral"], [/butter|margarine/, "butter"],
  [/lemonade|cola|soda/, "lemonade"], [/juice|smoothie/, "juice"], [/\btea\b|coffee/, "glass"], [/water|wine|beer|oil\b/, "bottle"],
  [/yog(h)?urt|cream|quark/, "yoghurt"], [/cheese|gouda|feta|cheddar|brie/, "cheese"], [/milk/, "milk"], [/bread|loaf|toast/, "bread"],
  [/tomato/, "tomato"], [/apple|pear|peach/, "apple"], [/lemon|lime|orange/, "lemon"], [/spinach|salad|lettuce|kale|herb|basil/, "leaf"],
  [/powder|detergent/, "powder"], [/soap|shampoo|cleaner/, "soap"], [/candle/, "candle"], [/towel|tissue|paper/, "towels"],
];
const BY_CATEGORY = { 1: "bread", 2: "milk", 3: "apple", 4: "bottle", 5: "sweet", 6: "soap" };

export function pictureOf({ name, category }) {
  const wanted = name.toLowerCase();
  return drawn(BY_NAME.find(([words]) => words.test(wanted))?.[1] ?? BY_CATEGORY[category] ?? "basket");
}

export const pictureOfCategory = (category) => drawn(BY_CATEGORY[category] ?? "basket");

function drawn(id) {
  return svg("svg", { class: "picture", viewBox: "0 0 32 32", "aria-hidden": "true" }, svg("use", { href: `${FILE}#${id}` }));
}
