// The sheet of labels: everything on it is there already; this only opens the browser's own printing.

import { byId } from "./dom.js";

byId("print").addEventListener("click", () => window.print());
