// node lint.mjs FILE: prints what is wrong with an OpenAPI document; exit 1 if anything is.
import { createConfig, formatProblems, lint } from "@redocly/openapi-core";

const config = await createConfig({
  extends: ["recommended-strict"],
});
const problems = await lint({ ref: process.argv[2], config });
formatProblems(problems, {
  totals: { errors: problems.length, warnings: 0, ignored: 0 },
  format: "stylish",
});
process.exit(problems.length ? 1 : 0);
