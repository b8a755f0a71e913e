// genql: a client made from the introspected schema by its command line, compiled with a use of it, and run.
import {execFileSync} from "node:child_process";
import {writeFileSync} from "node:fs";
import {createRequire} from "node:module";
import {join} from "node:path";

import ts from "typescript";

import {report} from "./report.mjs";

const require = createRequire(import.meta.url);
const USE = `
import {createClient, generateSubscriptionOp} from "./client";
export async function use(url: string) {
  const client = createClient({url});
  const {instruments} = await client.query({
    instruments: {
      __args: {order_by: [{symbol: "asc"}], limit: 2, where: {symbol: {_like: "%"}}},
      id: true,
      symbol: true,
      trades: {__args: {order_by: [{id: "desc"}], limit: 1}, side: true},
    },
  });
  const symbols: string[] = instruments.map((row) => row.symbol);
  const sides: ("buy" | "sell" | null)[] = instruments.flatMap((row) => row.trades.map((trade) => trade.side));
  const {instruments_by_pk: one} = await client.query({
    instruments_by_pk: {__args: {id: instruments[0].id}, symbol: true},
  });
  const live = generateSubscriptionOp({trades_changes: {phase: true, changes: {operation: true, row: {id: true}}}});
  return {symbols, sides, one: one?.symbol, live: live.query};
}
`;

await report(async (url, folder) => {
  const cli = new URL("node_modules/@genql/cli/dist/cli.js", import.meta.url).pathname;
  execFileSync(process.execPath, [cli, "--endpoint", url, "--output", join(folder, "client")], {stdio: "pipe"});
  const file = join(folder, "use.ts");
  writeFileSync(file, USE);
  const program = ts.createProgram([file], {
    strict: true, skipLibCheck: true, types: [], target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS,
    moduleResolution: ts.ModuleResolutionKind.Node10, outDir: join(folder, "built"),
  });
  const mistakes = ts.getPreEmitDiagnostics(program).map((each) => ts.flattenDiagnosticMessageText(each.messageText, " "));
  program.emit();
  const {use} = require(join(folder, "built", "use.js"));
  return {mistakes, ...(await use(url))};
});
