// What a page gets wrong for those who cannot see it, or not well. Evaluated in the browser; returns a list of complaints.
() => {
  const wrong = [];
  const seen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && element.getClientRects().length > 0;
  const unseen = (element) => element.closest(".unseen, .skip") !== null;
  const told = (element) => `<${element.localName} ${element.id || element.className || element.textContent.trim().slice(0, 30)}>`;

  const nameOf = (element) => {
    const by = element.getAttribute("aria-labelledby");
    if (by) return by.split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim();
    if (element.getAttribute("aria-label")) return element.getAttribute("aria-label").trim();
    if (element.labels?.length) return [...element.labels].map((label) => label.textContent).join(" ").trim();
    return element.textContent.trim();
  };
  for (const element of document.querySelectorAll("button, a[href], summary, input, select, textarea, dialog, aside, nav, [role=region], [role=img], progress")) {
    if (seen(element) && !nameOf(element)) wrong.push(`no name: ${told(element)}`);
  }
  for (const element of document.querySelectorAll("input, select, textarea")) {
    if (seen(element) && !element.labels?.length && !element.getAttribute("aria-label")) wrong.push(`no label: ${told(element)}`);
  }
  for (const element of document.querySelectorAll("img")) if (!element.hasAttribute("alt")) wrong.push(`no alt: ${told(element)}`);
  for (const element of document.querySelectorAll("table")) if (seen(element) && !element.querySelector("th")) wrong.push(`no head: ${told(element)}`);
  for (const element of document.querySelectorAll("[aria-describedby], [aria-controls], [aria-labelledby], label[for]")) {
    for (const name of ["aria-describedby", "aria-controls", "aria-labelledby", "for"]) {
      for (const id of (element.getAttribute(name) ?? "").split(" ").filter(Boolean)) if (!document.getElementById(id)) wrong.push(`${name} leads nowhere: ${told(element)}`);
    }
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids.filter((one, at) => ids.indexOf(one) !== at))) wrong.push(`id twice: ${id}`);

  if (!document.documentElement.lang) wrong.push("no language");
  for (const landmark of ["main", "header", "nav"]) if (!document.querySelector(landmark)) wrong.push(`no ${landmark}`);
  if (document.querySelectorAll("main").length !== 1) wrong.push("not one main");
  const headings = [...document.querySelectorAll("h1, h2, h3, h4, h5")].filter((element) => seen(element));
  if (headings.filter((element) => element.localName === "h1").length !== 1) wrong.push("not one h1");
  if (!document.querySelector("[aria-live=polite]")) wrong.push("nothing is announced");
  if (!document.querySelector("nav [aria-current=page]")) wrong.push("no current page");
  if (document.querySelector("[tabindex]:not([tabindex='0'], [tabindex='-1'])")) wrong.push("an order of its own");

  const parsed = (text) => {
    const numbers = text.match(/[\d.]+/g).map(Number);
    return { rgb: numbers.slice(0, 3), alpha: numbers[3] ?? 1 };
  };
  const over = (top, below) => top.rgb.map((value, at) => value * top.alpha + below[at] * (1 - top.alpha));
  const ground = (element) => {
    if (!element) return getComputedStyle(document.documentElement).colorScheme && matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
    const own = parsed(getComputedStyle(element).backgroundColor);
    return own.alpha === 1 ? own.rgb : over(own, ground(element.parentElement));
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((value) => { const part = value / 255; return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !seen(element) || unseen(element) || element.closest("button:disabled, script, noscript")) continue;
    const style = getComputedStyle(element);
    const behind = ground(element);
    const ink = light(over(parsed(element instanceof SVGElement ? style.fill : style.color), behind));
    const paper = light(behind);
    const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
    texts += 1;
    if (contrast < (large ? 3 : 4.5)) wrong.push(`contrast ${contrast.toFixed(2)}: ${told(element)} “${walker.currentNode.data.trim().slice(0, 30)}”`);
  }
  if (texts < 5) wrong.push(`only ${texts} texts were seen`);
  if (document.documentElement.scrollWidth > innerWidth) wrong.push(`wider than the window: ${document.documentElement.scrollWidth}`);
  return wrong;
}
