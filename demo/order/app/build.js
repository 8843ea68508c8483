// Renders every page of pages/ into dist/.
const fs = require("fs");
const path = require("path");
const handlebars = require("handlebars");
const highlight = require("highlight.js");
const { marked } = require("marked");

marked.setOptions({
  highlight: (code, language) => highlight.highlight(code, { language: language || "plaintext" }).value,
});
const layout = handlebars.compile(fs.readFileSync("layout.html", "utf8"));
fs.mkdirSync("dist", { recursive: true });
for (const name of fs.readdirSync("pages").sort()) {
  const text = fs.readFileSync(path.join("pages", name), "utf8");
  const [, title] = /^# (.*)$/m.exec(text);
  const target = path.join("dist", name.replace(/\.md$/, ".html"));
  fs.writeFileSync(target, layout({ title, body: marked.parse(text) }));
  console.log(`rendered ${target}`);
}
