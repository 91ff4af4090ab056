// A page that is ready to print: this only opens the print dialog of the browser.

import { byId, ready } from "./dom.js";

byId("print").addEventListener("click", () => window.print());
ready();
