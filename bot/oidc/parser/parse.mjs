// Errors of GitHub's own parser in workflow files: node parse.mjs FILE... prints {file: [message, ...]} as JSON.
// Installed by: npm ci --ignore-scripts, in this folder. Nothing is fetched at run time.
import {readFileSync} from "node:fs";
import {register} from "node:module";

// The package imports its schema without saying that it is JSON, which Node refuses; so the schema is handed over as code.
register(
  "data:text/javascript," +
    encodeURIComponent(`
      import {readFileSync} from "node:fs";
      export async function load(url, context, next) {
        if (!url.endsWith(".json")) return next(url, context);
        const source = "export default " + readFileSync(new URL(url), "utf8");
        return {format: "module", source, shortCircuit: true};
      }`)
);
const {NoOperationTraceWriter, parseWorkflow} = await import("@actions/workflow-parser");
const {convertWorkflowTemplate} = await import("@actions/workflow-parser");

const found = {};
for (const name of process.argv.slice(2)) {
  const parsed = parseWorkflow({name, content: readFileSync(name, "utf8")}, new NoOperationTraceWriter());
  const messages = parsed.context.errors.getErrors().map(each => each.message);
  if (!messages.length && parsed.value) {
    const template = await convertWorkflowTemplate(parsed.context, parsed.value);
    messages.push(...(template.errors ?? []).map(each => each.Message));
  }
  found[name] = messages;
}
process.stdout.write(JSON.stringify(found));
